// Resize, crop and normalise in one pass over the source pixels that matter.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chiasm {

// Fractional bits of a weight; kernels/plan.py makes them.
constexpr int precision = 22;

// A picture of bytes; strides in bytes, of any sign.
struct Picture {
    const std::uint8_t *data;
    std::int64_t row_stride, column_stride, channel_stride;
};

// Target i is the sum over k < count[i] of weight[i * taps + k] * source[start[i] + k].
struct Axis {
    const std::int32_t *start, *count, *weight;
    std::size_t length, taps;

    std::int32_t first() const;
    std::int32_t last() const;  // one beyond the last source pixel that is read
};

// `table` is (3, 256), `out` is (3, rows.length, columns.length). Throws std::bad_alloc.
void resample(const Picture &image, const Axis &rows, const Axis &columns, const float *table, float *out);

// The instruction set in use ("avx512-vnni", "avx512", "avx2", "plain"): the best that the processor has, until tests ask
// for another.
const char *instructions();
// False when the name is unknown or the processor does not have it; null asks for the best.
bool use_instructions(const char *name);

}  // namespace chiasm
