// The resize that takes neighbours: nearest, and OpenCV's bilinear.
#include <algorithm>
#include <cstring>
#include <vector>

#include "convert.hpp"
#include "emit.hpp"
#include "rows.hpp"

namespace chiasm {
namespace {

// Four bytes a pixel, red first, of a row's first neighbours.
void pick(const std::uint8_t *row, const Layout &layout, const Samples &columns, std::size_t left, std::uint8_t *small) {
    for (std::size_t x = 0; x < columns.length(); ++x) {
        const std::uint8_t *pixel = row + (static_cast<std::size_t>(columns.first[x]) - left) * layout.step;
        const std::uint8_t four[4] = {pixel[layout.channel[0]], pixel[layout.channel[1]], pixel[layout.channel[2]], 0};
        std::memcpy(small + x * 4, four, sizeof four);
    }
}

// Source rows lerped across; a row that the next target row needs too is kept.
class Lines {
  public:
    Lines(Rows &rows, const Layout &layout, const Passes &passes, const Samples &columns, std::size_t left, std::size_t size)
        : rows_(rows), layout_(layout), passes_(passes), columns_(columns), left_(left), lines_{Line(size), Line(size)} {}

    // The rows `one` and `other`.
    void find(std::size_t one, std::size_t other, const std::int16_t **lines) {
        const std::size_t at = lines_[1].row == one ? 1 : 0;
        lines[0] = get(at, one);
        lines[1] = one == other ? lines[0] : get(1 - at, other);
    }

  private:
    struct Line {
        std::size_t row = ~std::size_t{0};
        std::vector<std::int16_t> values;
        explicit Line(std::size_t size) : values(size) {}
    };

    const std::int16_t *get(std::size_t at, std::size_t row) {
        Line &line = lines_[at];
        if (line.row != row) passes_.lerp_across(rows_.get(row), layout_, columns_, left_, line.values.data());
        line.row = row;
        return line.values.data();
    }

    Rows &rows_;
    const Layout &layout_;
    const Passes &passes_;
    const Samples &columns_;
    std::size_t left_;
    Line lines_[2];
};

}  // namespace

void convert_sampled(const Frame &frame, const Passes &passes, const Part &part) {
    const Plan &plan = part.plan();
    const Samples &down = plan.row_samples, &across = plan.column_samples;
    const Layout layout(frame);
    const std::size_t left = static_cast<std::size_t>(across.lowest()) & ~std::size_t{1};
    const std::size_t width = rounded(static_cast<std::size_t>(across.end()), 2) - left;
    Rows rows(frame, layout, passes, left, width, width * layout.step + 8, 1);
    const std::size_t size = rounded(across.length() * 4, row_unit);
    const bool picked = across.whole && down.whole;
    Lines lines(rows, layout, passes, across, left, picked ? 0 : size);
    std::vector<std::uint8_t> small(size);
    std::size_t last = ~std::size_t{0};
    for (std::size_t y = part.from; y < part.to; ++y) {
        const std::size_t one = static_cast<std::size_t>(down.first[y]), other = static_cast<std::size_t>(down.second[y]);
        if (picked) {
            if (one != last) pick(rows.get(one), layout, across, left, small.data());
            last = one;
        } else {
            const std::int16_t *found[2];
            lines.find(one, other, found);
            passes.lerp_down(found[0], found[1], &down.weight[2 * y], size, small.data());
        }
        emit(passes, part.outputs, small.data(), 4, y);
    }
}

}  // namespace chiasm
