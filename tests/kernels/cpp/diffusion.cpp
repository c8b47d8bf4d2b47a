// The sampler's step, its noise and its picture.
#include <cmath>
#include <limits>

#include "check.hpp"
#include "diffusion.hpp"

namespace check {
namespace {

std::vector<float> floats(std::size_t size) {
    std::vector<float> values(size);
    for (float &value : values) value = between(-1.5F, 1.5F);
    return values;
}

long step_again(const std::vector<Array> &arrays) {
    const auto x = arrays[0].values<float>(), prediction = arrays[1].values<float>(), without = arrays[2].values<float>();
    const auto noise = arrays[3].values<float>(), numbers = arrays[4].values<float>();
    const auto key = arrays[5].values<std::uint64_t>();  // fresh, low, high, step
    std::vector<float> next(x.size()), clean(x.size());
    chiasm::denoise_step({x.data(), prediction.data(), arrays[2].size() ? without.data() : nullptr,
                          arrays[3].size() ? noise.data() : nullptr, key[0] != 0, {key[1], key[2], key[3]},
                          {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]}, next.data(), clean.data(), x.size()});
    return differing(next, arrays[6].values<float>()) + differing(clean, arrays[7].values<float>());
}

}  // namespace

long diffusion_by_chance() {
    const std::size_t pixels = static_cast<std::size_t>(upto(300)), size = pixels * 3;
    const std::vector<float> x = floats(size), prediction = floats(size), noise = floats(size);
    std::vector<float> next(size);
    std::vector<std::uint8_t> bytes(size);
    // A step of rectified flow from 0.75 to 0.25.
    chiasm::denoise_step({x.data(), prediction.data(), nullptr, noise.data(), false, {}, {1.0F, 1.0F, -0.75F, 0.0F, 0.75F, 0.25F},
                          next.data(), nullptr, size});
    long wrong = !chiasm::latent_to_image(x.data(), 1.0F, 127.5F, false, bytes.data(), pixels);
    for (std::size_t i = 0; i < size; ++i) {
        wrong += std::fabs(next[i] - (0.75 * (x[i] - 0.75 * prediction[i]) + 0.25 * noise[i])) > 1e-6;
        const float grey = std::fmin(std::fmax((x[i] + 1.0F) * 127.5F, 0.0F), 255.0F);
        wrong += bytes[i % pixels * 3 + i / pixels] != static_cast<int>(std::nearbyint(grey));
    }
    if (size) {
        std::vector<float> broken = x;
        broken[static_cast<std::size_t>(upto(static_cast<int>(size) - 1))] = std::numeric_limits<float>::quiet_NaN();
        wrong += chiasm::latent_to_image(broken.data(), 1.0F, 127.5F, false, bytes.data(), pixels);
    }
    return wrong;
}

long diffusion_golden(const Case &known) {
    const auto &arrays = known.arrays;
    if (known.operation == "denoise_step") return step_again(arrays);
    if (known.operation == "normal_noise") {
        const auto key = arrays[0].values<std::uint64_t>();
        std::vector<float> out(arrays[1].size());
        chiasm::normal_noise({key[0], key[1], key[2]}, out.data(), out.size());
        return differing(out, arrays[1].values<float>());
    }
    if (known.operation != "latent_to_image") return -1;
    const auto picture = arrays[0].values<float>(), numbers = arrays[1].values<float>();
    std::vector<std::uint8_t> out(picture.size());
    const bool fine = chiasm::latent_to_image(picture.data(), numbers[0], numbers[1], numbers[2] != 0.0F, out.data(), picture.size() / 3);
    return !fine + differing(out, arrays[2].values<std::uint8_t>());
}

}  // namespace check
