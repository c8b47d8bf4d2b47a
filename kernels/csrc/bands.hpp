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

// Where the bytes of a pixel are: three or four bytes a pixel, red or blue first. A picture that is otherwise is copied to
// four bytes a pixel, red first.
struct Layout {
    bool in_place;
    std::size_t step, channel[3];

    explicit Layout(const Picture &image)
        : in_place((image.column_stride == 3 || image.column_stride == 4) &&
                   (image.channel_stride == 1 || image.channel_stride == -1)),
          step(in_place ? static_cast<std::size_t>(image.column_stride) : 4) {
        const bool reversed = in_place && image.channel_stride < 0;
        for (std::size_t c = 0; c < 3; ++c) channel[c] = reversed ? 2 - c : c;
    }
};

// A band of the picture as four rows of that layout that may be read to `reach` bytes: where it lies, or a copy.
class Bands {
  public:
    Bands(const Picture &image, const Layout &layout, std::int32_t top, std::int32_t left, std::size_t height, std::size_t width,
          std::size_t reach)
        : image_(image), layout_(layout), corner_(image.data + top * image.row_stride + left * image.column_stride),
          height_(height), width_(width), used_((width - 1) * layout.step + 3), reach_(std::max(reach, width * layout.step)) {
        if (layout.in_place) corner_ -= layout.channel[0];
        end_ = std::max(row(0), row(height - 1)) + used_;
    }

    // Gives the way to the same rows of the next band, or zero when nothing is there to be fetched early.
    std::ptrdiff_t find(std::size_t first, const std::uint8_t **rows) {
        bool inside = layout_.in_place;
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
        if (layout_.in_place) {
            std::memcpy(target, source, used_);
            return;
        }
        const std::int64_t column = image_.column_stride, channel = image_.channel_stride;
        for (std::size_t x = 0; x < width_; ++x, source += column, target += 4) {
            const std::uint8_t four[4] = {source[0], source[channel], source[2 * channel], 0};
            std::memcpy(target, four, sizeof four);
        }
    }

    const Picture &image_;
    const Layout &layout_;
    const std::uint8_t *corner_, *end_;
    std::size_t height_, width_, used_, reach_;
    std::vector<std::uint8_t> copy_;
};

}  // namespace chiasm
