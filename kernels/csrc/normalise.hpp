#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace chiasm {

// A row of four-byte pixels → the same row of three planes, by the table. The numbers pass through as bits, in the
// registers of whole numbers: processors store two of these at a time.
inline void normalise(const std::uint8_t *__restrict row, const float *__restrict table, std::size_t length, std::size_t plane,
                      float *__restrict out) {
    float *red = out, *green = out + plane, *blue = out + 2 * plane;
    for (std::size_t x = 0; x < length; ++x) {
        std::uint32_t four, a, b, c;
        std::memcpy(&four, row + x * 4, 4);
        std::memcpy(&a, table + (four & 255), 4);
        std::memcpy(&b, table + 256 + (four >> 8 & 255), 4);
        std::memcpy(&c, table + 512 + (four >> 16 & 255), 4);
        std::memcpy(red + x, &a, 4);
        std::memcpy(green + x, &b, 4);
        std::memcpy(blue + x, &c, 4);
    }
}

}  // namespace chiasm
