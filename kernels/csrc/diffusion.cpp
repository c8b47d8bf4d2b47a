#include "diffusion.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "isa.hpp"

namespace chiasm {
namespace {

// Values that go through the loops together: all arrays of a chunk stay in the first cache. A multiple of the four numbers that
// a block of Philox gives.
constexpr std::size_t chunk = 256, pairs = chunk / 2;

#define CHIASM_INLINE inline __attribute__((always_inline))

// `chunk` numbers of a stream, from block `first` (the first of all is 1).
CHIASM_INLINE void make_noise(const NoiseKey &key, std::uint64_t first, float *noise) {
    std::uint64_t r[pairs], s[pairs];
    for (std::size_t i = 0; i < pairs; i += 2) {
        const Words words = philox(key, first + i / 2);
        r[i] = words.word[0];
        s[i] = words.word[1];
        r[i + 1] = words.word[2];
        s[i + 1] = words.word[3];
    }
    float across[pairs], up[pairs];
    for (std::size_t i = 0; i < pairs; ++i) {
        const Pair pair = normal_pair(r[i], s[i], [](double square) { return std::sqrt(square); });
        across[i] = pair.first;
        up[i] = pair.second;
    }
    for (std::size_t i = 0; i < pairs; ++i) {
        noise[2 * i] = across[i];
        noise[2 * i + 1] = up[i];
    }
}

CHIASM_INLINE void take_step(const DenoiseStep &step) {
    const Coefficients c = step.coefficients;
    float mixed[chunk], clean[chunk], next[chunk], made[chunk];
    for (std::size_t at = 0; at < step.size; at += chunk) {
        const std::size_t count = std::min(chunk, step.size - at);
        const float *x = step.x + at, *prediction = step.prediction + at, *noise = step.noise ? step.noise + at : nullptr;
        if (step.unconditional) {
            for (std::size_t i = 0; i < count; ++i) mixed[i] = guided(c, prediction[i], step.unconditional[at + i]);
            prediction = mixed;
        }
        for (std::size_t i = 0; i < count; ++i) clean[i] = clean_value(c, x[i], prediction[i]);
        for (std::size_t i = 0; i < count; ++i) next[i] = next_value(c, x[i], clean[i]);
        if (step.fresh) {
            make_noise(step.key, 1 + at / 4, made);
            noise = made;
        }
        if (noise)
            for (std::size_t i = 0; i < count; ++i) next[i] = with_noise(c, next[i], noise[i]);
        std::memcpy(step.next + at, next, count * sizeof *next);
        if (step.clean) std::memcpy(step.clean + at, clean, count * sizeof *clean);
    }
}

CHIASM_INLINE void fill(const NoiseKey &key, float *out, std::size_t size) {
    float made[chunk];
    for (std::size_t at = 0; at < size; at += chunk) {
        make_noise(key, 1 + at / 4, made);
        std::memcpy(out + at, made, std::min(chunk, size - at) * sizeof *made);
    }
}

CHIASM_INLINE bool to_picture(const float *picture, float shift, float scale, bool blue_first, std::uint8_t *out,
                              std::size_t pixels) {
    constexpr std::size_t run = 64;
    const std::size_t first = blue_first ? 2 : 0, last = 2 - first;
    std::uint32_t nan = 0;
    for (std::size_t at = 0; at < pixels; at += run) {
        const std::size_t count = std::min(run, pixels - at);
        std::uint8_t bytes[3][run];
        for (std::size_t c = 0; c < 3; ++c) {
            float values[run] = {};
            std::memcpy(values, picture + c * pixels + at, count * sizeof *values);
            for (std::size_t i = 0; i < run; ++i) {
                nan |= values[i] != values[i];
                bytes[c][i] = to_byte(values[i], shift, scale);
            }
        }
        std::uint8_t *target = out + at * 3;
        for (std::size_t i = 0; i < count; ++i, target += 3) {
            target[0] = bytes[first][i];
            target[1] = bytes[1][i];
            target[2] = bytes[last][i];
        }
    }
    return nan == 0;
}

struct Loops {
    void (*step)(const DenoiseStep &);
    void (*noise)(const NoiseKey &, float *, std::size_t);
    bool (*picture)(const float *, float, float, bool, std::uint8_t *, std::size_t);
};

// The same loops for one instruction set each; all give the same bits.
#define CHIASM_LOOPS(name, attribute)                                                                                       \
    namespace name {                                                                                                        \
    attribute void step(const DenoiseStep &task) { take_step(task); }                                                       \
    attribute void noise(const NoiseKey &key, float *out, std::size_t size) { fill(key, out, size); }                       \
    attribute bool picture(const float *values, float shift, float scale, bool blue, std::uint8_t *out, std::size_t size) { \
        return to_picture(values, shift, scale, blue, out, size);                                                           \
    }                                                                                                                       \
    constexpr Loops loops{step, noise, picture};                                                                            \
    }

CHIASM_LOOPS(plain, )
#ifdef __x86_64__
CHIASM_LOOPS(avx2, __attribute__((target("avx2"))))
CHIASM_LOOPS(avx512, __attribute__((target("avx512f,avx512bw,avx512vl"))))
#endif

const Loops &loops() {
#ifdef __x86_64__
    if (isa() == Isa::avx512 || isa() == Isa::vnni) return avx512::loops;
    if (isa() == Isa::avx2) return avx2::loops;
#endif
    return plain::loops;
}

}  // namespace

void denoise_step(const DenoiseStep &step) { loops().step(step); }

void normal_noise(const NoiseKey &key, float *out, std::size_t size) { loops().noise(key, out, size); }

bool latent_to_image(const float *picture, float shift, float scale, bool blue_first, std::uint8_t *out, std::size_t pixels) {
    return loops().picture(picture, shift, scale, blue_first, out, pixels);
}

}  // namespace chiasm
