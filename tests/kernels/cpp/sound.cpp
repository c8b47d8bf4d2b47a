// Log-mel. The reference's transform adds up in another order, so the numbers are compared by their size.
#include <cmath>
#include <limits>

#include "check.hpp"
#include "mel.hpp"

namespace check {

long sound_golden(const Case &known) {
    if (known.operation != "mel_frames") return -1;
    const auto &arrays = known.arrays;  // samples, sizes, numbers, window, first, count, weight, log-mel
    auto samples = arrays[0].values<float>();
    const auto sizes = arrays[1].values<std::int64_t>();
    const auto numbers = arrays[2].values<double>();
    const auto at = [&](std::size_t i) { return static_cast<std::size_t>(sizes[i]); };
    const auto first = arrays[4].values<std::int32_t>(), count = arrays[5].values<std::int32_t>();
    const auto weight = arrays[6].values<double>();
    chiasm::Mel mel(at(0), at(1), arrays[3].values<double>(), numbers[0]);
    std::size_t used = 0;
    for (std::size_t m = 0; m < first.size(); ++m) {
        const auto weights = static_cast<std::size_t>(count[m]);
        mel.add_filter(static_cast<std::size_t>(first[m]), weights, weight.data() + used);
        used += weights;
    }
    mel.preemphasis = numbers[1];
    mel.floor = numbers[2];
    mel.factor = numbers[3];
    mel.remove_dc = at(2) != 0;
    mel.amplitude = at(3) != 0;
    const auto expected = arrays[7].values<float>();
    long wrong = 0;
    for (const std::size_t threads : {1, 3}) {
        std::vector<float> out(expected.size());
        const auto run = [&] {
            return chiasm::mel_frames(mel, {samples.data(), static_cast<std::int64_t>(samples.size()), sizes[5]}, at(6), at(4) != 0, threads, out.data());
        };
        wrong += !run();
        for (std::size_t i = 0; i < out.size(); ++i) wrong += !(std::fabs(out[i] - expected[i]) <= 1e-6F * std::fmax(1.0F, std::fabs(expected[i])));
        const float kept = samples[samples.size() / 2];
        samples[samples.size() / 2] = std::numeric_limits<float>::infinity();
        wrong += run();
        samples[samples.size() / 2] = kept;
    }
    return wrong;
}

}  // namespace check
