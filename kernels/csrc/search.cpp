#include "search.hpp"

#include <algorithm>
#include <cstring>

#include "heap.hpp"
#include "isa.hpp"
#include "workers.hpp"

#ifdef __x86_64__
#pragma GCC diagnostic push
#ifndef __clang__
// GCC 12 warns about its own header, which leaves operands undefined that the instructions do not have.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace chiasm {
namespace {

constexpr std::size_t sums = 32, shorts = 64, line = 64, few = 3, tile_bytes = 8192, piece_bytes = std::size_t{1} << 19;

// Asks for what lies a little beyond these `bytes` of a row. With that, and reading in several places, a scan is as fast as the
// memory; without either it was measured to be half as fast.
template <std::size_t bytes>
inline __attribute__((always_inline)) void fetch(const void *values) {
    constexpr std::size_t ahead = 2048;
    for (std::size_t at = 0; at < bytes; at += line) __builtin_prefetch(static_cast<const char *>(values) + ahead + at);
}

// Any processor: a register of SSE2 and of NEON.
namespace plain {
#define CHIASM_TARGET
typedef float Floats __attribute__((vector_size(16)));
typedef std::int32_t Ints __attribute__((vector_size(16)));
inline Floats load(const float *from) {
    Floats values;
    std::memcpy(&values, from, sizeof values);
    return values;
}
inline float fold(Floats sum) { return (sum[0] + sum[2]) + (sum[1] + sum[3]); }
inline std::int64_t total(Ints sum) { return std::int64_t{sum[0]} + sum[1] + sum[2] + sum[3]; }
#ifdef __aarch64__
inline Floats load(const Half *from) {
    return reinterpret_cast<Floats>(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&from->bits))));
}
inline Ints accumulate(Ints sum, const std::int16_t *query, const std::int8_t *row) {
    const int16x8_t values = vmovl_s8(vld1_s8(row)), asked = vld1q_s16(query);
    const int32x4_t low = vmlal_s16(reinterpret_cast<int32x4_t>(sum), vget_low_s16(asked), vget_low_s16(values));
    return reinterpret_cast<Ints>(vmlal_high_s16(low, asked, values));
}
#else
// Sign, exponent and fraction move to where a float has them; the product mends the exponent, of subnormal halves too.
inline Floats load(const Half *from) {
    typedef std::uint32_t Bits __attribute__((vector_size(16)));
    const Bits half = {from[0].bits, from[1].bits, from[2].bits, from[3].bits}, magnitude = half & 0x7FFF;
    const Bits above = reinterpret_cast<Bits>(magnitude > 0x7BFF) & 0x7F800000;  // infinity, NaN
    const Floats scaled = reinterpret_cast<Floats>(magnitude << 13) * 0x1p112F;
    return reinterpret_cast<Floats>(reinterpret_cast<Bits>(scaled) | above | (half & 0x8000) << 16);
}
inline Ints accumulate(Ints sum, const std::int16_t *query, const std::int8_t *row) {
    for (std::size_t lane = 0; lane < 4; ++lane)
        sum[lane] += query[2 * lane] * row[2 * lane] + query[2 * lane + 1] * row[2 * lane + 1];
    return sum;
}
#endif
#include "search.inc"
#undef CHIASM_TARGET
}  // namespace plain

#ifdef __x86_64__
namespace avx2 {
#define CHIASM_TARGET __attribute__((target("avx2,f16c")))
typedef float Floats __attribute__((vector_size(32)));
typedef std::int32_t Ints __attribute__((vector_size(32)));
CHIASM_TARGET inline __m128i sixteen(const void *from) { return _mm_loadu_si128(static_cast<const __m128i *>(from)); }
CHIASM_TARGET inline Floats load(const float *from) { return reinterpret_cast<Floats>(_mm256_loadu_ps(from)); }
CHIASM_TARGET inline Floats load(const Half *from) { return reinterpret_cast<Floats>(_mm256_cvtph_ps(sixteen(from))); }
CHIASM_TARGET inline float fold(Floats sum) {
    const __m256 eight = reinterpret_cast<__m256>(sum);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
CHIASM_TARGET inline Ints accumulate(Ints sum, const std::int16_t *query, const std::int8_t *row) {
    const __m256i asked = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(query));
    return sum + reinterpret_cast<Ints>(_mm256_madd_epi16(asked, _mm256_cvtepi8_epi16(sixteen(row))));
}
CHIASM_TARGET inline std::int64_t total(Ints sum) {
    const __m256i eight = reinterpret_cast<__m256i>(sum);
    const __m256i four = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(eight)),
                                          _mm256_cvtepi32_epi64(_mm256_extracti128_si256(eight, 1)));
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    return _mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1);
}
#include "search.inc"
#undef CHIASM_TARGET
bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c"); }
}  // namespace avx2

