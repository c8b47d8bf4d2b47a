#include "plan.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>

namespace chiasm {
namespace {

void demand(bool fine, const char *words) {
    if (!fine) throw std::invalid_argument(words);
}

constexpr std::int64_t longest = std::int64_t{1} << 30;

void check(const Axis &axis, std::size_t source) {
    const std::size_t length = axis.length();
    demand(length > 0 && axis.count.size() == length && axis.weight.size() == length * axis.taps, "the plan's arrays do not fit");
    for (std::size_t i = 0; i < length; ++i) {
        const std::int64_t first = axis.start[i], taps = axis.count[i];
        demand(first >= 0 && taps >= 1 && taps <= static_cast<std::int64_t>(axis.taps) &&
                   first + taps <= static_cast<std::int64_t>(source),
               "the plan reads outside the frame");
        std::int64_t sum = 0;
        for (std::int64_t k = 0; k < taps; ++k) {
            const std::int64_t weight = axis.weight[i * axis.taps + static_cast<std::size_t>(k)];
            demand(std::llabs(weight) <= std::int64_t{127} << 16, "the plan has a weight of 2 or more");
            sum += std::llabs(weight);
        }
        demand(sum * 255 + (std::int64_t{1} << (precision - 1)) < std::int64_t{1} << 31, "the plan's weights leave 32 bits");
    }
}

void check(const Samples &samples, std::size_t source) {
    const std::size_t length = samples.length();
    demand(length > 0 && samples.second.size() == length && samples.weight.size() == 2 * length, "the plan's arrays do not fit");
    for (std::size_t i = 0; i < length; ++i) {
        const std::int64_t end = static_cast<std::int64_t>(source);
        demand(samples.first[i] >= 0 && samples.first[i] < end && samples.second[i] >= 0 && samples.second[i] < end,
               "the plan reads outside the frame");
        const std::int64_t a = samples.weight[2 * i], b = samples.weight[2 * i + 1];
        demand(a >= 0 && b >= 0 && a + b == 1 << lerp_bits, "the plan's weights have not the sum 1");
    }
}

}  // namespace

Samples::Samples(std::vector<std::int32_t> one, std::vector<std::int32_t> other, std::vector<std::int32_t> both)
    : first(std::move(one)), second(std::move(other)), weight(std::move(both)) {
    for (std::size_t i = 0; i < std::min({first.size(), second.size(), weight.size() / 2}); ++i) {
        adjacent = adjacent && second[i] == first[i] + 1;
        whole = whole && weight[2 * i + 1] == 0;
        pairs.push_back(beside(weight[2 * i], weight[2 * i + 1]));
    }
}

std::int32_t Samples::lowest() const {
    return std::min(*std::min_element(first.begin(), first.end()), *std::min_element(second.begin(), second.end()));
}

std::int32_t Samples::end() const {
    return 1 + std::max(*std::max_element(first.begin(), first.end()), *std::max_element(second.begin(), second.end()));
}

Weights checked_weights(Axis axis, std::size_t source, bool columns) {
    check(axis, source);
    return Weights(std::move(axis), columns);
}

Samples checked_samples(std::vector<std::int32_t> first, std::vector<std::int32_t> second, std::vector<std::int32_t> weight,
                        std::size_t source) {
    Samples samples(std::move(first), std::move(second), std::move(weight));
    check(samples, source);
    return samples;
}

bool Plan::same_picture(const Plan &other) const {
    return this == &other || (kind == other.kind && rows.axis == other.rows.axis && columns.axis == other.columns.axis &&
                              row_samples == other.row_samples && column_samples == other.column_samples);
}

void Plan::check() const {
    const auto fits = [](std::size_t size) { return size >= 1 && size <= static_cast<std::size_t>(longest); };
    demand(fits(source_height) && fits(source_width) && fits(height) && fits(width), "the plan has no size");
    demand(top <= height && rows_made() <= height - top && left <= width && columns_made() <= width - left,
           "the plan writes outside the target");
    demand(!margin.empty() || (rows_made() == height && columns_made() == width), "the plan leaves a margin and has nothing for it");
    demand((item == 1 || item == 2 || item == 4) && table.size() == 768 * item && (margin.empty() || margin.size() == 3 * item),
           "the plan's table does not fit");
}

}  // namespace chiasm
