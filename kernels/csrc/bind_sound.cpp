// sound.py's compiled half.
#include <algorithm>
#include <cmath>
#include <memory>

#include "bind.hpp"
#include "mel.hpp"

using namespace nanobind::literals;

namespace chiasm {
namespace {

using Doubles = Array<const double, 1>;
using Ints = Array<const std::int32_t, 1>;

constexpr std::size_t largest = std::size_t{1} << 20;

void add_filters(Mel &mel, const Ints &first, const Ints &count, const Doubles &weight) {
    const std::int64_t powers = static_cast<std::int64_t>(mel.factors.size) + 1;
    std::int64_t used = 0;
    if (first.size() != count.size() || first.size() == 0) throw nb::value_error("the filters differ in number");
    for (std::size_t m = 0; m < first.size(); ++m) {
        const std::int64_t from = first.data()[m], weights = count.data()[m];
        if (from < 0 || weights < 0 || from + weights > powers || used + weights > static_cast<std::int64_t>(weight.size()))
            throw nb::value_error("a filter does not fit the spectrum or the weights");
        mel.add_filter(static_cast<std::size_t>(from), static_cast<std::size_t>(weights), weight.data() + used);
        used += weights;
    }
}

void make(Mel *place, std::size_t fft_size, std::size_t hop, const Doubles &window, const Ints &first, const Ints &count, const Doubles &weight,
          double gain, bool remove_dc, double preemphasis, bool amplitude, double floor, double log_factor) {
    if (fft_size < 2 || fft_size % 2 || fft_size > largest || hop == 0 || hop > largest || window.size() == 0 || window.size() > fft_size)
        throw nb::value_error("fft_size, hop or window cannot be");
    if (!(floor > 0.0) || !std::isnormal(floor)) throw nb::value_error("floor cannot be");
    Mel mel(fft_size, hop, std::vector<double>(window.data(), window.data() + window.size()), gain);
    if (!mel.factors.complete()) throw nb::value_error("fft_size has other prime factors than 2, 3 and 5");
    add_filters(mel, first, count, weight);
    mel.remove_dc = remove_dc;
    mel.preemphasis = preemphasis;
    mel.amplitude = amplitude;
    mel.floor = floor;
    mel.factor = log_factor;
    new (place) Mel(std::move(mel));
}

bool frames_of(const Mel &mel, const Array<const float, 1> &waveform, std::int64_t start, bool mels_first, std::size_t threads,
               const Array<float, 2> &out) {
    const std::size_t frames = out.shape(mels_first ? 1 : 0);
    if (out.shape(mels_first ? 0 : 1) != mel.filters.size()) throw nb::value_error("out does not fit the filters");
    const Waveform sound{waveform.data(), static_cast<std::int64_t>(waveform.size()), start};
    if (frames == 0) return true;
    if (!sound.holds(frames, mel.hop, mel.length)) throw nb::value_error("the frames do not fit the waveform");
    const nb::gil_scoped_release released;
    return mel_frames(mel, sound, frames, mels_first, std::max<std::size_t>(threads, 1), out.data());
}

void level_of(const Flat<float> &values, float reach, float mean, float std) {
    const nb::gil_scoped_release released;
    level(values.data(), values.size(), reach, mean, std);
}

}  // namespace

void bind_sound(nb::module_ &module) {
    nb::class_<Mel>(module, "Mel", "A log-mel front end: the constants and tables of a MelSpec.")
        .def("__init__", &make, "fft_size"_a, "hop"_a, "window"_a.noconvert(), "first"_a.noconvert(), "count"_a.noconvert(),
             "weight"_a.noconvert(), "gain"_a, "remove_dc"_a, "preemphasis"_a, "amplitude"_a, "floor"_a, "log_factor"_a);
    module.def("mel_frames", &frames_of, "mel"_a, "waveform"_a.noconvert(), "start"_a, "mels_first"_a, "threads"_a, "out"_a.noconvert(),
               "float32 (N,) → (mels, frames) or (frames, mels); frame 0 begins at `start`. False when a sample is not finite.");
    module.def("mel_level", &level_of, "values"_a.noconvert(), "reach"_a, "mean"_a, "std"_a,
               "In place: (max(value, greatest - reach) - mean) / std.");
}

}  // namespace chiasm
