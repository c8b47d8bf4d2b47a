// Log-mel frames of a waveform, in double precision, several frames side by side in the lanes of a register.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fft.hpp"

namespace chiasm {

// `count` weights, an even number, at `weight`, for the powers `first` to `first + count`.
struct Filter {
    std::size_t first, count, weight;
};

// What kernels/mel.py makes of a MelSpec.
struct Mel {
    std::size_t hop, length;     // of a frame, in samples
    std::vector<double> window;  // the gain and the ½ that fft.inc asks for are in it; with a zero after an odd length
    bool remove_dc = false;
    double preemphasis = 0.0;
    Factors factors;  // of half the size of the transform
    std::vector<Filter> filters;
    std::vector<double> weights;
    bool amplitude = false;             // the filters weigh |X|, not |X|²
    double floor = 1e-10, factor = 1.0;  // the result is factor · ln(max(floor, ·))

    // `fft_size` is even, and the window not longer.
    Mel(std::size_t fft_size, std::size_t hop, const std::vector<double> &window, double gain);
    // Weighs the powers `first` to `first + count`, of fft_size / 2 + 1.
    void add_filter(std::size_t first, std::size_t count, const double *weight);

    // The work on a frame: the transform's two buffers of complex numbers. The powers, and one more number, come to the one that the
    // transform does not end in, and what the filters let through to the other.
    std::size_t buffer() const { return (std::max(2 * factors.size, filters.size()) + 3) / 2 * 2; }
    std::size_t reals() const { return 2 * buffer(); }
};

// A waveform; frame t begins at sample `start` + t · hop. Samples before the first and after the last are mirrored about these.
struct Waveform {
    const float *samples;
    std::int64_t size, start;

    // Whether `frames` frames of `length` samples reach no farther than the mirrors do.
    bool holds(std::size_t frames, std::size_t hop, std::size_t length) const;
};

// `out` is (filters, frames) if `mels_first`, else (frames, filters). False when a sample is NaN or infinite. A frame's
// numbers do not depend on which other frames there are, nor on `threads`.
bool mel_frames(const Mel &mel, const Waveform &waveform, std::size_t frames, bool mels_first, std::size_t threads, float *out);

// In place: (max(value, greatest - range) - mean) / std, with the greatest of all values.
void level(float *values, std::size_t size, float range, float mean, float std);

}  // namespace chiasm
