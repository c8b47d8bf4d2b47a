// Frames to tensors, a thread a pixel of the target: for filters that take few neighbours (nearest, opencv-linear), whose bound is
// the memory; and for weighed filters of any size and order, where image_tiled.cu does not fit. There the same source pixels
// are converted and weighed again for each row of the target: correct, and slow.
#include "image.cuh"

namespace chiasm {

struct DirectArguments {
    DeviceFrames frames;
    DeviceTarget target;
    const std::int32_t *row_start, *row_count, *row_weight;  // sampled: first, second, weight
    const std::int32_t *column_start, *column_count, *column_weight;
    std::uint32_t row_taps, column_taps;
    std::uint32_t across;  // whether the rows are weighed before the columns
};

struct MarginArguments {
    DeviceTarget target;
    std::uint32_t frames;
};

struct Sum {
    std::int32_t red, green, blue;
};

CHIASM_DEVICE void add(Sum &sum, Rgb pixel, std::int32_t weight) {
    sum.red += pixel.red * weight;
    sum.green += pixel.green * weight;
    sum.blue += pixel.blue * weight;
}

CHIASM_DEVICE Rgb rounded(const Sum &sum) { return {weighed_byte(sum.red), weighed_byte(sum.green), weighed_byte(sum.blue)}; }

// The inner sum of row `y` (across) or of column `x` (down) is rounded to bytes before the outer one takes it in.
CHIASM_DEVICE Rgb weighed_pixel(const DirectArguments &a, std::uint32_t frame, std::uint32_t y, std::uint32_t x) {
    const std::int32_t top = __ldg(a.row_start + y), tall = __ldg(a.row_count + y);
    const std::int32_t left = __ldg(a.column_start + x), wide = __ldg(a.column_count + x);
    const std::int32_t *down = a.row_weight + static_cast<std::uint64_t>(y) * a.row_taps;
    const std::int32_t *along = a.column_weight + static_cast<std::uint64_t>(x) * a.column_taps;
    const std::int32_t outer = a.across ? tall : wide, inner = a.across ? wide : tall;
    const std::int32_t *outer_weight = a.across ? down : along, *inner_weight = a.across ? along : down;
    Sum total{0, 0, 0};
    for (std::int32_t i = 0; i < outer; ++i) {
        Sum part{0, 0, 0};
        for (std::int32_t j = 0; j < inner; ++j)
            add(part, pixel_at(a.frames, frame, top + (a.across ? i : j), left + (a.across ? j : i)), __ldg(inner_weight + j));
        add(total, rounded(part), __ldg(outer_weight + i));
    }
    return rounded(total);
}

CHIASM_DEVICE std::uint8_t sampled(std::int32_t a, std::int32_t b, std::int32_t c, std::int32_t d, const std::int32_t *w) {
    return lerp_down(lerp_across(a, b, w[0], w[1]), lerp_across(c, d, w[0], w[1]), w[2], w[3]);
}

CHIASM_DEVICE Rgb sampled_pixel(const DirectArguments &a, std::uint32_t frame, std::uint32_t y, std::uint32_t x) {
    const std::int32_t above = __ldg(a.row_start + y), below = __ldg(a.row_count + y);
    const std::int32_t left = __ldg(a.column_start + x), right = __ldg(a.column_count + x);
    const std::int32_t weight[4] = {__ldg(a.column_weight + 2 * x), __ldg(a.column_weight + 2 * x + 1),
                                    __ldg(a.row_weight + 2 * y), __ldg(a.row_weight + 2 * y + 1)};
    const Rgb p = pixel_at(a.frames, frame, above, left), q = pixel_at(a.frames, frame, above, right);
    const Rgb r = pixel_at(a.frames, frame, below, left), s = pixel_at(a.frames, frame, below, right);
    return {sampled(p.red, q.red, r.red, s.red, weight), sampled(p.green, q.green, r.green, s.green, weight),
            sampled(p.blue, q.blue, r.blue, s.blue, weight)};
}

template <typename Pixel>
CHIASM_DEVICE void every_pixel(const DirectArguments &a, Pixel pixel) {
    const std::uint64_t each = static_cast<std::uint64_t>(a.target.rows) * a.target.columns, all = each * a.frames.count;
    for (std::uint64_t i = grid_thread(); i < all; i += grid_threads()) {
        const auto frame = static_cast<std::uint32_t>(i / each), at = static_cast<std::uint32_t>(i % each);
        const std::uint32_t y = at / a.target.columns, x = at % a.target.columns;
        const Rgb made = pixel(a, frame, y, x);
        put_byte(a.target, frame, 0, y, x, made.red);
        put_byte(a.target, frame, 1, y, x, made.green);
        put_byte(a.target, frame, 2, y, x, made.blue);
    }
}

}  // namespace chiasm

CHIASM_KERNEL(chiasm_image_sampled, chiasm::DirectArguments, 256) {
    chiasm::every_pixel(a, [](const chiasm::DirectArguments &b, std::uint32_t frame, std::uint32_t y, std::uint32_t x) {
        return chiasm::sampled_pixel(b, frame, y, x);
    });
}

CHIASM_KERNEL(chiasm_image_weighed, chiasm::DirectArguments, 256) {
    chiasm::every_pixel(a, [](const chiasm::DirectArguments &b, std::uint32_t frame, std::uint32_t y, std::uint32_t x) {
        return chiasm::weighed_pixel(b, frame, y, x);
    });
}

// What the picture does not cover.
CHIASM_KERNEL(chiasm_image_margin, chiasm::MarginArguments, 256) {
    using namespace chiasm;
    const DeviceTarget &t = a.target;
    const std::uint64_t each = static_cast<std::uint64_t>(t.height) * t.width, all = each * a.frames;
    for (std::uint64_t i = grid_thread(); i < all; i += grid_threads()) {
        const auto frame = static_cast<std::uint32_t>(i / each);
        const std::uint64_t at = i % each;
        const auto y = static_cast<std::uint32_t>(at / t.width), x = static_cast<std::uint32_t>(at % t.width);
        if (y >= t.top && y - t.top < t.rows && x >= t.left && x - t.left < t.columns) continue;
        for (std::uint32_t c = 0; c < 3; ++c) put_element(t, element(t, frame, c, y, x), t.margin, c);
    }
}
