// Bits and halves. nvcc runs with -fmad=false and the host's compilers with -ffp-contract=off, so a formula gives the same number
// on both.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "portable.hpp"

namespace chiasm {

CHIASM_HD inline std::uint32_t bits_of(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

CHIASM_HD inline float float_of(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// float32 → the bits of the nearest float16, halves to even, too large to infinity.
CHIASM_HD inline std::uint16_t half_of(float value) {
#ifdef __CUDA_ARCH__
    std::uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
#else
    std::uint32_t bits = bits_of(value);
    const std::uint32_t sign = bits >> 16 & 0x8000U;
    bits &= 0x7FFFFFFFU;
    if (bits > 0x7F800000U) return 0x7FFFU;                                            // no number, as the GPU writes it
    if (bits >= 0x47800000U) return static_cast<std::uint16_t>(sign | 0x7C00U);        // 65536 and more
    // Below 2^-14 the steps are 2^-24, as those of float32 are at 0.5: adding that rounds.
    if (bits < 0x38800000U) return static_cast<std::uint16_t>(sign | (bits_of(float_of(bits) + 0.5F) - 0x3F000000U));
    bits += 0xFFFU + (bits >> 13 & 1U);
    return static_cast<std::uint16_t>(sign | (bits - 0x38000000U) >> 13);
#endif
}

CHIASM_HD inline float float_of_half(std::uint16_t half) {
#ifdef __CUDA_ARCH__
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
#else
    const std::uint32_t sign = (half & 0x8000U) << 16, exponent = half >> 10 & 31U, rest = half & 0x3FFU;
    if (exponent == 0) return float_of(sign | bits_of(static_cast<float>(rest) * 5.9604644775390625e-8F));  // · 2^-24
    return float_of(sign | (exponent == 31 ? 0x7F800000U : (exponent + 112U) << 23) | rest << 13);
#endif
}

}  // namespace chiasm
