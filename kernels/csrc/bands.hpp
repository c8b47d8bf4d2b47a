// The rows of a picture, four at a time, as the horizontal pass reads them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "resample.hpp"

namespace chiasm {

constexpr std::size_t band = 4;

// A band of the picture as four rows of packed pixels that may be read to `reach` bytes: where it lies, or a copy.
class Bands {
  public:
    Bands(const Picture &image, std::int32_t top, std::int32_t left, std::size_t height, std::size_t width, std::size_t reach)
        : image_(image), corner_(image.data + top * image.row_stride + left * image.column_stride), height_(height),
          width_(width), reach_(std::max(reach, width * 3)), packed_(image.channel_stride == 1 && image.column_stride == 3) {
        end_ = std::max(row(0), row(height - 1)) + width * 3;
    }

    // Gives the way to the same rows of the next band, or zero when nothing is there to be fetched early.
    std::ptrdiff_t find(std::size_t first, const std::uint8_t **rows) {
        bool inside = packed_;
        for (std::size_t r = 0; r < band; ++r) {
            rows[r] = row(std::min(first + r, height_ - 1));  // the last band repeats the last row
            // Beyond a row lies what is between the rows, which is of the same array; nothing is known beyond the last.
            inside = inside && end_ - rows[r] >= static_cast<std::ptrdiff_t>(reach_);
        }
        if (inside) return first + 2 * band <= height_ ? static_cast<std::ptrdiff_t>(band) * image_.row_stride : 0;
        copy_.resize(band * reach_);
        for (std::size_t r = 0; r < band; ++r) {
            std::uint8_t *target = copy_.data() + r * reach_;
            copy(rows[r], target);
            rows[r] = target;
        }
        return 0;
    }

  private:
    const std::uint8_t *row(std::size_t y) const { return corner_ + static_cast<std::int64_t>(y) * image_.row_stride; }

    void copy(const std::uint8_t *source, std::uint8_t *target) const {
        if (packed_) {
            std::memcpy(target, source, width_ * 3);
            return;
        }
        for (std::size_t x = 0; x < width_; ++x, source += image_.column_stride, target += 3)
            for (std::int64_t c = 0; c < 3; ++c) target[c] = source[c * image_.channel_stride];
    }

    const Picture &image_;
    const std::uint8_t *corner_, *end_;
    std::size_t height_, width_, reach_;
    bool packed_;
    std::vector<std::uint8_t> copy_;
};

}  // namespace chiasm
