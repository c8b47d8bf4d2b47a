// The sampler's step, its noise, and the picture at the end. All three do little for each byte that they move: their bound is
// the memory.
#include "device.cuh"
#include "noise.hpp"
#include "noise32.hpp"
#include "sampler.hpp"

namespace chiasm {

struct StepArguments {
    const float *x, *prediction, *unconditional, *noise;  // the last two may be null
    float *next, *clean;                                  // the last may be null; either may be an array that is read
    NoiseKey key;
    std::uint64_t size;
    Coefficients coefficients;
    std::uint32_t fresh;    // whether the noise is made here, from `key`
    std::uint32_t aligned;  // whether all pointers are multiples of 16
};

struct NoiseArguments {
    float *out;
    NoiseKey key;
    std::uint64_t size;
    std::uint32_t aligned;
};

struct PictureArguments {
    const float *picture;  // (3, pixels)
    std::uint8_t *out;     // (pixels, 3)
    std::uint32_t *bad;    // becomes 1 when a value is NaN; may be null
    std::uint64_t pixels;
    float shift, scale;
    std::uint32_t blue_first;
    std::uint32_t aligned;  // whether both pointers are multiples of 16 and the planes keep to that
};

// Values `at` to `at` + 4 of a vector, of which `size` exist.
CHIASM_DEVICE void read_four(const float *source, std::uint64_t at, std::uint64_t size, bool aligned, float *values) {
    if (aligned && at + 4 <= size) {
        spread(stream16(source + at), values);
        return;
    }
    for (unsigned i = 0; i < 4; ++i) values[i] = at + i < size ? source[at + i] : 0.0F;
}

CHIASM_DEVICE void write_four(float *target, std::uint64_t at, std::uint64_t size, bool aligned, const float *values) {
    if (aligned && at + 4 <= size) {
        store16(target + at, gathered(values));
        return;
    }
    for (unsigned i = 0; i < 4; ++i)
        if (at + i < size) target[at + i] = values[i];
}

// Both ways to make four numbers of the stream, those of Philox's block `block`.
struct Single {
    static CHIASM_DEVICE Pair pair(std::uint64_t r, std::uint64_t s) { return normal_pair32(r, s); }
};
struct Exact {
    static CHIASM_DEVICE Pair pair(std::uint64_t r, std::uint64_t s) {
        return normal_pair(r, s, [](double square) { return sqrt(square); });
    }
};

template <typename Way>
CHIASM_DEVICE void make_four(const NoiseKey &key, std::uint64_t block, float *noise) {
    const Words words = philox(key, block);
    const Pair a = Way::pair(words.word[0], words.word[1]), b = Way::pair(words.word[2], words.word[3]);
    noise[0] = a.first;
    noise[1] = a.second;
    noise[2] = b.first;
    noise[3] = b.second;
}

// Four values a thread: sixteen bytes of each array, and the four numbers that one block of Philox gives. With noise made here,
// 8 bytes are read and 4 written for each value (12 with guidance, and 4 more when the clean latents are wanted too), against 12
// and 4 with noise that was made before, which had to be written and read again. In float32 about 100 instructions a value
// make the noise, in float64 about 140, half of them on units that only a server's GPU has enough of; at 3 TB/s an H100 has
// 165 to spend.
template <typename Way>
CHIASM_DEVICE void take_step(const StepArguments &a) {
    for (std::uint64_t at = grid_thread() * 4; at < a.size; at += grid_threads() * 4) {
        float x[4], prediction[4], noise[4], clean[4], next[4];
        read_four(a.x, at, a.size, a.aligned, x);
        read_four(a.prediction, at, a.size, a.aligned, prediction);
        if (a.unconditional) {
            float without[4];
            read_four(a.unconditional, at, a.size, a.aligned, without);
            for (unsigned i = 0; i < 4; ++i) prediction[i] = guided(a.coefficients, prediction[i], without[i]);
        }
        if (a.fresh) make_four<Way>(a.key, at / 4 + 1, noise);
        else if (a.noise) read_four(a.noise, at, a.size, a.aligned, noise);
        for (unsigned i = 0; i < 4; ++i) {
            clean[i] = clean_value(a.coefficients, x[i], prediction[i]);
            next[i] = next_value(a.coefficients, x[i], clean[i]);
            if (a.fresh || a.noise) next[i] = with_noise(a.coefficients, next[i], noise[i]);
        }
        if (a.clean) write_four(a.clean, at, a.size, a.aligned, clean);
        write_four(a.next, at, a.size, a.aligned, next);
    }
}

template <typename Way>
CHIASM_DEVICE void fill(const NoiseArguments &a) {
    for (std::uint64_t at = grid_thread() * 4; at < a.size; at += grid_threads() * 4) {
        float noise[4];
        make_four<Way>(a.key, at / 4 + 1, noise);
        write_four(a.out, at, a.size, a.aligned, noise);
    }
}

}  // namespace chiasm

