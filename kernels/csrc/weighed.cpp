// The antialiased resize: the rows of the frame go by in bands, and every output takes from each what it needs.
#include <algorithm>
#include <vector>

#include "convert.hpp"
#include "emit.hpp"
#include "lined.hpp"
#include "rows.hpp"

namespace chiasm {
namespace {

// What the passes may read of a row, in bytes: the last group of taps, and a register beyond.
std::size_t reach_of(std::size_t width, std::size_t groups, std::size_t step) {
    return (rounded(width, quad) + groups * quad) * step + row_unit;
}

std::size_t narrow_stride(const Plan &plan) { return rounded(rounded(plan.columns.length(), quad) * 3 + 4, row_unit); }

// Columns of the frame that some outputs read, from an even one on, an even number of them.
struct Window {
    std::size_t left = ~std::size_t{0}, right = 0, groups = 0;

    void add(const Weights &columns) {
        left = std::min(left, static_cast<std::size_t>(columns.axis.lowest()) & ~std::size_t{1});
        right = std::max(right, rounded(static_cast<std::size_t>(columns.axis.end()), 2));
        groups = std::max(groups, columns.by_digits.groups);
    }
    std::size_t width() const { return right - left; }
    std::size_t reach(std::size_t step) const { return reach_of(width(), groups, step); }
};

// Runs the rows of a band across, and lays them out only once however many outputs ask.
class Across {
  public:
    Across(const Passes &passes, const Layout &layout, const Window &window)
        : passes_(passes), staged_(passes.stage ? (window.width() + window.groups * quad + 8) * passes.staged_bytes : 0), band_{} {
        band_.layout = &layout;
        band_.ahead = &ahead_;
        band_.left = window.left;
        band_.width = window.width();
    }

    // Where the rows of the next band go.
    const std::uint8_t **begin() {
        ahead_.clear();
        band_.staged = nullptr;
        return band_.rows;
    }

    Ahead &ahead() { return ahead_; }

    void run(const Weights &columns, std::uint8_t *narrow, std::size_t stride) {
        if (passes_.stage && !band_.staged) {
            passes_.stage(band_, staged_.data());
            band_.staged = staged_.data();
        }
        passes_.across(band_, columns, narrow, stride);
    }

  private:
    const Passes &passes_;
    LinedBytes staged_;
    Ahead ahead_;
    Band band_;
};

// An output whose narrow rows come band by band, and whose target rows leave as soon as what they weigh is there.
class Falling {
  public:
    Falling(const Passes &passes, const Part &part)
        : passes_(passes), plan_(part.plan()), outputs_(part.outputs), y_(part.from), to_(part.to),
          stride_(narrow_stride(plan_)), small_(stride_) {
        std::size_t made = 0, kept = 0, most = 0;
        for (std::size_t y = part.from; y < part.to; ++y) {
            made = std::max(made, start(y) + count(y));
            kept = std::max(kept, made - start(y));
            most = std::max(most, count(y));
            first_ = std::min(first_, start(y));
        }
        last_ = made;
        kept_ = rounded(kept + passes.band, passes.band) + passes.band;  // a band may bring more rows than were asked for
        ring_.resize(kept_ * stride_);
        sources_.resize(rounded(most, quad));
    }

    std::size_t first() const { return first_; }
    std::size_t last() const { return last_; }

    // The band of source rows that begins with `row`; the bands follow one another.
    void take(Across &across, std::size_t row) {
        if (row + passes_.band <= first_ || row >= last_) return;
        across.run(plan_.columns, slot(row), stride_);
        for (; y_ < to_ && start(y_) + count(y_) <= row + passes_.band; ++y_) leave();
    }

    // Bands begin at `row` and every `band` rows after it.
    void align(std::size_t row) { origin_ = row; }

  private:
    std::size_t start(std::size_t y) const { return static_cast<std::size_t>(plan_.rows.axis.start[y]); }
    std::size_t count(std::size_t y) const { return static_cast<std::size_t>(plan_.rows.axis.count[y]); }
    std::uint8_t *slot(std::size_t row) { return ring_.data() + (row - origin_) % kept_ * stride_; }

