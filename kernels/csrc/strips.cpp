#include "strips.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#ifdef __x86_64__
#include <immintrin.h>
#define CHIASM_AVX2 __attribute__((target("avx2")))
#define CHIASM_INLINE CHIASM_AVX2 __attribute__((always_inline)) inline
#endif

namespace chiasm {
namespace {

// Any weights, any processor.
template <std::size_t rows>
void multiply_plainly(const Strip &of) {
    for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t column = 0; column < panel; ++column) {
            std::int32_t &sum = of.sums[row * panel + column];
            if (of.first) sum = 0;
            for (std::size_t k = 0; k < of.groups * group; ++k) {
                const std::size_t at = (k / step * lines + column / 8) * 32 + column % 8 * step + k % step;
                sum += (of.bytes[row * of.stride + k] - of.zero) * of.weights[at];
            }
            if (!of.last || column >= of.columns) continue;
            const float value = static_cast<float>(sum) * (of.scale * of.scales[column]);
            of.out[row * of.out_stride + column] = of.bias ? value + of.bias[column] : value;
        }
}

#ifdef __x86_64__

// Whether a sum of products of 16 bits stays within 16 bits, by the squares of both sides.
bool fit(std::uint32_t one, std::uint32_t other) { return static_cast<std::uint64_t>(one) * other <= 32767ull * 32767ull; }

CHIASM_AVX2 inline __m256i line(const void *at) { return _mm256_load_si256(static_cast<const __m256i *>(at)); }

// In assembly, for GCC would keep every line in a register, and sums in memory; and would copy sums.
CHIASM_AVX2 inline __m256i times(__m256i bytes, const std::int8_t *weights) {
    __m256i pairs;
    asm("vpmaddubsw %2, %1, %0" : "=x"(pairs) : "x"(bytes), "m"(*reinterpret_cast<const __m256i *>(weights)));
    return pairs;
}
CHIASM_AVX2 inline __m256i times(__m256i bytes, __m256i weights) { return _mm256_maddubs_epi16(bytes, weights); }
CHIASM_AVX2 inline void add_pairs(__m256i &sum, __m256i pairs) { asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(pairs)); }

CHIASM_AVX2 inline __m256i four_bytes(const std::uint8_t *at) {
    std::int32_t four;
    std::memcpy(&four, at, sizeof four);
    return _mm256_set1_epi32(four);
}

CHIASM_AVX2 inline void add_to(std::int32_t *out, __m256i sums) {
    __m256i *at = reinterpret_cast<__m256i *>(out);
    _mm256_store_si256(at, _mm256_add_epi32(_mm256_load_si256(at), sums));
}

// Sums of rows against a panel, each a register. No array: GCC would not take one apart before it has unrolled the loops over it.
template <std::size_t rows>
struct Sums {
    __m256i first, second, third;
    Sums<rows - 1> rest;

    CHIASM_INLINE void begin(__m256i one, __m256i two, __m256i three) {
        first = one, second = two, third = three;
        rest.begin(one, two, three);
    }
    CHIASM_INLINE void add(const std::uint8_t *bytes, std::size_t stride, __m256i one, __m256i two, const std::int8_t *weights) {
        const __m256i four = four_bytes(bytes);
        add_pairs(first, times(four, one));
        add_pairs(second, times(four, two));
        add_pairs(third, times(four, weights + 64));
        rest.add(bytes + stride, stride, one, two, weights);
    }
    CHIASM_INLINE void end(std::int32_t *out) const {
        const __m256i ones = _mm256_set1_epi16(1);
        add_to(out, _mm256_madd_epi16(first, ones));
        add_to(out + 8, _mm256_madd_epi16(second, ones));
        add_to(out + 16, _mm256_madd_epi16(third, ones));
        rest.end(out + panel);
    }
};
template <>
struct Sums<0> {
    CHIASM_INLINE void begin(__m256i, __m256i, __m256i) {}
    CHIASM_INLINE void add(const std::uint8_t *, std::size_t, __m256i, __m256i, const std::int8_t *) {}
    CHIASM_INLINE void end(std::int32_t *) const {}
};

