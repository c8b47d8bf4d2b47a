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
        for (std::size_t x = 0; x < count; ++x, copy += 4) {
            const std::uint8_t four[4] = {*colour[0], *colour[1], *colour[2], 0};
            std::memcpy(copy, four, sizeof four);
            for (std::size_t c = 0; c < 3; ++c) colour[c] += stride[c];
        }
    }

    void convert(std::size_t y, std::uint8_t *copy) {
        const Plane &luma = frame_.planes[0], &blue = frame_.planes[1], &red = frame_.planes[2];
        const std::size_t row = y / frame_.tall, count = std::min(width_, frame_.width - left_);
        const std::uint8_t *grey = luma.at(y, left_), *u = blue.at(row, left_ / 2), *v = red.at(row, left_ / 2);
        if (luma.column_stride != 1) grey = spread(grey, luma.column_stride, count, 1, luma_);
        if (v - u != 1 || blue.column_stride != 2 || red.column_stride != 2) {
            spread(u, blue.column_stride, count / 2, 2, differences_);
            u = spread(v, red.column_stride, count / 2, 2, differences_, 1);
        }
        passes_.rgb_row(grey, u, count, frame_.matrix, copy);
    }

    static bool close(const Plane &plane, const Plane &other) {
        const std::int64_t apart = plane.data - other.data, stride = plane.column_stride;
        return apart > -std::abs(stride) && apart < std::abs(stride);
    }

    static const std::uint8_t *spread(const std::uint8_t *source, std::int64_t stride, std::size_t count, std::size_t pace,
                                      std::vector<std::uint8_t> &target, std::size_t first = 0) {
        target.resize(std::max(target.size(), count * pace));
        std::uint8_t *to = target.data() + first;
        for (std::size_t x = 0; x < count; ++x, source += stride) to[x * pace] = *source;
        return target.data();
    }

    const Frame &frame_;
    const Layout &layout_;
    const Passes &passes_;
    std::size_t left_, width_, reach_;
    const std::uint8_t *end_ = nullptr;
    std::vector<std::size_t> tags_;
    LinedBytes copies_;
    std::vector<std::uint8_t> luma_, differences_;
};

}  // namespace chiasm
