// Frames to tensors.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "check.hpp"
#include "convert.hpp"

namespace check {
namespace {

struct Numbers {
    std::vector<std::int32_t> start, count, weight;
    std::size_t taps;

    Numbers(int source, int length) : taps(static_cast<std::size_t>(1 + upto(23))) {
        const bool even = upto(2) == 0;
        for (int i = 0; i < length; ++i) {
            count.push_back(1 + upto(std::min(static_cast<int>(taps), source) - 1));
            start.push_back(upto(source - count.back()));
            for (std::size_t k = 0; k < taps; ++k)
                weight.push_back(even && k ? weight.back() : (upto(1 << 23) - (1 << 21)) / count.back());
        }
    }

    chiasm::Weights weights(std::size_t source, bool columns) const {
        return chiasm::checked_weights({start, count, weight, taps}, source, columns);
    }

    template <typename Value>
    int weighed(std::size_t i, Value value) const {
        std::int64_t sum = 1 << (chiasm::precision - 1);
        for (std::int32_t k = 0; k < count[i]; ++k)
            sum += std::int64_t{weight[i * taps + static_cast<std::size_t>(k)]} * value(start[i] + k);
        return static_cast<int>(std::clamp<std::int64_t>(sum >> chiasm::precision, 0, 255));
    }
};

template <typename Value>
std::vector<std::uint8_t> raw(const std::vector<Value> &values) {
    const auto *first = reinterpret_cast<const std::uint8_t *>(values.data());
    return {first, first + values.size() * sizeof(Value)};
}

// What golden.py wrote of a plan: its sizes, its axes, its tables.
chiasm::Plan plan_of(const std::vector<Array> &arrays) {
    const auto sizes = arrays[2].values<std::int32_t>();
    const auto at = [&](std::size_t i) { return static_cast<std::size_t>(sizes[i]); };
    const auto ints = [&](std::size_t i) { return arrays[i].values<std::int32_t>(); };
    const chiasm::Kind kinds[] = {chiasm::Kind::across, chiasm::Kind::down, chiasm::Kind::sampled};
    chiasm::Plan plan{at(0), at(1), kinds[at(2)], chiasm::Weights({}, false), chiasm::Weights({}, true), {}, {},
                      at(3), at(4), at(5), at(6), at(7) != 0, at(8) != 0, at(9), arrays[9].bytes, arrays[10].bytes};
    if (plan.kind == chiasm::Kind::sampled) {
        plan.row_samples = chiasm::checked_samples(ints(3), ints(4), ints(5), at(0));
        plan.column_samples = chiasm::checked_samples(ints(6), ints(7), ints(8), at(1));
    } else {
        plan.rows = chiasm::checked_weights({ints(3), ints(4), ints(5), arrays[5].shape[1]}, at(0), false);
        plan.columns = chiasm::checked_weights({ints(6), ints(7), ints(8), arrays[8].shape[1]}, at(1), true);
    }
    plan.lines = chiasm::lines_of(plan.table, plan.item);
    plan.check();
    return plan;
}

// A table that is a line is known as one, and gives every element; one that is bent is not.
long lines_by_chance() {
    const double slope = std::pow(2.0, between(-20, 3)), offset = upto(2) ? between(-3, 3) : 0.0;
    std::vector<float> table(768);
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(slope * static_cast<double>(i % 256) + offset * static_cast<double>(i / 256));
    const std::vector<chiasm::Line> lines = chiasm::lines_of(raw(table), sizeof(float));
    long wrong = lines.size() != 3;
    for (std::size_t i = 0; i < 256 * lines.size(); ++i) {
        const float made = lines[i / 256].at(static_cast<std::uint8_t>(i % 256));
        wrong += std::memcmp(&made, &table[i], sizeof made) != 0;
    }
    table[static_cast<std::size_t>(upto(767))] += static_cast<float>(5 * slope);
    return wrong + !chiasm::lines_of(raw(table), sizeof(float)).empty() + !chiasm::lines_of(raw(table), 2).empty();
}

}  // namespace

long image_by_chance() {
    const int height = 1 + upto(59), width = 1 + upto(59), h = 1 + upto(39), w = 1 + upto(39);
    const int step = 3 + upto(2), reversed = upto(1);  // bytes a pixel, and whether blue is first
    std::vector<std::uint8_t> image(static_cast<std::size_t>((height * width - 1) * step + 3));
    for (std::uint8_t &value : image) value = static_cast<std::uint8_t>(upto(255));
    const Numbers rows(height, h), columns(width, w);
    std::vector<float> table(768), out(static_cast<std::size_t>(3 * h * w));
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i);
    const auto size = [](int length) { return static_cast<std::size_t>(length); };
    chiasm::Plan plan{size(height), size(width), chiasm::Kind::across, rows.weights(size(height), false),
                            columns.weights(size(width), true), {}, {}, size(h), size(w), 0, 0, false, false, 4, raw(table), {}};
    if (upto(1)) plan.lines = chiasm::lines_of(plan.table, plan.item);
    const auto plane = [&](int c) { return chiasm::Plane{image.data() + (reversed ? 2 - c : c), width * step, step}; };
    chiasm::convert({size(height), size(width), {plane(0), plane(1), plane(2)}, true, 1, {}}, {{&plan, out.data()}}, size(1 + upto(2)));
    long wrong = lines_by_chance();
    for (std::size_t i = 0; i < out.size(); ++i) {
        const std::size_t x = i % size(w), y = i / size(w) % size(h), c = i / size(w) / size(h);
        const std::size_t at = reversed ? 2 - c : c;
        const int grey = rows.weighed(y, [&](int row) {
            return columns.weighed(x, [&](int column) { return image[static_cast<std::size_t>((row * width + column) * step) + at]; });
        });
        wrong += out[i] != static_cast<float>(c * 256 + static_cast<std::size_t>(grey));
    }
    return wrong;
}

long image_golden(const Case &known) {
    if (known.operation != "image_to_tensors") return -1;
    const auto &arrays = known.arrays;
    const auto memory = arrays[0].values<std::uint8_t>();
    const auto lies = arrays[1].values<std::int64_t>();  // three planes of (offset, row stride, column stride), then the rest
    const auto at = [&](std::size_t i) { return static_cast<std::size_t>(lies[i]); };
    const auto factor = [&](std::size_t i) { return static_cast<std::int32_t>(lies[11 + i]); };
    const auto plane = [&](std::size_t c) { return chiasm::Plane{memory.data() + lies[3 * c], lies[3 * c + 1], lies[3 * c + 2]}; };
    const chiasm::Plan plan = plan_of(arrays);
    const chiasm::Frame frame{plan.source_height, plan.source_width, {plane(0), plane(1), plane(2)}, lies[9] != 0, at(10),
                              {factor(0), factor(1), factor(2), factor(3), factor(4), factor(5)}};
    std::vector<std::uint8_t> out(plan.bytes());
    long wrong = 0;
    for (const std::size_t threads : {1, 3}) {
        std::fill(out.begin(), out.end(), std::uint8_t{0xAB});
        chiasm::convert(frame, {{&plan, out.data()}}, threads);
        wrong += differing(out, arrays[11].bytes);
    }
    return wrong;
}

}  // namespace check