// What both kinds of AVX-512 share.
namespace wide512 {
#define CHIASM_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
typedef float Floats __attribute__((vector_size(64)));
typedef std::int32_t Ints __attribute__((vector_size(64)));
CHIASM_TARGET inline Floats load(const float *from) { return reinterpret_cast<Floats>(_mm512_loadu_ps(from)); }
CHIASM_TARGET inline Floats load(const Half *from) {
    return reinterpret_cast<Floats>(_mm512_maskz_cvtph_ps(0xFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from))));
}
CHIASM_TARGET inline float fold(Floats sum) {
    const __m512 sixteen = reinterpret_cast<__m512>(sum);
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps(sixteen, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
CHIASM_TARGET inline __m512i bytes(const std::int8_t *row) {
    return _mm512_maskz_cvtepi8_epi16(0xFFFFFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i *>(row)));
}
CHIASM_TARGET inline std::int64_t total(Ints sum) {
    const __m512i sixteen = reinterpret_cast<__m512i>(sum);
    const __m512i eight = _mm512_add_epi64(_mm512_maskz_cvtepi32_epi64(0xFF, _mm512_castsi512_si256(sixteen)),
                                           _mm512_maskz_cvtepi32_epi64(0xFF, _mm512_extracti64x4_epi64(sixteen, 1)));
    const __m256i four = _mm256_add_epi64(_mm512_castsi512_si256(eight), _mm512_extracti64x4_epi64(eight, 1));
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    return _mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1);
}
#undef CHIASM_TARGET
bool supported() { return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"); }
}  // namespace wide512

namespace avx512 {
#define CHIASM_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
using namespace wide512;
CHIASM_TARGET inline Ints accumulate(Ints sum, const std::int16_t *query, const std::int8_t *row) {
    return sum + reinterpret_cast<Ints>(_mm512_madd_epi16(_mm512_loadu_si512(query), bytes(row)));
}
#include "search.inc"
#undef CHIASM_TARGET
}  // namespace avx512

namespace vnni {
#define CHIASM_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
using namespace wide512;
CHIASM_TARGET inline Ints accumulate(Ints sum, const std::int16_t *query, const std::int8_t *row) {
    return reinterpret_cast<Ints>(_mm512_dpwssd_epi32(reinterpret_cast<__m512i>(sum), _mm512_loadu_si512(query), bytes(row)));
}
#include "search.inc"
#undef CHIASM_TARGET
}  // namespace vnni
#endif

template <typename Value>
using Scan = decltype(&plain::scan<Value, float, float>);
using ScanBytes = decltype(&plain::scan<std::int8_t, std::int16_t, std::int64_t>);

template <typename Value>
Scan<Value> scan_for(const Value *) {
#ifdef __x86_64__
    const Isa best = isa();
    if (best >= Isa::avx512 && wide512::supported()) return avx512::scan<Value, float, float>;
    if (best >= Isa::avx2 && avx2::supported()) return avx2::scan<Value, float, float>;
#endif
    return plain::scan<Value, float, float>;
}

ScanBytes scan_for(const std::int8_t *) {
#ifdef __x86_64__
    const Isa best = isa();
    if (best == Isa::vnni && wide512::supported()) return vnni::scan<std::int8_t, std::int16_t, std::int64_t>;
    if (best >= Isa::avx512 && wide512::supported()) return avx512::scan<std::int8_t, std::int16_t, std::int64_t>;
    if (best >= Isa::avx2 && avx2::supported()) return avx2::scan<std::int8_t, std::int16_t, std::int64_t>;
#endif
    return plain::scan<std::int8_t, std::int16_t, std::int64_t>;
}

// The queries with zeros to a multiple of `unit`.
template <typename Query>
std::vector<Query> padded(const Query *queries, std::size_t count, std::size_t width, std::size_t unit, std::size_t &stride) {
    stride = (width + unit - 1) / unit * unit;
    std::vector<Query> copy(count * stride);
    for (std::size_t q = 0; q < count; ++q) std::copy_n(queries + q * width, width, copy.data() + q * stride);
    return copy;
}

template <typename Query, typename Value>
void search(const Query *queries, std::size_t count, const float *scales, std::size_t unit, const Rows<Value> &rows, const Best &best,
            std::size_t threads) {
    std::size_t stride;
    const std::vector<Query> asked = padded(queries, count, rows.width, unit, stride);
    const auto scan = scan_for(rows.values);
    std::vector<std::vector<Heap>> heaps(std::max<std::size_t>(1, std::min(threads, rows.count)));
    const std::size_t piece = std::max<std::size_t>(1, piece_bytes / (rows.width * sizeof(Value)));
    share_out(rows.count, piece, heaps.size(), [&](std::size_t worker, std::size_t first, std::size_t last) {
        if (heaps[worker].empty()) heaps[worker].assign(count, Heap(best.k));
        scan(asked.data(), stride, count, scales, rows, first, last, heaps[worker]);
    });
    std::vector<Hit> hits;
    for (std::size_t q = 0; q < count; ++q) {
        hits.clear();
        for (const std::vector<Heap> &worker : heaps)
            if (!worker.empty()) hits.insert(hits.end(), worker[q].hits().begin(), worker[q].hits().end());
        std::partial_sort(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(best.k), hits.end(), better);
        for (std::size_t i = 0; i < best.k; ++i) {
            best.scores[q * best.k + i] = hits[i].score;
            best.indices[q * best.k + i] = hits[i].index;
        }
    }
}

}  // namespace

void topk(const FloatQueries &queries, const Rows<float> &rows, const Best &best, std::size_t threads) {
    search(queries.values, queries.count, nullptr, sums, rows, best, threads);
}

void topk(const FloatQueries &queries, const Rows<Half> &rows, const Best &best, std::size_t threads) {
    search(queries.values, queries.count, nullptr, sums, rows, best, threads);
}

void topk(const ShortQueries &queries, const Rows<std::int8_t> &rows, const Best &best, std::size_t threads) {
    search(queries.values, queries.count, queries.scales, shorts, rows, best, threads);
}

}  // namespace chiasm
