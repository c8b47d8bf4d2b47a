#include "attention.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "isa.hpp"

#ifdef __x86_64__
#include <immintrin.h>
#define CHIASM_FMA __attribute__((target("avx2,fma")))
#endif

namespace chiasm {
namespace {

constexpr std::size_t lanes = 8, wide = 2 * lanes;  // floats of a register, and of two
constexpr std::size_t tall = 4;                     // queries that are worked on together: eight registers hold their sums
constexpr std::size_t slab = 128;                   // queries that share one turning of their keys

std::size_t up(std::size_t size, std::size_t to) { return (size + to - 1) / to * to; }

struct Scratch {
    std::vector<float> keys, scores;
};

Scratch &scratch() {
    static thread_local Scratch kept;
    return kept;
}

// Some queries of one head. `stride`: floats from a row to the next.
struct Head {
    const float *q, *k, *v, *mask;
    std::size_t keys, depth, stride, mask_query, mask_key;
    float scale;
    float *out;
};

void attend_plainly(const Head &of, std::size_t queries) {
    std::vector<float> &scores = scratch().scores;
    scores.resize(of.keys);
    for (std::size_t i = 0; i < queries; ++i) {
        float most = -INFINITY, sum = 0.0f;
        for (std::size_t j = 0; j < of.keys; ++j) {
            float dot = 0.0f;
            for (std::size_t d = 0; d < of.depth; ++d) dot += of.q[i * of.stride + d] * of.k[j * of.stride + d];
            scores[j] = dot * of.scale + (of.mask ? of.mask[i * of.mask_query + j * of.mask_key] : 0.0f);
            most = std::max(most, scores[j]);
        }
        for (std::size_t j = 0; j < of.keys; ++j) sum += scores[j] = std::exp(scores[j] - most);
        for (std::size_t d = 0; d < of.depth; ++d) {
            float value = 0.0f;
            for (std::size_t j = 0; j < of.keys; ++j) value += scores[j] * of.v[j * of.stride + d];
            of.out[i * of.stride + d] = value / sum;
        }
    }
}

#ifdef __x86_64__

// exp(x) = 2^n · e^r with |r| <= ln 2 / 2, e^r by its series up to r^7: 1e-8 away, before rounding. Below -87 it is nearly 0.
CHIASM_FMA inline __m256 exponential(__m256 x) {
    x = _mm256_max_ps(x, _mm256_set1_ps(-87.0f));
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);  // ln 2 in two parts, the first of them short
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
    __m256 sum = _mm256_set1_ps(1.0f / 5040);
    for (const float each : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) sum = _mm256_fmadd_ps(sum, r, _mm256_set1_ps(each));
    return _mm256_mul_ps(sum, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23)));
}

CHIASM_FMA inline float largest(__m256 of) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(of), _mm256_extractf128_ps(of, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
}

CHIASM_FMA inline float total(__m256 of) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(of), _mm256_extractf128_ps(of, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_shuffle_ps(four, four, 1)));
}

// (keys, depth) → (depth, padded): the keys of a head, turned; what is beyond them is zero.
CHIASM_FMA void turn(const Head &of, std::size_t padded, float *out) {
    for (std::size_t j = 0; j < padded; j += lanes)
        for (std::size_t d = 0; d < of.depth; d += lanes) {
            __m256 row[lanes];
            for (std::size_t i = 0; i < lanes; ++i)
                row[i] = j + i < of.keys ? _mm256_loadu_ps(of.k + (j + i) * of.stride + d) : _mm256_setzero_ps();
            __m256 pair[lanes], four[lanes];
            for (std::size_t i = 0; i < lanes; i += 2) {
                pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
                pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
            }
            for (std::size_t i = 0; i < lanes; i += 4)
                for (std::size_t h = 0; h < 2; ++h) {
                    four[i + 2 * h] = _mm256_shuffle_ps(pair[i + h], pair[i + h + 2], 0x44);
                    four[i + 2 * h + 1] = _mm256_shuffle_ps(pair[i + h], pair[i + h + 2], 0xee);
                }
            for (std::size_t i = 0; i < 4; ++i) {
                _mm256_store_ps(out + (d + i) * padded + j, _mm256_permute2f128_ps(four[i], four[i + 4], 0x20));
                _mm256_store_ps(out + (d + i + 4) * padded + j, _mm256_permute2f128_ps(four[i], four[i + 4], 0x31));
            }
        }
}