    void leave() {
        const std::size_t taps = count(y_);
        const std::uint8_t *row = slot(start(y_));
        if (taps != 1 || plan_.rows.axis.weight[y_ * plan_.rows.axis.taps] != 1 << precision) {
            const std::size_t padded = rounded(taps, quad);
            for (std::size_t k = 0; k < padded; ++k) sources_[k] = slot(start(y_) + std::min(k, taps - 1));
            passes_.down(sources_.data(), plan_.rows, y_, rounded(plan_.columns.length() * 3, row_unit), small_.data());
            row = small_.data();
        }
        emit(passes_, outputs_, row, 3, y_);
    }

    const Passes &passes_;
    const Plan &plan_;
    const std::vector<Output> &outputs_;
    std::size_t y_, to_, stride_, first_ = ~std::size_t{0}, last_ = 0, kept_ = 0, origin_ = 0;
    LinedBytes ring_, small_;
    std::vector<const std::uint8_t *> sources_;
};

}  // namespace

void convert_across(const Frame &frame, const Passes &passes, const std::vector<Part> &parts) {
    Window window;
    std::vector<Falling> outputs;
    std::size_t top = frame.height, bottom = 0;
    for (const Part &part : parts) {
        outputs.emplace_back(passes, part);
        window.add(part.plan().columns);
        top = std::min(top, outputs.back().first());
        bottom = std::max(bottom, outputs.back().last());
    }
    for (Falling &output : outputs) output.align(top);
    const Layout layout(frame);
    Rows rows(frame, layout, passes, window.left, window.width(), window.reach(layout.step), passes.band);
    Across across(passes, layout, window);
    for (std::size_t row = top; row < bottom; row += passes.band) {
        const std::uint8_t **sources = across.begin();
        // The last band repeats the last row.
        for (std::size_t r = 0; r < passes.band; ++r) sources[r] = rows.get(std::min(row + r, bottom - 1));
        for (std::size_t r = passes.band; r < 2 * passes.band && row + r < bottom; ++r) rows.announce(row + r, across.ahead());
        for (Falling &output : outputs) output.take(across, row);
    }
}

void convert_down(const Frame &frame, const Passes &passes, const Part &part) {
    const Plan &plan = part.plan();
    const Axis &axis = plan.rows.axis;
    Window window;
    window.add(plan.columns);
    const Layout layout(frame);
    const std::size_t bytes = rounded(window.reach(layout.step), row_unit), stride = narrow_stride(plan);
    std::size_t most = 0;
    for (std::size_t y = part.from; y < part.to; ++y) most = std::max(most, static_cast<std::size_t>(axis.count[y]));
    Rows rows(frame, layout, passes, window.left, window.width(), bytes, most);
    Across across(passes, layout, window);
    LinedBytes flat(passes.band * bytes), narrow(passes.band * stride);
    std::vector<const std::uint8_t *> sources(rounded(most, quad));
    const std::size_t used = rounded(window.width() * layout.step, row_unit);
    for (std::size_t first = part.from; first < part.to; first += passes.band) {
        const std::size_t count = std::min(passes.band, part.to - first);
        for (std::size_t r = 0; r < count; ++r) {
            const std::size_t start = static_cast<std::size_t>(axis.start[first + r]), taps = static_cast<std::size_t>(axis.count[first + r]);
            for (std::size_t k = 0; k < rounded(taps, quad); ++k) sources[k] = rows.get(start + std::min(k, taps - 1));
            passes.down(sources.data(), plan.rows, first + r, used, flat.data() + r * bytes);
        }
        const std::uint8_t **band = across.begin();
        for (std::size_t r = 0; r < passes.band; ++r) band[r] = flat.data() + std::min(r, count - 1) * bytes;
        across.run(plan.columns, narrow.data(), stride);
        for (std::size_t r = 0; r < count; ++r) emit(passes, part.outputs, narrow.data() + r * stride, 3, first + r);
    }
}

}  // namespace chiasm
