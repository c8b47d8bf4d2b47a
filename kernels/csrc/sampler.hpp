// The arithmetic of a diffusion sampler's step and of the picture at its end. Every operation is rounded to float32 and none is
// fused, as NumPy does it: compile without fused multiply-add.
#pragma once

#include <cstddef>
#include <cstdint>

#include "portable.hpp"

namespace chiasm {

// What kernels/steps.py makes of a schedule, and the guidance scale.
struct Coefficients {
    float guidance, clean_x, clean_p, next_x, next_clean, noise;
};

// Classifier-free guidance (Ho and Salimans, 2022).
CHIASM_HD inline float guided(const Coefficients &c, float prediction, float unconditional) {
    return unconditional + c.guidance * (prediction - unconditional);
}

// x0, the estimate of the clean latents.
CHIASM_HD inline float clean_value(const Coefficients &c, float x, float prediction) {
    return c.clean_x * x + c.clean_p * prediction;
}

// The latents of the next step, before their noise.
CHIASM_HD inline float next_value(const Coefficients &c, float x, float clean) { return c.next_x * x + c.next_clean * clean; }

CHIASM_HD inline float with_noise(const Coefficients &c, float next, float noise) { return next + c.noise * noise; }

// (value + shift)·scale, clamped, in the low byte, halves to even: adding 2^23 to a number in [0, 255] leaves it there. The
// clamping is done on the bits, which among positive numbers are in the order of the numbers: what is no branch is vectorised.
CHIASM_HD inline std::uint8_t to_byte(float value, float shift, float scale) {
    const float grey = (value + shift) * scale;
    std::int32_t bits;
    __builtin_memcpy(&bits, &grey, sizeof bits);
    bits &= ~(bits >> 31);                         // below zero: zero
    bits = bits < 0x437F0000 ? bits : 0x437F0000;  // above 255: 255
    float clamped;
    __builtin_memcpy(&clamped, &bits, sizeof clamped);
    clamped += 8388608.0F;
    __builtin_memcpy(&bits, &clamped, sizeof bits);
    return static_cast<std::uint8_t>(bits & 255);
}

}  // namespace chiasm