// out (rows, padded) = a (rows, depth) · b (depth, padded), two registers of columns at a time.
template <std::size_t rows>
CHIASM_FMA inline void multiply(const float *a, std::size_t a_stride, std::size_t depth, const float *b, std::size_t b_stride, std::size_t columns,
                                float *out, std::size_t out_stride, const float *by) {
    for (std::size_t j = 0; j < columns; j += wide) {
        const bool both = j + lanes < columns;
        __m256 sums[rows][2];
        for (std::size_t i = 0; i < rows; ++i) sums[i][0] = sums[i][1] = _mm256_setzero_ps();
        const float *right = b + j;
        if (both) {
            for (std::size_t d = 0; d < depth; ++d, right += b_stride) {
                const __m256 first = _mm256_loadu_ps(right), second = _mm256_loadu_ps(right + lanes);
                for (std::size_t i = 0; i < rows; ++i) {
                    const __m256 left = _mm256_broadcast_ss(a + i * a_stride + d);
                    sums[i][0] = _mm256_fmadd_ps(left, first, sums[i][0]);
                    sums[i][1] = _mm256_fmadd_ps(left, second, sums[i][1]);
                }
            }
        } else {
            for (std::size_t d = 0; d < depth; ++d, right += b_stride) {
                const __m256 first = _mm256_loadu_ps(right);
                for (std::size_t i = 0; i < rows; ++i) sums[i][0] = _mm256_fmadd_ps(_mm256_broadcast_ss(a + i * a_stride + d), first, sums[i][0]);
            }
        }
        for (std::size_t i = 0; i < rows; ++i) {
            const __m256 factor = _mm256_set1_ps(by[i]);
            _mm256_storeu_ps(out + i * out_stride + j, _mm256_mul_ps(sums[i][0], factor));
            if (both) _mm256_storeu_ps(out + i * out_stride + j + lanes, _mm256_mul_ps(sums[i][1], factor));
        }
    }
}

// A row of scores → what softmax makes of them, times their sum, which it gives; zero beyond the keys.
CHIASM_FMA inline float soften(float *scores, std::size_t keys, std::size_t padded, const float *mask, std::size_t mask_key) {
    if (mask && mask_key)
        for (std::size_t j = 0; j < keys; ++j) scores[j] += mask[j];  // what is the same for all keys changes nothing
    for (std::size_t j = keys; j < padded; ++j) scores[j] = -INFINITY;
    __m256 most = _mm256_set1_ps(-INFINITY), sum = _mm256_setzero_ps();
    for (std::size_t j = 0; j < padded; j += lanes) most = _mm256_max_ps(most, _mm256_load_ps(scores + j));
    const __m256 top = _mm256_set1_ps(largest(most));
    for (std::size_t j = 0; j < padded; j += lanes) _mm256_store_ps(scores + j, exponential(_mm256_sub_ps(_mm256_load_ps(scores + j), top)));
    for (std::size_t j = keys; j < padded; ++j) scores[j] = 0.0f;
    for (std::size_t j = 0; j < padded; j += lanes) sum = _mm256_add_ps(sum, _mm256_load_ps(scores + j));
    return total(sum);
}

template <std::size_t rows>
CHIASM_FMA void attend_rows(const Head &of, std::size_t row, const float *turned, std::size_t padded, float *scores) {
    float by[rows];
    for (std::size_t i = 0; i < rows; ++i) by[i] = of.scale;
    multiply<rows>(of.q + row * of.stride, of.stride, of.depth, turned, padded, padded, scores, padded, by);
    for (std::size_t i = 0; i < rows; ++i) {
        const float *mask = of.mask ? of.mask + (row + i) * of.mask_query : nullptr;
        by[i] = 1.0f / soften(scores + i * padded, of.keys, padded, mask, of.mask_key);
    }
    multiply<rows>(scores, padded, of.keys, of.v, of.stride, of.depth, of.out + row * of.stride, of.stride, by);
}

CHIASM_FMA void attend_avx2(const Head &of, std::size_t queries) {
    const std::size_t padded = up(of.keys, lanes);
    Scratch &kept = scratch();
    kept.keys.resize(padded * of.depth + lanes);
    kept.scores.resize(tall * padded + lanes);
    auto aligned = [](std::vector<float> &floats) {
        return floats.data() + (32 - reinterpret_cast<std::uintptr_t>(floats.data()) % 32) % 32 / sizeof(float);
    };
    float *turned = aligned(kept.keys), *scores = aligned(kept.scores);
    turn(of, padded, turned);
    std::size_t row = 0;
    for (; row + tall <= queries; row += tall) attend_rows<tall>(of, row, turned, padded, scores);
    for (; row + 2 <= queries; row += 2) attend_rows<2>(of, row, turned, padded, scores);
    for (; row < queries; ++row) attend_rows<1>(of, row, turned, padded, scores);
}

bool has_fma() { return __builtin_cpu_supports("fma"); }

#endif

}  // namespace

std::size_t Attention::slabs() const { return (queries + slab - 1) / slab; }

void Attention::piece(std::size_t index) const {
    const std::size_t first = index % slabs() * slab, head = index / slabs() % heads, item = index / slabs() / heads;
    const std::size_t stride = heads * depth, at = head * depth;
    const float *of_mask = mask ? mask + item * mask_batch + head * mask_head + first * mask_query : nullptr;
    const Head of{q + (item * queries + first) * stride + at, k + item * keys * stride + at, v + item * keys * stride + at, of_mask, keys, depth,
                  stride, mask_query, mask_key, scale, out + (item * queries + first) * stride + at};
    const std::size_t count = std::min(slab, queries - first);
#ifdef __x86_64__
    if (isa() != Isa::plain && has_fma()) return attend_avx2(of, count);
#endif
    attend_plainly(of, count);
}

void Attention::run(const Spread &spread) const {
    auto work = [](void *data, std::size_t index) { static_cast<const Attention *>(data)->piece(index); };
    spread.call(spread.context, work, batch * heads * slabs(), const_cast<Attention *>(this));
}

}  // namespace chiasm
