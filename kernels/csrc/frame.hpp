// A frame as it comes from a camera.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pixel.hpp"

namespace chiasm {

// Bytes of one colour, luma or difference; strides in bytes, of any sign.
struct Plane {
    const std::uint8_t *data;
    std::int64_t row_stride, column_stride;

    const std::uint8_t *at(std::size_t row, std::size_t column) const {
        return data + static_cast<std::int64_t>(row) * row_stride + static_cast<std::int64_t>(column) * column_stride;
    }
};

// Three planes: red, green and blue, all of them (height, width); or luma, and differences of half the width, of which a row
// counts for `tall` rows of the picture.
struct Frame {
    std::size_t height, width;
    Plane planes[3];
    bool colours;
    std::size_t tall;
    YuvMatrix matrix;
};

// Where the bytes of a pixel are when all the colours lie side by side: three or four bytes a pixel, red or blue first. A frame
// that is otherwise is copied to four bytes a pixel, red first.
struct Layout {
    bool in_place;
    std::size_t step, channel[3];

    explicit Layout(const Frame &frame) : in_place(false), step(4), channel{0, 1, 2} {
        const Plane *planes = frame.planes;
        const std::int64_t apart = planes[1].data - planes[0].data;
        in_place = frame.colours && (apart == 1 || apart == -1) && planes[2].data - planes[1].data == apart &&
                   (planes[0].column_stride == 3 || planes[0].column_stride == 4);
        if (!in_place) return;
        step = static_cast<std::size_t>(planes[0].column_stride);
        if (apart < 0) channel[0] = 2, channel[2] = 0;
    }
};

}  // namespace chiasm
