// The rows of a frame with their colours side by side: where they lie, or a copy.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "frame.hpp"
#include "lined.hpp"
#include "passes.hpp"

namespace chiasm {

class Rows {
  public:
    // Rows from column `left` on, `width` columns of them, both even in a frame of luma and differences. A row may be read to
    // `reach` bytes. The last `kept` rows that were asked for stay where they are.
    Rows(const Frame &frame, const Layout &layout, const Passes &passes, std::size_t left, std::size_t width, std::size_t reach,
         std::size_t kept)
        : frame_(frame), layout_(layout), passes_(passes), left_(left), width_(width),
          reach_(rounded(std::max(reach, width * layout.step), row_unit)), tags_(kept, none) {
        const auto beyond = [&](std::size_t row) { return frame.planes[layout.channel[0]].at(row, frame.width - 1) + 3; };
        if (layout.in_place) end_ = std::max(beyond(0), beyond(frame.height - 1));
    }

    const std::uint8_t *get(std::size_t y) {
        const std::uint8_t *row = nullptr;
        if (layout_.in_place) {
            row = frame_.planes[layout_.channel[0]].at(y, left_);
            // Beyond a row lies what is between the rows, which is of the same array; nothing is known beyond the last.
            if (end_ - row >= static_cast<std::ptrdiff_t>(reach_)) return row;
        }
        const std::size_t slot = y % tags_.size();
        if (copies_.empty()) copies_.resize(tags_.size() * reach_);
        std::uint8_t *copy = copies_.data() + slot * reach_;
        if (tags_[slot] == y) return copy;
        tags_[slot] = y;
        if (row)
            std::memcpy(copy, row, (std::min(width_, frame_.width - left_) - 1) * layout_.step + 3);
        else if (frame_.colours)
            gather(y, copy);
        else
            convert(y, copy);
        return copy;
    }

    // Row `y` will be asked for soon.
    void announce(std::size_t y, Ahead &ahead) const {
        const std::size_t count = std::min(width_, frame_.width - left_);
        for (std::size_t c = 0; c < 3; ++c) {
            const Plane &plane = frame_.planes[c];
            const bool half = c > 0 && !frame_.colours;
            // What lies between the bytes of another plane comes with them, and so does a row of differences with the first of two.
            if (c > 0 && close(plane, frame_.planes[c - 1])) continue;
            if (half && y % frame_.tall) continue;
            const std::int64_t length = plane.column_stride * static_cast<std::int64_t>(half ? count / 2 : count);
            if (length > 0) ahead.add(plane.at(half ? y / frame_.tall : y, half ? left_ / 2 : left_), static_cast<std::size_t>(length));
        }
    }

  private:
    static constexpr std::size_t none = ~std::size_t{0};

    void gather(std::size_t y, std::uint8_t *copy) const {
        const std::uint8_t *colour[3];
        std::int64_t stride[3];
        for (std::size_t c = 0; c < 3; ++c) {
            colour[c] = frame_.planes[c].at(y, left_);
            stride[c] = frame_.planes[c].column_stride;
        }
        const std::size_t count = std::min(width_, frame_.width - left_);
        if (colour[0] == colour[1] && colour[0] == colour[2] && stride[0] == 1) return widen(colour[0], count, copy);
        for (std::size_t x = 0; x < count; ++x, copy += 4) {
            const std::uint8_t four[4] = {*colour[0], *colour[1], *colour[2], 0};
            std::memcpy(copy, four, sizeof four);
            for (std::size_t c = 0; c < 3; ++c) colour[c] += stride[c];
        }
    }

    static void widen(const std::uint8_t *luma, std::size_t count, std::uint8_t *copy) {
        for (std::size_t x = 0; x < count; ++x) {
            const std::uint32_t four = luma[x] | static_cast<std::uint32_t>(luma[x]) << 8 | static_cast<std::uint32_t>(luma[x]) << 16;
            std::memcpy(copy + 4 * x, &four, sizeof four);
        }
    }

    void convert(std::size_t y, std::uint8_t *copy) {
        const Plane &luma = frame_.planes[0];
        const std::size_t count = std::min(width_, frame_.width - left_);
        const std::uint8_t *grey = luma.at(y, left_);
        if (luma.column_stride != 1) {
            luma_.resize(width_);
            spread(grey, luma.column_stride, count, luma_.data());
            grey = luma_.data();
        }
        passes_.rgb_row(grey, differences(y / frame_.tall, count / 2), count, frame_.matrix, copy);
    }

    // `count` pairs of a row of differences, blue first.
    const std::uint8_t *differences(std::size_t row, std::size_t count) {
        const Plane &blue = frame_.planes[1], &red = frame_.planes[2];
        const std::uint8_t *u = blue.at(row, left_ / 2), *v = red.at(row, left_ / 2);
        const std::int64_t pace = blue.column_stride;
        if (v - u == 1 && pace == 2 && red.column_stride == 2) return u;
        if (row == paired_) return differences_.data();
        paired_ = row;
        differences_.resize(width_);
        std::uint8_t *to = differences_.data();
        if (v - u == 2 && pace == 4 && red.column_stride == 4) {
            spread(u, 2, 2 * count, to);
        } else if (pace == 1 && red.column_stride == 1) {
            for (std::size_t x = 0; x < count; ++x) to[2 * x] = u[x], to[2 * x + 1] = v[x];
        } else {
            for (std::size_t x = 0; x < count; ++x, u += pace, v += red.column_stride) to[2 * x] = *u, to[2 * x + 1] = *v;
        }
        return to;
    }

    static bool close(const Plane &plane, const Plane &other) {
        const std::int64_t apart = plane.data - other.data, stride = plane.column_stride;
        return apart > -std::abs(stride) && apart < std::abs(stride);
    }

    // Loops of a known pace go by in vectors.
    static void spread(const std::uint8_t *source, std::int64_t stride, std::size_t count, std::uint8_t *__restrict to) {
        if (stride == 2)
            for (std::size_t x = 0; x < count; ++x) to[x] = source[2 * x];
        else
            for (std::size_t x = 0; x < count; ++x, source += stride) to[x] = *source;
    }

    const Frame &frame_;
    const Layout &layout_;
    const Passes &passes_;
    std::size_t left_, width_, reach_;
    const std::uint8_t *end_ = nullptr;
    std::vector<std::size_t> tags_;
    LinedBytes copies_;
    std::vector<std::uint8_t> luma_, differences_;
    std::size_t paired_ = none;  // the row of differences that lies in `differences_`
};

}  // namespace chiasm
