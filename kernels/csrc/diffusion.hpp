// A step of a diffusion sampler, its noise, and the picture at the end.
#pragma once

#include <cstddef>
#include <cstdint>

#include "noise.hpp"
#include "sampler.hpp"

namespace chiasm {

// One step on `size` values. `next` and `clean` may each be one of the arrays that are read, but not the same one.
struct DenoiseStep {
    const float *x, *prediction, *unconditional;  // the last may be null: no guidance
    const float *noise;                           // null: made from `key`, or none when `fresh` is false
    bool fresh;
    NoiseKey key;
    Coefficients coefficients;
    float *next, *clean;  // `clean` may be null
    std::size_t size;
};

void denoise_step(const DenoiseStep &step);

// The first `size` numbers of a stream.
void normal_noise(const NoiseKey &key, float *out, std::size_t size);

// (3, pixels) → (pixels, 3), red first or blue first. False when a value is NaN.
bool latent_to_image(const float *picture, float shift, float scale, bool blue_first, std::uint8_t *out, std::size_t pixels);

}  // namespace chiasm
