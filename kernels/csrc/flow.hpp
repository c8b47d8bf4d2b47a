// The arithmetic of the few-step flow sampler, and its picture as bytes. Compiled without fused multiply-add, so that every
// operation is rounded to float32 as NumPy does it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chiasm {

// x0 = x - t·velocity; out = (1 - t_next)·x0 + t_next·noise. `out` may be `x`.
void denoise_step(const float *x, const float *velocity, const float *noise, float t, float t_next, float *out, std::size_t size);

// (3, pixels) in [-1, 1] → (pixels, 3): (x + 1)·127.5, clamped, halves to even. False when a value is NaN.
bool latent_to_image(const float *picture, std::uint8_t *out, std::size_t pixels);

}  // namespace chiasm
