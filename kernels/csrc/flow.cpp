#include "flow.hpp"

#include <algorithm>
#include <cstring>

namespace chiasm {
namespace {

constexpr std::size_t chunk = 64;

// `chunk` values → bytes. Adding 2^23 to a number in [0, 255] leaves it in the low byte, rounded to nearest, halves to even.
bool to_bytes(const float *values, std::uint8_t *bytes) {
    std::uint32_t nan = 0;
    for (std::size_t i = 0; i < chunk; ++i) {
        const float grey = (values[i] + 1.0F) * 127.5F;
        nan |= values[i] != values[i];
        const float clamped = grey > 0.0F ? (grey < 255.0F ? grey : 255.0F) : 0.0F;
        const float shifted = clamped + 8388608.0F;
        std::uint32_t bits;
        std::memcpy(&bits, &shifted, sizeof bits);
        bytes[i] = static_cast<std::uint8_t>(bits);
    }
    return nan == 0;
}

}  // namespace

void denoise_step(const float *x, const float *velocity, const float *noise, float t, float t_next, float *out, std::size_t size) {
    const float clean = 1.0F - t_next;
    for (std::size_t i = 0; i < size; ++i) out[i] = clean * (x[i] - t * velocity[i]) + t_next * noise[i];
}

bool latent_to_image(const float *picture, std::uint8_t *out, std::size_t pixels) {
    bool fine = true;
    for (std::size_t at = 0; at < pixels; at += chunk) {
        const std::size_t count = std::min(chunk, pixels - at);
        for (std::size_t c = 0; c < 3; ++c) {
            float values[chunk] = {};
            std::uint8_t bytes[chunk];
            std::copy_n(picture + c * pixels + at, count, values);
            fine &= to_bytes(values, bytes);
            for (std::size_t i = 0; i < count; ++i) out[(at + i) * 3 + c] = bytes[i];
        }
    }
    return fine;
}

}  // namespace chiasm
