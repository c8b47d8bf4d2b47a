// Log-mel frames in float64 up to the logarithm, as on a CPU. A block takes two frames: one is the real part and the other the
// imaginary part of one transform, which takes them apart at the end. The transform is Stockham's, in shared memory where it fits, with the
// radices 2, 3, 4 and 5; every thread makes outputs of a pass, each a sum over the radix. A second of sound at 100 frames is a
// few microseconds' work, so neither memory nor arithmetic is a bound: it is the launch.
#include "device.cuh"

namespace chiasm {

struct MelArguments {
    const float *samples;
    const double *window, *twiddles;  // twiddles: cos, then sin, of -2πi/fft_size: (2, fft_size)
    const std::int32_t *first, *count, *offset;
    const double *weight;
    float *out;
    std::uint32_t *bad;  // becomes 1 when a sample is NaN or infinite
    double *work;        // 4·fft_size a block, for transforms that shared memory does not hold; else null
    std::int64_t size, start;
    double gain, preemphasis, floor, factor;
    std::uint32_t frames, hop, length, fft_size, mels;
    std::uint32_t remove_dc, amplitude, mels_first;
    std::uint32_t passes, radix[20];
};

struct LevelArguments {
    float *values;
    std::uint32_t *greatest;  // in the order of whole numbers; 0 before the first
    std::uint64_t size;
    float range, mean, std;
    std::uint32_t limited;  // whether there is a range
};

CHIASM_DEVICE std::uint32_t ordered_bits(float value) {
    const std::uint32_t bits = bits_of(value);
    return bits >> 31 ? ~bits : bits | 0x80000000U;
}

CHIASM_DEVICE double sample_at(const MelArguments &a, std::uint32_t frame, std::uint32_t i) {
    std::int64_t at = a.start + static_cast<std::int64_t>(frame) * a.hop + i;
    if (at < 0) at = -at;
    const std::int64_t mirrored = 2 * (a.size - 1) - at;
    return static_cast<double>(a.samples[at < mirrored ? at : mirrored]) * a.gain;
}

// The sum of a number of each thread, for all of them. `part` has room for a number a warp.
CHIASM_DEVICE double block_sum(double sum, double *part) {
    for (unsigned apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xFFFFFFFFU, sum, apart);
    __syncthreads();
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0.0;
    for (unsigned i = 0; i < blockDim.x / 32; ++i) sum += part[i];
    return sum;
}

// Windowed samples of a frame, zeros after them. Beyond the last frame: zeros.
CHIASM_DEVICE void take_frame(const MelArguments &a, std::uint32_t frame, double *out, double *part) {
    double sum = 0.0;
    const bool real = frame < a.frames;
    if (real && a.remove_dc)
        for (std::uint32_t i = threadIdx.x; i < a.length; i += blockDim.x) sum += sample_at(a, frame, i);
    const double mean = block_sum(sum, part) / a.length;
    bool bad = false;
    for (std::uint32_t i = threadIdx.x; i < a.fft_size; i += blockDim.x) {
        double value = 0.0;
        if (real && i < a.length) {
            const double here = sample_at(a, frame, i), before = sample_at(a, frame, i ? i - 1 : 0);
            bad = bad || here - here != 0.0;
            const double shift = a.remove_dc ? mean : 0.0;
            value = ((here - shift) - a.preemphasis * (before - shift)) * a.window[i];
        }
        out[i] = value;
    }
    if (bad) *a.bad = 1;
}

// One pass of Stockham's transform: `done` is the product of the radices before, `radix` the one of this pass.
CHIASM_DEVICE void transform_pass(const MelArguments &a, std::uint32_t radix, std::uint32_t done, const double *from, double *to) {
    const std::uint32_t n = a.fft_size, left = n / (done * radix);
    const double *re = from, *im = from + n, *cosine = a.twiddles, *sine = a.twiddles + n;
    for (std::uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
        // Output (p, k, j) with p < left, k < radix, j < done: the sum over m of input (m, p, j), turned by (k·done + j)·m.
        const std::uint32_t j = i % done, k = i / done % radix, p = i / (done * radix);
        const std::uint32_t turn = (k * done + j) * left;  // of m = 1, in parts of n
        double real = 0.0, imaginary = 0.0;
        std::uint32_t angle = 0;
        for (std::uint32_t m = 0; m < radix; ++m) {
            const std::uint32_t at = (m * left + p) * done + j;
            real += re[at] * cosine[angle] - im[at] * sine[angle];
            imaginary += re[at] * sine[angle] + im[at] * cosine[angle];
            angle += turn;
            if (angle >= n) angle -= n;
        }
        to[i] = real;
        to[n + i] = imaginary;
    }
}

// The power of bin k of both frames, out of the transform of the one plus i times the other.
CHIASM_DEVICE void power_of(const MelArguments &a, const double *z, std::uint32_t k, double *power) {
    const std::uint32_t n = a.fft_size, other = k ? n - k : 0;
    const double re = z[k], im = z[n + k], across = z[other], up = z[n + other];
    const double first[2] = {(re + across) * 0.5, (im - up) * 0.5}, second[2] = {(im + up) * 0.5, (across - re) * 0.5};
    power[0] = first[0] * first[0] + first[1] * first[1];
    power[1] = second[0] * second[0] + second[1] * second[1];
    if (a.amplitude) {
        power[0] = sqrt(power[0]);
        power[1] = sqrt(power[1]);
    }
}

}  // namespace chiasm

