// The loops of a product of bytes (products.hpp): rows of bytes against some columns of weights, and floats as bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chiasm {

constexpr std::size_t step = 4, steps = 8, group = step * steps;  // of the depth: what a lane of 32 bits holds; 16 bits hold 16 products
constexpr std::size_t lines = 3, panel = 8 * lines;               // columns that are worked on together
constexpr std::size_t tall = 4;                                   // rows that are: with them, 12 of 16 registers hold sums
constexpr std::size_t cache_line = 64;

// Rows of bytes against a panel, over some groups of the depth, and where the results go after the last ones.
struct Strip {
    const std::uint8_t *bytes;
    std::size_t stride, groups;
    bool first, last;
    std::int32_t *sums;  // (rows, panel), aligned: of the groups before
    const std::int8_t *weights;  // of a group: (steps, lines, 32)
    const std::int16_t *of_lanes;  // sums of the weights of each lane of a group
    const std::uint32_t *squares_of_bytes, *squares_of_weights;  // of a group
    std::int32_t zero;
    float scale;
    const float *scales, *bias;  // of the panel; no bias: null
    std::size_t columns;         // of the panel that there are
    float *out;
    std::size_t out_stride;
    const std::int8_t *ahead;  // of these weights, which come next, `lines_ahead` cache lines a group are fetched from memory
    std::size_t lines_ahead;
};
constexpr std::size_t group_bytes = steps * lines * 32, group_sums = lines * 16;

// One, two or `tall` rows. With `avx2` no two weights of one sign may sum to more than 128.
void multiply(const Strip &of, std::size_t rows, bool avx2);

// Widens a range, which has zero in it.
void range_of(bool avx2, const float *values, std::size_t size, float &low, float &high);

std::uint8_t byte_of(float value, float scale, std::int32_t zero);
// How far a row was quantised, in whole groups, with the squares of each where they are larger; the rest is left.
std::size_t quantise_groups(bool avx2, const float *values, std::size_t size, float scale, std::int32_t zero, std::uint8_t *out, std::uint32_t *squares);
// The larger sum of squares of a group's two kinds of lanes.
std::uint32_t squares_of(bool avx2, const std::uint8_t *bytes, std::int32_t zero);

}  // namespace chiasm
