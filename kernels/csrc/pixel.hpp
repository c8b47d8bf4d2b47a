// The arithmetic of one pixel, for both compilers. kernels/reference/image.py is the same in NumPy.
#pragma once

#include <cstddef>
#include <cstdint>

#include "portable.hpp"

namespace chiasm {

// Fractional bits of a weight of a weighed axis, of a sampled one, and of a colour's factor; kernels/plan.py and
// kernels/frames.py make them.
constexpr int precision = 22, lerp_bits = 11, yuv_bits = 13;

CHIASM_HD inline std::uint8_t clamped(std::int32_t value) {
    return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// The weighed sum of bytes → a byte: to nearest, halves up.
CHIASM_HD inline std::uint8_t weighed_byte(std::int32_t sum) { return clamped((sum + (1 << (precision - 1))) >> precision); }

// OpenCV's bilinear: two neighbours of a row (15 bits), then two such rows, whose shares are rounded apart.
CHIASM_HD inline std::int32_t lerp_across(std::int32_t left, std::int32_t right, std::int32_t a, std::int32_t b) {
    return (left * a + right * b) >> 4;
}
CHIASM_HD inline std::uint8_t lerp_down(std::int32_t above, std::int32_t below, std::int32_t a, std::int32_t b) {
    return static_cast<std::uint8_t>(((above * a >> 16) + (below * b >> 16) + 2) >> 2);
}

// What luma and differences weigh, in units of 2^-yuv_bits but for `black`.
struct YuvMatrix {
    std::int32_t black, luma, red_v, green_u, green_v, blue_u;
};

struct Rgb {
    std::uint8_t red, green, blue;
};

CHIASM_HD inline Rgb rgb_of(std::int32_t y, std::int32_t u, std::int32_t v, const YuvMatrix &m) {
    const std::int32_t grey = m.luma * (y - m.black) + (1 << (yuv_bits - 1));
    u -= 128;
    v -= 128;
    return {clamped((grey + m.red_v * v) >> yuv_bits), clamped((grey + m.green_u * u + m.green_v * v) >> yuv_bits),
            clamped((grey + m.blue_u * u) >> yuv_bits)};
}

}  // namespace chiasm