// The sum of `groups` groups fits into 16 bits: it begins with what the zero point adds to it, negated.
template <std::size_t rows, std::size_t groups>
CHIASM_INLINE void add_short(const std::uint8_t *bytes, std::size_t stride, const std::int8_t *weights, const std::int16_t *of_lanes, __m256i zero,
                             std::int32_t *out) {
    __m256i start[lines];
    for (std::size_t i = 0; i < lines; ++i) {
        start[i] = line(of_lanes + 16 * i);
        for (std::size_t g = 1; g < groups; ++g) start[i] = _mm256_add_epi16(start[i], line(of_lanes + g * group_sums + 16 * i));
        start[i] = _mm256_mullo_epi16(start[i], zero);
    }
    Sums<rows> sums;
    sums.begin(start[0], start[1], start[2]);
#pragma GCC unroll 16
    for (std::size_t s = 0; s < groups * steps; ++s, weights += 32 * lines, bytes += step) sums.add(bytes, stride, line(weights), line(weights + 32), weights);
    sums.end(out);
}

// Each pair fits into 16 bits, their sum need not.
template <std::size_t rows>
CHIASM_AVX2 __attribute__((noinline)) void add_long(const std::uint8_t *bytes, std::size_t stride, const std::int8_t *weights,
                                                    const std::int16_t *of_lanes, __m256i zero, std::int32_t *out) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t i = 0; i < lines; ++i) {
            __m256i sum = _mm256_madd_epi16(line(of_lanes + 16 * i), zero);
            for (std::size_t s = 0; s < steps; ++s) {
                const __m256i pairs = times(four_bytes(bytes + row * stride + s * step), weights + (s * lines + i) * 32);
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
            }
            add_to(out + row * panel + 8 * i, sum);
        }
}

template <std::size_t rows>
CHIASM_AVX2 void multiply_avx2(const Strip &of) {
    std::int32_t *const sums = of.sums;
    if (of.first) std::memset(sums, 0, rows * panel * sizeof *sums);
    const __m256i zero = _mm256_set1_epi16(static_cast<std::int16_t>(-of.zero));
    const std::uint8_t *bytes = of.bytes;
    const std::int8_t *weights = of.weights, *ahead = of.ahead;
    const std::int16_t *of_lanes = of.of_lanes;
    const std::size_t stride = of.stride;
    const std::uint32_t *squares = of.squares_of_bytes, *others = of.squares_of_weights;
    for (std::size_t g = 0, done; g < of.groups; g += done) {
        const bool two = g + 1 < of.groups && fit(squares[g] + squares[g + 1], others[g] + others[g + 1]);
        done = two ? 2 : 1;
        for (std::size_t i = 0; i < done * of.lines_ahead; ++i, ahead += cache_line)
            _mm_prefetch(reinterpret_cast<const char *>(ahead), _MM_HINT_T0);
        if (two)
            add_short<rows, 2>(bytes, stride, weights, of_lanes, zero, sums);
        else if (fit(squares[g], others[g]))
            add_short<rows, 1>(bytes, stride, weights, of_lanes, zero, sums);
        else
            add_long<rows>(bytes, stride, weights, of_lanes, zero, sums);
        bytes += done * group, weights += done * group_bytes, of_lanes += done * group_sums;
    }
    if (!of.last) return;
    const __m256 scale = _mm256_set1_ps(of.scale);
    for (std::size_t i = 0; i < lines; ++i) {
        const __m256 both = _mm256_mul_ps(scale, _mm256_loadu_ps(of.scales + 8 * i));
        const __m256 bias = of.bias ? _mm256_loadu_ps(of.bias + 8 * i) : _mm256_setzero_ps();
        for (std::size_t row = 0; row < rows; ++row) {
            __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(line(sums + row * panel + 8 * i)), both);
            if (of.bias) value = _mm256_add_ps(value, bias);
            float *out = of.out + row * of.out_stride + 8 * i;
            if (8 * (i + 1) <= of.columns) {
                _mm256_storeu_ps(out, value);
            } else if (8 * i < of.columns) {
                alignas(32) float eight[8];
                _mm256_store_ps(eight, value);
                std::memcpy(out, eight, (of.columns - 8 * i) * sizeof(float));
            }
        }
    }
}

// Sums of bytes 0 and 1, and 2 and 3, of each four, in turn → the larger one of the two.
CHIASM_AVX2 inline std::uint32_t larger(__m256i sums) {
    __m128i two = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    two = _mm_add_epi32(two, _mm_unpackhi_epi64(two, two));
    two = _mm_max_epu32(two, _mm_shuffle_epi32(two, 1));
    return static_cast<std::uint32_t>(_mm_cvtsi128_si32(two));
}

