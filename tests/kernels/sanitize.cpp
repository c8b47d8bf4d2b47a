// Random resizes and flow steps on arrays of exactly the right size, checked number by number against plain loops.
// test_sanitize.py builds it with the address and undefined-behaviour sanitizers; it also cross-compiles:
//   aarch64-linux-gnu-g++ -O3 -std=c++17 -static -I kernels/csrc tests/kernels/sanitize.cpp kernels/csrc/[!bm]*.cpp
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "convert.hpp"
#include "flow.hpp"
#include "instructions.hpp"

namespace {

std::mt19937 engine(1);

int upto(int top) { return std::uniform_int_distribution<int>(0, top)(engine); }

struct Numbers {
    std::vector<std::int32_t> start, count, weight;
    std::size_t taps;

    Numbers(int source, int length) : taps(static_cast<std::size_t>(1 + upto(23))) {
        const bool even = upto(2) == 0;
        for (int i = 0; i < length; ++i) {
            count.push_back(1 + upto(std::min(static_cast<int>(taps), source) - 1));
            start.push_back(upto(source - count.back()));
            for (std::size_t k = 0; k < taps; ++k)
                weight.push_back(even && k ? weight.back() : (upto(1 << 23) - (1 << 21)) / count.back());
        }
    }
    chiasm::Weights weights(int source, bool columns) const {
        return chiasm::checked_weights({start, count, weight, taps}, static_cast<std::size_t>(source), columns);
    }
};

template <typename Value>
int weighed(const chiasm::Axis &axis, std::size_t i, Value value) {
    std::int64_t sum = 1 << (chiasm::precision - 1);
    for (std::int32_t k = 0; k < axis.count[i]; ++k)
        sum += std::int64_t{axis.weight[i * axis.taps + static_cast<std::size_t>(k)]} * value(axis.start[i] + k);
    return static_cast<int>(std::clamp<std::int64_t>(sum >> chiasm::precision, 0, 255));
}

// The number of wrong values in one random resize: its whole part is a plan's, its numbers are no filter's.
long resize_once() {
    const int height = 1 + upto(59), width = 1 + upto(59), h = 1 + upto(39), w = 1 + upto(39);
    const int step = 3 + upto(2), reversed = upto(1);  // bytes a pixel, and whether blue is first
    std::vector<std::uint8_t> image(static_cast<std::size_t>((height * width - 1) * step + 3));
    for (std::uint8_t &value : image) value = static_cast<std::uint8_t>(upto(255));
    std::vector<float> table(768), out(static_cast<std::size_t>(3 * h * w));
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i);
    const std::uint8_t *first = reinterpret_cast<const std::uint8_t *>(table.data());
    const auto size = [](int length) { return static_cast<std::size_t>(length); };
    const chiasm::Plan plan{size(height), size(width), upto(1) ? chiasm::Kind::across : chiasm::Kind::down,
                            Numbers(height, h).weights(height, false), Numbers(width, w).weights(width, true), {}, {},
                            size(h), size(w), 0, 0, false, false, 4, {first, first + 4 * table.size()}, {}};
    plan.check();
    const auto plane = [&](int c) { return chiasm::Plane{image.data() + (reversed ? 2 - c : c), width * step, step}; };
    const chiasm::Frame frame{size(height), size(width), {plane(0), plane(1), plane(2)}, true, 1, {}};
    chiasm::convert(frame, {{&plan, out.data()}}, size(1 + upto(2)));
    const chiasm::Axis &rows = plan.rows.axis, &columns = plan.columns.axis;
    long wrong = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const std::size_t x = i % size(w), y = i / size(w) % size(h), c = i / size(w) / size(h), at = reversed ? 2 - c : c;
        const auto pixel = [&](int row, int column) { return image[size((row * width + column) * step) + at]; };
        const bool across = plan.kind == chiasm::Kind::across;
        const int grey =
            across ? weighed(rows, y, [&](int r) { return weighed(columns, x, [&](int k) { return pixel(r, k); }); })
                   : weighed(columns, x, [&](int k) { return weighed(rows, y, [&](int r) { return pixel(r, k); }); });
        wrong += out[i] != static_cast<float>(c * 256 + static_cast<std::size_t>(grey));
    }
    return wrong;
}

std::vector<float> floats(std::size_t size) {
    std::vector<float> values(size);
    for (float &value : values) value = std::uniform_real_distribution<float>(-1.5F, 1.5F)(engine);
    return values;
}

long flow_once() {
    const std::size_t pixels = static_cast<std::size_t>(upto(300)), size = pixels * 3;
    const std::vector<float> x = floats(size), velocity = floats(size), noise = floats(size);
    std::vector<float> out(size);
    std::vector<std::uint8_t> bytes(size);
    chiasm::denoise_step(x.data(), velocity.data(), noise.data(), 0.75F, 0.25F, out.data(), size);
    long wrong = !chiasm::latent_to_image(x.data(), bytes.data(), pixels);
    for (std::size_t i = 0; i < size; ++i) {
        wrong += std::fabs(out[i] - (0.75 * (x[i] - 0.75 * velocity[i]) + 0.25 * noise[i])) > 1e-6;
        const float grey = std::clamp((x[i] + 1.0F) * 127.5F, 0.0F, 255.0F);
        wrong += bytes[i % pixels * 3 + i / pixels] != static_cast<int>(std::nearbyint(grey));
    }
    if (size) {
        std::vector<float> broken = x;
        broken[static_cast<std::size_t>(upto(static_cast<int>(size) - 1))] = std::numeric_limits<float>::quiet_NaN();
        wrong += chiasm::latent_to_image(broken.data(), bytes.data(), pixels);
    }
    return wrong;
}

}  // namespace

int main() {
    long wrong = 0;
    for (const char *name : {"plain", "avx2", "avx512", "avx512-vnni"}) {
        if (!chiasm::use_instructions(name)) continue;
        std::printf("%s\n", chiasm::instructions());
        for (int i = 0; i < 150; ++i) wrong += resize_once() + flow_once();
    }
    std::printf("%ld wrong\n", wrong);
    return wrong != 0;
}
