// Weights in the form that products of bytes, added up four by four, take.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "resample.hpp"

namespace chiasm {

constexpr std::size_t quad = 4, digits = 3;

// The weights of an axis as signed digits to the base 256, the same digit of four taps side by side. Every target has the
// same number of such groups: what it does not need is zero. A weight is below 127.5 · 2^16, nearly two.
struct Digits {
    std::size_t groups;
    std::vector<std::int32_t> quads;  // (length, groups, digits)

    Digits(const Axis &axis, std::size_t length) : groups(groups_of(axis)), quads(length * groups * digits) {
        for (std::size_t i = 0; i < length; ++i) {
            const std::size_t from = std::min(i, axis.length - 1);
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

    static std::size_t groups_of(const Axis &axis) {
        return (static_cast<std::size_t>(*std::max_element(axis.count, axis.count + axis.length)) + quad - 1) / quad;
    }
};

// The same when all weights of a target are one number, as those of the area filter are: which taps count, then the number.
struct Means {
    std::size_t groups;
    std::vector<std::int32_t> quads;  // (length, groups + 1)

    Means(const Axis &axis, std::size_t length) : groups(Digits::groups_of(axis)), quads(length * (groups + 1)) {
        for (std::size_t i = 0; i < length; ++i) {
            const std::size_t from = std::min(i, axis.length - 1);
            std::int32_t *target = quads.data() + i * (groups + 1);
            std::memset(target, 1, static_cast<std::size_t>(axis.count[from]));
            target[groups] = axis.weight[from * axis.taps];
        }
    }

    static bool fit(const Axis &axis) {
        for (std::size_t i = 0; i < axis.length; ++i) {
            const std::int32_t *weight = axis.weight + i * axis.taps;
            if (std::count(weight, weight + axis.count[i], *weight) != axis.count[i]) return false;
        }
        return true;
    }
};

}  // namespace chiasm
