// Floats to bytes and back, with one scale and zero point for everything or for each index of one axis.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chiasm {

// An array seen as (outer, channels, inner), C-contiguous.
struct Extent {
    std::size_t outer, channels, inner;
};

// value / scale, rounded, halves to even, plus zero; saturated. `scales` and `zeros` are (channels,). False when a value is
// NaN. `Byte` is int8 or uint8.
template <typename Byte>
bool quantize(const float *values, const Extent &extent, const float *scales, const std::int32_t *zeros, Byte *out);

// (value - zero) · scale, the product rounded to float32.
template <typename Byte>
void dequantize(const Byte *values, const Extent &extent, const float *scales, const std::int32_t *zeros, float *out);

}  // namespace chiasm
