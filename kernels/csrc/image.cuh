// A frame on the GPU, and how a pixel of it is read; the arithmetic is pixel.hpp's.
#pragma once

#include "device.cuh"
#include "pixel.hpp"

namespace chiasm {

// As frame.hpp's, for several frames that lie `next` bytes apart.
struct DevicePlane {
    const std::uint8_t *data;
    std::int64_t next, row_stride, column_stride;
};

struct DeviceFrames {
    DevicePlane planes[3];
    std::uint32_t count, height, width;
    std::uint32_t colours;  // red, green and blue, each of (height, width); else luma, and differences of half the width
    std::uint32_t tall;     // rows of the picture for which a row of the differences counts
    YuvMatrix matrix;
};

// Of the target: element strides, the table in the order of its channels, and where the picture stands in it.
struct DeviceTarget {
    void *data;
    const void *table;   // (3, 256) elements
    const void *margin;  // 3 elements, or null
    std::uint64_t next;  // elements from one frame's tensor to that of the next
    std::uint64_t channel_stride;
    std::uint32_t row_stride, column_stride;
    std::uint32_t height, width, top, left;
    std::uint32_t rows, columns;  // of the picture
    std::uint32_t item;           // bytes of an element: 1, 2 or 4
    std::uint32_t bgr;
};

CHIASM_DEVICE std::uint8_t byte_at(const DevicePlane &plane, std::uint32_t frame, std::uint32_t y, std::uint32_t x) {
    return __ldg(plane.data + frame * plane.next + y * plane.row_stride + x * plane.column_stride);
}

CHIASM_DEVICE Rgb pixel_at(const DeviceFrames &f, std::uint32_t frame, std::uint32_t y, std::uint32_t x) {
    if (f.colours)
        return {byte_at(f.planes[0], frame, y, x), byte_at(f.planes[1], frame, y, x), byte_at(f.planes[2], frame, y, x)};
    const std::uint32_t below = y / f.tall;
    return rgb_of(byte_at(f.planes[0], frame, y, x), byte_at(f.planes[1], frame, below, x / 2),
                  byte_at(f.planes[2], frame, below, x / 2), f.matrix);
}

CHIASM_DEVICE void put_element(const DeviceTarget &t, std::uint64_t at, const void *from, std::uint32_t index) {
    if (t.item == 2)
        static_cast<std::uint16_t *>(t.data)[at] = __ldg(static_cast<const std::uint16_t *>(from) + index);
    else if (t.item == 4)
        static_cast<std::uint32_t *>(t.data)[at] = __ldg(static_cast<const std::uint32_t *>(from) + index);
    else
        static_cast<std::uint8_t *>(t.data)[at] = __ldg(static_cast<const std::uint8_t *>(from) + index);
}

// Where element (channel, y, x) of a frame's tensor is; y and x count in the target.
CHIASM_DEVICE std::uint64_t element(const DeviceTarget &t, std::uint32_t frame, std::uint32_t channel, std::uint32_t y, std::uint32_t x) {
    return frame * t.next + static_cast<std::uint64_t>(y) * t.row_stride + x * t.column_stride + channel * t.channel_stride;
}

// The byte of a source channel (red is 0) at (y, x) of the picture, through the table to its place.
CHIASM_DEVICE void put_byte(const DeviceTarget &t, std::uint32_t frame, std::uint32_t source, std::uint32_t y, std::uint32_t x,
                            std::uint32_t byte) {
    const std::uint32_t channel = t.bgr ? 2 - source : source;
    put_element(t, element(t, frame, channel, t.top + y, t.left + x), t.table, channel * 256 + byte);
}

}  // namespace chiasm