CHIASM_KERNEL(chiasm_log_mel, chiasm::MelArguments, 256) {
    using namespace chiasm;
    CHIASM_SHARED(shared);
    const std::uint32_t n = a.fft_size, bins = n / 2 + 1;
    double *part = reinterpret_cast<double *>(shared), *from = part + 8;  // a number a warp, then both halves
    if (a.work) from = a.work + static_cast<std::uint64_t>(blockIdx.x) * 4 * n;
    double *to = from + 2 * n;
    const std::uint32_t pairs = (a.frames + 1) / 2;
    for (std::uint32_t pair = blockIdx.x; pair < pairs; pair += gridDim.x) {
        take_frame(a, 2 * pair, from, part);
        take_frame(a, 2 * pair + 1, from + n, part);
        __syncthreads();
        std::uint32_t done = 1;
        for (std::uint32_t pass = 0; pass < a.passes; ++pass) {
            transform_pass(a, a.radix[pass], done, from, to);
            done *= a.radix[pass];
            double *const swapped = from;
            from = to;
            to = swapped;
            __syncthreads();
        }
        for (std::uint32_t k = threadIdx.x; k < bins; k += blockDim.x) power_of(a, from, k, to + 2 * k);
        __syncthreads();
        for (std::uint32_t i = threadIdx.x; i < 2 * a.mels; i += blockDim.x) {
            const std::uint32_t mel = i / 2, frame = 2 * pair + i % 2;
            if (frame >= a.frames) continue;
            double sum = 0.0;
            for (std::int32_t k = 0; k < a.count[mel]; ++k)
                sum += a.weight[a.offset[mel] + k] * to[2 * (a.first[mel] + k) + i % 2];
            const double value = log(sum > a.floor ? sum : a.floor) * a.factor;
            const std::uint64_t at = a.mels_first ? static_cast<std::uint64_t>(mel) * a.frames + frame
                                                  : static_cast<std::uint64_t>(frame) * a.mels + mel;
            a.out[at] = static_cast<float>(value);
        }
        __syncthreads();
    }
}

CHIASM_KERNEL(chiasm_mel_greatest, chiasm::LevelArguments, 256) {
    using namespace chiasm;
    std::uint32_t greatest = 0;
    for (std::uint64_t i = grid_thread(); i < a.size; i += grid_threads()) {
        const std::uint32_t value = ordered_bits(a.values[i]);
        greatest = value > greatest ? value : greatest;
    }
    for (unsigned apart = 16; apart > 0; apart /= 2) {
        const std::uint32_t other = __shfl_xor_sync(0xFFFFFFFFU, greatest, apart);
        greatest = other > greatest ? other : greatest;
    }
    if (threadIdx.x % 32 == 0) atomicMax(a.greatest, greatest);
}

CHIASM_KERNEL(chiasm_mel_level, chiasm::LevelArguments, 256) {
    using namespace chiasm;
    float least = 0.0F;
    if (a.limited) {
        const std::uint32_t bits = *a.greatest;
        least = float_of(bits >> 31 ? bits & 0x7FFFFFFFU : ~bits) - a.range;
    }
    for (std::uint64_t i = grid_thread(); i < a.size; i += grid_threads()) {
        const float value = a.values[i];
        a.values[i] = ((a.limited && value < least ? least : value) - a.mean) / a.std;
    }
}
