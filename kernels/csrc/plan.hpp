// A conversion in numbers, in the forms that the passes take. It is made once for a size of frames and does not change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "affine.hpp"
#include "weights.hpp"

namespace chiasm {

// Target i is the sum of weight[2i] · source[first[i]] and weight[2i + 1] · source[second[i]].
struct Samples {
    std::vector<std::int32_t> first, second, weight;
    std::vector<std::int32_t> pairs;  // both weights of a target in 32 bits
    bool adjacent = true;             // every second pixel is the one after the first: both are read at once
    bool whole = true;                // every target is its first pixel

    Samples() = default;
    Samples(std::vector<std::int32_t> first, std::vector<std::int32_t> second, std::vector<std::int32_t> weight);
    std::size_t length() const { return first.size(); }
    bool operator==(const Samples &other) const { return first == other.first && second == other.second && weight == other.weight; }
    std::int32_t lowest() const;
    std::int32_t end() const;  // one beyond the last source pixel that is read
};

enum class Kind { across, down, sampled };

struct Plan {
    std::size_t source_height, source_width;
    Kind kind;
    Weights rows, columns;              // of across and down
    Samples row_samples, column_samples;  // of sampled
    std::size_t height, width;          // of the target
    std::size_t top, left;              // where the picture stands in it
    bool bgr, hwc;
    std::size_t item;                   // bytes of an element: 1, 2 or 4
    std::vector<std::uint8_t> table;    // 3 · 256 elements, in the order of the target's channels
    std::vector<std::uint8_t> margin;   // 3 elements, or none
    std::vector<Line> lines = {};       // lines_of(table, item)

    std::size_t rows_made() const { return kind == Kind::sampled ? row_samples.length() : rows.length(); }
    std::size_t columns_made() const { return kind == Kind::sampled ? column_samples.length() : columns.length(); }
    std::size_t bytes() const { return 3 * height * width * item; }

    // Whether the pictures are the same, whatever becomes of their bytes.
    bool same_picture(const Plan &other) const;
    // Throws std::invalid_argument when the picture or its elements do not fit the target.
    void check() const;
};

// Of an axis of `source` pixels; throw std::invalid_argument when a number would lead outside it, or a sum outside 32 bits.
Weights checked_weights(Axis axis, std::size_t source, bool columns);
Samples checked_samples(std::vector<std::int32_t> first, std::vector<std::int32_t> second, std::vector<std::int32_t> weight,
                        std::size_t source);

}  // namespace chiasm
