// Random resizes, sampler's steps and noise on arrays of exactly the right size, checked number by number against plain loops.
// test_sanitize.py builds it with the address and undefined-behaviour sanitizers; it also cross-compiles:
//   aarch64-linux-gnu-g++ -O3 -std=c++17 -static -I kernels/csrc tests/kernels/sanitize.cpp kernels/csrc/{resample,dots,diffusion}.cpp
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "diffusion.hpp"
#include "resample.hpp"

namespace {

std::mt19937 engine(1);

int upto(int top) { return std::uniform_int_distribution<int>(0, top)(engine); }

struct Weights {
    std::vector<std::int32_t> start, count, weight;
    std::size_t taps;

    Weights(int source, int length) : taps(static_cast<std::size_t>(1 + upto(23))) {
        const bool even = upto(2) == 0;
        for (int i = 0; i < length; ++i) {
            count.push_back(1 + upto(std::min(static_cast<int>(taps), source) - 1));
            start.push_back(upto(source - count.back()));
            for (std::size_t k = 0; k < taps; ++k)
                weight.push_back(even && k ? weight.back() : (upto(1 << 23) - (1 << 21)) / count.back());
        }
    }
    chiasm::Axis axis() const { return {start.data(), count.data(), weight.data(), start.size(), taps}; }
};

int to_byte(std::int64_t sum) { return static_cast<int>(std::clamp<std::int64_t>(sum >> chiasm::precision, 0, 255)); }

template <typename Value>
int weighed(const chiasm::Axis &axis, std::size_t i, Value value) {
    std::int64_t sum = 1 << (chiasm::precision - 1);
    for (std::int32_t k = 0; k < axis.count[i]; ++k)
        sum += std::int64_t{axis.weight[i * axis.taps + static_cast<std::size_t>(k)]} * value(axis.start[i] + k);
    return to_byte(sum);
}

// The number of wrong values in one random resize.
long resize_once() {
    const int height = 1 + upto(59), width = 1 + upto(59), h = 1 + upto(39), w = 1 + upto(39);
    const int step = 3 + upto(2), reversed = upto(1);  // bytes a pixel, and whether blue is first
    std::vector<std::uint8_t> image(static_cast<std::size_t>((height * width - 1) * step + 3));
    for (std::uint8_t &value : image) value = static_cast<std::uint8_t>(upto(255));
    const Weights down(height, h), across(width, w);
    const chiasm::Axis rows = down.axis(), columns = across.axis();
    std::vector<float> table(768), out(static_cast<std::size_t>(3 * h * w));
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i);
    const chiasm::Picture picture{image.data() + 2 * reversed, width * step, step, 1 - 2 * reversed};
    chiasm::resample(picture, rows, columns, table.data(), out.data());
    long wrong = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const std::size_t x = i % w, y = i / w % h, c = i / w / h, at = reversed ? 2 - c : c;
        const int grey = weighed(rows, y, [&](int row) {
            return weighed(columns, x, [&](int column) { return image[(row * width + column) * step + at]; });
        });
        wrong += out[i] != static_cast<float>(c * 256 + static_cast<std::size_t>(grey));
    }
    return wrong;
}

std::vector<float> floats(std::size_t size) {
    std::vector<float> values(size);
    for (float &value : values) value = std::uniform_real_distribution<float>(-1.5F, 1.5F)(engine);
    return values;
}

// One step with and without what may be left out; the result may lie in an input.
long step_once() {
    const std::size_t size = static_cast<std::size_t>(upto(900));
    const std::vector<float> x = floats(size), p = floats(size), u = floats(size), given = floats(size);
    const bool guided = upto(1), fresh = upto(1), told = upto(1);
    const chiasm::NoiseKey key{engine(), engine(), engine()};
    std::vector<float> made(size), out = x, clean(size);
    chiasm::normal_noise(key, made.data(), size);
    const chiasm::Coefficients c{3.0F, 1.25F, -0.75F, 0.5F, 0.25F, 0.125F};
    chiasm::denoise_step({out.data(), p.data(), guided ? u.data() : nullptr, fresh ? nullptr : given.data(), fresh, key, c,
                          out.data(), told ? clean.data() : nullptr, size});
    long wrong = 0;
    for (std::size_t i = 0; i < size; ++i) {
        const double mixed = guided ? u[i] + 3.0 * (p[i] - u[i]) : p[i], x0 = 1.25 * x[i] - 0.75 * mixed;
        wrong += std::fabs(out[i] - (0.5 * x[i] + 0.25 * x0 + 0.125 * (fresh ? made : given)[i])) > 4e-6;
        wrong += told && std::fabs(clean[i] - x0) > 4e-6;
        wrong += !(std::fabs(made[i]) < 9.0F);
    }
    return wrong;
}

long picture_once() {
    const std::size_t pixels = static_cast<std::size_t>(upto(300)), size = pixels * 3;
    const std::vector<float> x = floats(size);
    std::vector<std::uint8_t> bytes(size);
    const bool blue_first = upto(1);
    long wrong = !chiasm::latent_to_image(x.data(), 1.0F, 127.5F, blue_first, bytes.data(), pixels);
    for (std::size_t i = 0; i < size; ++i) {
        const float grey = std::clamp((x[i] + 1.0F) * 127.5F, 0.0F, 255.0F);
        const std::size_t c = i / pixels;
        wrong += bytes[i % pixels * 3 + (blue_first ? 2 - c : c)] != static_cast<int>(std::nearbyint(grey));
    }
    if (size) {
        std::vector<float> broken = x;
        broken[static_cast<std::size_t>(upto(static_cast<int>(size) - 1))] = std::numeric_limits<float>::quiet_NaN();
        wrong += chiasm::latent_to_image(broken.data(), 1.0F, 127.5F, blue_first, bytes.data(), pixels);
    }
    return wrong;
}

}  // namespace

int main() {
    long wrong = 0;
    for (const char *name : {"plain", "avx2", "avx512", "avx512-vnni"}) {
        if (!chiasm::use_instructions(name)) continue;
        std::printf("%s\n", chiasm::instructions());
        for (int i = 0; i < 150; ++i) wrong += resize_once() + step_once() + picture_once();
    }
    std::printf("%ld wrong\n", wrong);
    return wrong != 0;
}