CHIASM_KERNEL(chiasm_denoise_step, chiasm::StepArguments, 256) { chiasm::take_step<chiasm::Single>(a); }
CHIASM_KERNEL(chiasm_denoise_step_exact, chiasm::StepArguments, 256) { chiasm::take_step<chiasm::Exact>(a); }
CHIASM_KERNEL(chiasm_normal_noise, chiasm::NoiseArguments, 256) { chiasm::fill<chiasm::Single>(a); }
CHIASM_KERNEL(chiasm_normal_noise_exact, chiasm::NoiseArguments, 256) { chiasm::fill<chiasm::Exact>(a); }

// 12 bytes are read for each pixel and 3 written. A block takes 1024 pixels: sixteen bytes of each plane a thread, then the
// bytes change places in shared memory (three words a thread apart: no bank is asked twice) so that what is written are whole
// runs of sixteen bytes too.
CHIASM_KERNEL(chiasm_latent_to_image, chiasm::PictureArguments, 256) {
    using namespace chiasm;
    constexpr unsigned tile = 1024;
    alignas(16) __shared__ std::uint32_t staged[tile * 3 / 4];
    bool bad = false;
    for (std::uint64_t first = static_cast<std::uint64_t>(blockIdx.x) * tile; first < a.pixels;
         first += static_cast<std::uint64_t>(gridDim.x) * tile) {
        const std::uint64_t at = first + threadIdx.x * 4;
        std::uint32_t bytes[12];
        for (unsigned c = 0; c < 3; ++c) {
            float values[4];
            read_four(a.picture + c * a.pixels, at, a.pixels, a.aligned, values);
            for (unsigned i = 0; i < 4; ++i) {
                bad = bad || values[i] != values[i];
                bytes[i * 3 + (a.blue_first ? 2 - c : c)] = to_byte(values[i], a.shift, a.scale);
            }
        }
        for (unsigned w = 0; w < 3; ++w)
            staged[threadIdx.x * 3 + w] = bytes[w * 4] | bytes[w * 4 + 1] << 8 | bytes[w * 4 + 2] << 16 | bytes[w * 4 + 3] << 24;
        __syncthreads();
        const std::uint64_t left = a.pixels - first;
        const unsigned count = static_cast<unsigned>(left < tile ? left : tile) * 3;
        std::uint8_t *target = a.out + first * 3;
        const unsigned whole = a.aligned ? count / 16 : 0;
        for (unsigned i = threadIdx.x; i < whole; i += blockDim.x) store16(target + i * 16, load16(staged + i * 4));
        for (unsigned i = whole * 16 + threadIdx.x; i < count; i += blockDim.x)
            target[i] = static_cast<std::uint8_t>(staged[i / 4] >> i % 4 * 8);
        __syncthreads();
    }
    if (bad && a.bad) *a.bad = 1;
}
