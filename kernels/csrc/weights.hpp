// The weights of an axis, in the forms that the passes of each instruction set take.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "pixel.hpp"

namespace chiasm {

// Target i is the sum over k < count[i] of weight[i * taps + k] * source[start[i] + k].
struct Axis {
    std::vector<std::int32_t> start, count, weight;
    std::size_t taps = 0;

    std::size_t length() const { return start.size(); }
    bool operator==(const Axis &other) const { return start == other.start && count == other.count && weight == other.weight; }
    std::int32_t lowest() const { return start.empty() ? 0 : *std::min_element(start.begin(), start.end()); }
    std::int32_t end() const {  // one beyond the last source pixel that is read
        std::int32_t last = 0;
        for (std::size_t i = 0; i < start.size(); ++i) last = std::max(last, start[i] + count[i]);
        return last;
    }
    std::size_t most() const {
        return count.empty() ? 0 : static_cast<std::size_t>(*std::max_element(count.begin(), count.end()));
    }
};

// Two numbers of 16 bits in 32.
inline std::int32_t beside(std::int32_t a, std::int32_t b) {
    return static_cast<std::int32_t>((static_cast<std::uint32_t>(a) & 0xFFFFU) | static_cast<std::uint32_t>(b) << 16);
}

// Two taps side by side in 32 bits, for products of 16 bits that are added up two by two: each weight is high · 2^shift + low. A high
// part has 16 bits; a weight below two leaves no more than nine to the low one, and with many taps hardly any.
struct Pairs {
    int shift = 0;
    std::vector<std::size_t> first, offset;  // per target: its first pair, and where its digits begin (one more at the end)
    std::vector<std::int32_t> digits;        // low parts of a pair, then the high ones
    // Per target, in units of 2^shift: what the sum of the high parts begins with, so that its whole part is the byte unless its
    // fraction lies above `sure`: then what the low parts add may matter.
    std::vector<std::int32_t> begin, sure;

    // `aligned`: pairs begin at even source pixels, `first` counts them from source pixel 0, and every target has as many: what it
    // does not need is zero, because a loop that always turns as often is foreseen; the targets are made up to a multiple of four by
    // repeating the last. Else they begin at the target's first tap.
    Pairs(const Axis &axis, bool aligned) {
        std::int32_t greatest = 0;
        for (const std::int32_t weight : axis.weight) greatest = std::max(greatest, std::abs(weight));
        while (high(greatest) > 32767) ++shift;
        std::size_t most = 0;
        for (std::size_t i = 0; aligned && i < axis.length(); ++i)
            most = std::max(most, (static_cast<std::size_t>((axis.start[i] & 1) + axis.count[i]) + 1) / 2);
        const std::size_t targets = aligned ? (axis.length() + 3) / 4 * 4 : axis.length();
        for (std::size_t each = 0; each < targets; ++each) {
            const std::size_t i = std::min(each, axis.length() - 1);
            const std::size_t lead = aligned ? static_cast<std::size_t>(axis.start[i]) & 1 : 0;
            const std::size_t taps = lead + static_cast<std::size_t>(axis.count[i]);
            first.push_back(aligned ? static_cast<std::size_t>(axis.start[i]) / 2 : 0);
            offset.push_back(digits.size());
            std::int32_t least = 0, range = 0;  // what the low parts add is at least the one, and at most by the other more
            for (std::size_t k = 0; k < taps; k += 2) {
                const std::int32_t a = k < lead ? 0 : axis.weight[i * axis.taps + k - lead];
                const std::int32_t b = k + 1 < taps ? axis.weight[i * axis.taps + k + 1 - lead] : 0;
                digits.push_back(beside(low(a), low(b)));
                digits.push_back(beside(high(a), high(b)));
                for (const std::int32_t part : {low(a), low(b)}) {
                    least += 255 * std::min(part, 0);
                    range += 255 * std::abs(part);
                }
            }
            // Both are rounded down, for which the 1 makes up.
            begin.push_back(((1 << (precision - 1)) + least) >> shift);
            sure.push_back((1 << (precision - shift)) - 1 - ((range >> shift) + (shift ? 1 : 0)));
            digits.resize(std::max(digits.size(), offset.back() + 2 * most));
        }
        offset.push_back(digits.size());
    }

    std::size_t count(std::size_t target) const { return (offset[target + 1] - offset[target]) / 2; }

  private:
    std::int32_t high(std::int32_t weight) const { return (weight + (1 << shift >> 1)) >> shift; }
    std::int32_t low(std::int32_t weight) const { return weight - high(weight) * (1 << shift); }
};

constexpr std::size_t quad = 4, digits = 3;

inline std::size_t rounded(std::size_t size, std::size_t unit) { return (size + unit - 1) / unit * unit; }

// The weights of an axis as signed digits to the base 256, the same digit of four taps side by side. Every target has the
// same number of such groups: what it does not need is zero, and the targets are made up to a multiple of four by repeating
// the last. A weight is below 127.5 · 2^16, nearly two.
struct Digits {
    std::size_t groups;
    std::vector<std::int32_t> quads;  // (length, groups, digits)

    explicit Digits(const Axis &axis) : groups(groups_of(axis)), quads(rounded(axis.length(), quad) * groups * digits) {
        for (std::size_t i = 0; i * groups * digits < quads.size(); ++i) {
            const std::size_t from = std::min(i, axis.length() - 1);
            std::int8_t *target = reinterpret_cast<std::int8_t *>(quads.data() + i * groups * digits);
            for (std::size_t k = 0; k < static_cast<std::size_t>(axis.count[from]); ++k) {
                std::int32_t rest = axis.weight[from * axis.taps + k];
                std::int8_t *byte = target + k / quad * quad * digits + k % quad;
                for (std::size_t digit = 0; digit < digits; ++digit) {
                    byte[digit * quad] = static_cast<std::int8_t>(rest);
                    rest = (rest - byte[digit * quad]) >> 8;
                }
            }
        }
    }

    static std::size_t groups_of(const Axis &axis) { return rounded(axis.most(), quad) / quad; }
};

// The same when all weights of a target are one number, as those of the area filter are: which taps count, then the number.
struct Means {
    std::size_t groups = 0;
    std::vector<std::int32_t> quads;  // (length, groups + 1); empty when the weights are not so

    explicit Means(const Axis &axis) {
        if (!fit(axis)) return;
        groups = Digits::groups_of(axis);
        quads.resize(rounded(axis.length(), quad) * (groups + 1));
        for (std::size_t i = 0; i * (groups + 1) < quads.size(); ++i) {
            const std::size_t from = std::min(i, axis.length() - 1);
            std::int32_t *target = quads.data() + i * (groups + 1);
            std::memset(target, 1, static_cast<std::size_t>(axis.count[from]));
            target[groups] = axis.weight[from * axis.taps];
        }
    }

  private:
    static bool fit(const Axis &axis) {
        for (std::size_t i = 0; i < axis.length(); ++i) {
            const std::int32_t *weight = axis.weight.data() + i * axis.taps;
            if (std::count(weight, weight + axis.count[i], *weight) != axis.count[i]) return false;
        }
        return true;
    }
};

struct Weights {
    Axis axis;
    Pairs pairs;
    Digits by_digits;
    Means by_means;

    // `columns`: the axis runs along the rows.
    Weights(Axis given, bool columns) : axis(std::move(given)), pairs(axis, columns), by_digits(axis), by_means(axis) {}
    std::size_t length() const { return axis.length(); }
};

}  // namespace chiasm
