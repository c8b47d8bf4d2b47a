// Tables of floats that are a line: to work an element out is then faster than to look it up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace chiasm {

// slope · byte + offset, product and sum rounded to float64 and then to float32.
struct Line {
    double slope, offset;

    float at(std::uint8_t byte) const { return static_cast<float>(slope * byte + offset); }
};

// The lines that give the very elements of `table`, three times 256 of `item` bytes, bit for bit; none when there are no such lines.
std::vector<Line> lines_of(const std::vector<std::uint8_t> &table, std::size_t item);

}  // namespace chiasm