CHIASM_AVX2 void range_avx2(const float *values, std::size_t size, float &low, float &high) {
    __m256 least = _mm256_setzero_ps(), most = _mm256_setzero_ps();
    std::size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        const __m256 eight = _mm256_loadu_ps(values + i);
        least = _mm256_min_ps(eight, least);
        most = _mm256_max_ps(eight, most);
    }
    alignas(32) float a[8], b[8];
    _mm256_store_ps(a, least);
    _mm256_store_ps(b, most);
    for (std::size_t k = 0; k < 8; ++k) low = std::min(low, a[k]), high = std::max(high, b[k]);
    for (; i < size; ++i) low = std::min(low, values[i]), high = std::max(high, values[i]);
}

CHIASM_AVX2 std::uint32_t squares_avx2(const std::uint8_t *bytes, std::int32_t zero) {
    const __m256i centre = _mm256_set1_epi16(static_cast<std::int16_t>(zero));
    __m256i sum = _mm256_setzero_si256();
    for (std::size_t half = 0; half < 2; ++half) {
        const __m128i sixteen = _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes + 16 * half));
        const __m256i apart = _mm256_sub_epi16(_mm256_cvtepu8_epi16(sixteen), centre);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(apart, apart));
    }
    return larger(sum);
}

// As many whole groups as there are.
CHIASM_AVX2 std::size_t quantise_avx2(const float *values, std::size_t size, float scale, std::int32_t zero, std::uint8_t *out, std::uint32_t *squares) {
    const __m256 by = _mm256_set1_ps(scale), least = _mm256_set1_ps(static_cast<float>(-zero)), most = _mm256_set1_ps(static_cast<float>(255 - zero));
    const __m256i plus = _mm256_set1_epi16(static_cast<std::int16_t>(zero)), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    std::size_t i = 0;
    for (; i + group <= size; i += group, ++squares) {
        __m256i eight[4];
        for (std::size_t k = 0; k < 4; ++k) {
            const __m256 exact = _mm256_div_ps(_mm256_loadu_ps(values + i + 8 * k), by);
            eight[k] = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(exact, least), most));
        }
        const __m256i low = _mm256_packs_epi32(eight[0], eight[1]), high = _mm256_packs_epi32(eight[2], eight[3]);
        const __m256i bytes = _mm256_packus_epi16(_mm256_add_epi16(low, plus), _mm256_add_epi16(high, plus));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + i), _mm256_permutevar8x32_epi32(bytes, order));
        *squares = std::max(*squares, larger(_mm256_add_epi32(_mm256_madd_epi16(low, low), _mm256_madd_epi16(high, high))));
    }
    return i;
}

#endif

template <std::size_t rows>
void multiply_rows(const Strip &of, bool avx2) {
#ifdef __x86_64__
    if (avx2) return multiply_avx2<rows>(of);
#endif
    static_cast<void>(avx2);
    multiply_plainly<rows>(of);
}

}  // namespace

void multiply(const Strip &of, std::size_t rows, bool avx2) {
    static_assert(tall == 4);
    rows == tall ? multiply_rows<tall>(of, avx2) : rows == 2 ? multiply_rows<2>(of, avx2) : multiply_rows<1>(of, avx2);
}

void range_of(bool avx2, const float *values, std::size_t size, float &low, float &high) {
#ifdef __x86_64__
    if (avx2) return range_avx2(values, size, low, high);
#endif
    static_cast<void>(avx2);
    for (std::size_t i = 0; i < size; ++i) low = std::min(low, values[i]), high = std::max(high, values[i]);
}

std::uint32_t squares_of(bool avx2, const std::uint8_t *bytes, std::int32_t zero) {
#ifdef __x86_64__
    if (avx2) return squares_avx2(bytes, zero);
#endif
    static_cast<void>(avx2);
    std::uint32_t sums[2] = {};
    for (std::size_t k = 0; k < group; ++k) sums[k % step / 2] += static_cast<std::uint32_t>((bytes[k] - zero) * (bytes[k] - zero));
    return std::max(sums[0], sums[1]);
}

std::size_t quantise_groups(bool avx2, const float *values, std::size_t size, float scale, std::int32_t zero, std::uint8_t *out, std::uint32_t *squares) {
#ifdef __x86_64__
    if (avx2) return quantise_avx2(values, size, scale, zero, out, squares);
#endif
    static_cast<void>(avx2), static_cast<void>(values), static_cast<void>(size), static_cast<void>(scale);
    static_cast<void>(zero), static_cast<void>(out), static_cast<void>(squares);
    return 0;
}

std::uint8_t byte_of(float value, float scale, std::int32_t zero) {
    const float exact = std::min(std::max(value / scale, static_cast<float>(-zero)), static_cast<float>(255 - zero));
    return static_cast<std::uint8_t>(static_cast<std::int32_t>(std::nearbyint(exact)) + zero);
}

}  // namespace chiasm
