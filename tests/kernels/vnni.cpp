// The passes of kernels/csrc/vnni.cpp against the plain ones, on random rows and weights. test_vnni.py builds it with avx512.hpp.
#include <cstdio>
#include <random>
#include <vector>

#include "passes.hpp"

namespace {

std::mt19937 engine(7);

std::size_t upto(std::size_t top) { return std::uniform_int_distribution<std::size_t>(0, top)(engine); }

chiasm::Axis axis_of(std::size_t source, std::size_t length) {
    chiasm::Axis axis;
    axis.taps = 1 + upto(30);
    const bool even = upto(2) == 0;
    for (std::size_t i = 0; i < length; ++i) {
        axis.count.push_back(static_cast<std::int32_t>(1 + upto(std::min(axis.taps, source) - 1)));
        axis.start.push_back(static_cast<std::int32_t>(upto(source - static_cast<std::size_t>(axis.count.back()))));
        for (std::size_t k = 0; k < axis.taps; ++k) {
            const std::int32_t weight = (static_cast<std::int32_t>(upto(1 << 23)) - (1 << 21)) / axis.count.back();
            axis.weight.push_back(even && k ? axis.weight.back() : weight);
        }
    }
    return axis;
}

std::vector<std::uint8_t> bytes(std::size_t size) {
    std::vector<std::uint8_t> made(size);
    for (std::uint8_t &value : made) value = static_cast<std::uint8_t>(upto(255));
    return made;
}

chiasm::Layout layout_of(std::size_t step, bool reversed) {
    static const std::uint8_t pixel[4] = {};
    const auto plane = [&](std::size_t c) { return chiasm::Plane{pixel + (reversed ? 2 - c : c), 4, static_cast<std::int64_t>(step)}; };
    return chiasm::Layout(chiasm::Frame{1, 1, {plane(0), plane(1), plane(2)}, true, 1, {}});
}

long across_once(const chiasm::Passes &passes, const chiasm::Passes &plain) {
    const std::size_t width = 2 * (1 + upto(40)), length = 1 + upto(30), left = 2 * upto(5), stride = 256;
    chiasm::Axis axis = axis_of(width, length);
    for (std::int32_t &start : axis.start) start += static_cast<std::int32_t>(left);
    const chiasm::Weights columns(axis, true);
    const chiasm::Layout layout = layout_of(3 + upto(1), upto(1) == 1);
    const std::size_t row_bytes = (width + 200) * layout.step;
    const std::vector<std::uint8_t> source = bytes(4 * row_bytes);
    chiasm::Band band{};
    band.layout = &layout;
    band.left = left;
    band.width = width;
    chiasm::Ahead ahead;
    ahead.add(source.data(), 1000);
    band.ahead = &ahead;
    for (std::size_t row = 0; row < 4; ++row) band.rows[row] = source.data() + row * row_bytes;
    std::vector<std::uint8_t> ours(4 * stride), theirs(4 * stride), staged((width + 40) * plain.staged_bytes);
    passes.across(band, columns, ours.data(), stride);
    plain.stage(band, staged.data());
    band.staged = staged.data();
    plain.across(band, columns, theirs.data(), stride);
    long wrong = 0;
    for (std::size_t row = 0; row < 4; ++row)
        for (std::size_t at = 0; at < 3 * length; ++at) wrong += ours[row * stride + at] != theirs[row * stride + at];
    return wrong;
}

long down_once(const chiasm::Passes &passes, const chiasm::Passes &plain) {
    const std::size_t height = 1 + upto(40), length = 1 + upto(5), size = 64 * (1 + upto(4));
    const chiasm::Weights rows(axis_of(height, length), false);
    const std::vector<std::uint8_t> source = bytes(height * size);
    long wrong = 0;
    for (std::size_t y = 0; y < length; ++y) {
        const std::size_t count = static_cast<std::size_t>(rows.axis.count[y]);
        std::vector<const std::uint8_t *> pointers;
        for (std::size_t k = 0; k < chiasm::rounded(count, 4); ++k)
            pointers.push_back(source.data() + (static_cast<std::size_t>(rows.axis.start[y]) + std::min(k, count - 1)) * size);
        std::vector<std::uint8_t> ours(size), theirs(size);
        passes.down(pointers.data(), rows, y, size, ours.data());
        plain.down(pointers.data(), rows, y, size, theirs.data());
        for (std::size_t at = 0; at < size; ++at) wrong += ours[at] != theirs[at];
    }
    return wrong;
}

}  // namespace

int main() {
    const chiasm::Passes &passes = *chiasm::vnni_passes(), &plain = chiasm::plain_passes();
    long wrong = 0;
    for (int i = 0; i < 1500; ++i) wrong += across_once(passes, plain) + down_once(passes, plain);
    std::printf("%ld wrong\n", wrong);
    return wrong != 0;
}
