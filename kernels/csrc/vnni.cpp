// The weighed passes for processors that multiply bytes four by four and add them up: AVX-512 with VNNI. The others are AVX2's.
#include <algorithm>
#include <cstring>

#include "avx2_pixels.hpp"
#include "passes.hpp"

#ifdef __x86_64__
#pragma GCC diagnostic push
#ifndef __clang__
// GCC 12 warns about its own header, which leaves operands undefined that the instructions do not have.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace chiasm {

#ifdef __x86_64__
namespace {

#define CHIASM_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

// Four rows go through the horizontal pass together, each in its own quarter of a register: sixteen bytes of the row, of
// which twelve or all are four pixels.
constexpr std::size_t band = 4, pixel = 3, lanes = 64;

struct Sums {
    __m512i low, middle, high;
};

CHIASM_TARGET inline Sums begin() {
    return {_mm512_set1_epi32(1 << (precision - 1)), _mm512_setzero_si512(), _mm512_setzero_si512()};
}

CHIASM_TARGET inline void add(Sums &sums, __m512i bytes, const std::int32_t *weight) {
    sums.low = _mm512_dpbusd_epi32(sums.low, bytes, _mm512_set1_epi32(weight[0]));
    sums.middle = _mm512_dpbusd_epi32(sums.middle, bytes, _mm512_set1_epi32(weight[1]));
    sums.high = _mm512_dpbusd_epi32(sums.high, bytes, _mm512_set1_epi32(weight[2]));
}

// Without the fraction; the packing to bytes clamps.
CHIASM_TARGET inline __m512i end(const Sums &sums) {
    const __m512i upper = _mm512_add_epi32(_mm512_slli_epi32(sums.high, 8), sums.middle);
    return _mm512_srai_epi32(_mm512_add_epi32(_mm512_slli_epi32(upper, 8), sums.low), precision);
}

CHIASM_TARGET inline __m512i pack(const __m512i *whole) {
    return _mm512_packus_epi16(_mm512_packus_epi32(whole[0], whole[1]), _mm512_packus_epi32(whole[2], whole[3]));
}

CHIASM_TARGET inline void store(std::uint8_t *target, __m128i bytes) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(target), bytes);
}

CHIASM_TARGET inline __m128i sixteen(const std::uint8_t *source) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i *>(source));
}

CHIASM_TARGET inline __m512i gather(const std::uint8_t *const *rows, std::size_t at) {
    const __m256i upper = _mm256_inserti128_si256(_mm256_castsi128_si256(sixteen(rows[0] + at)), sixteen(rows[1] + at), 1);
    const __m256i lower = _mm256_inserti128_si256(_mm256_castsi128_si256(sixteen(rows[2] + at)), sixteen(rows[3] + at), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(upper), lower, 1);
}

// What a target of the horizontal pass weighs: sixteen bytes of four rows for every group, the first at `at`, `pace` apart.
template <std::size_t unrolled>
CHIASM_TARGET inline __m512i weigh(const std::uint8_t *const *rows, std::size_t at, std::size_t pace, const Digits &weights,
                                   __m512i apart, const std::int32_t *&weight) {
    const std::size_t groups = unrolled ? unrolled : weights.groups;
    Sums sums = begin();
    for (std::size_t group = 0; group < groups; ++group, at += pace, weight += digits)
        add(sums, _mm512_shuffle_epi8(gather(rows, at), apart), weight);
    return end(sums);
}

template <std::size_t unrolled>
CHIASM_TARGET inline __m512i weigh(const std::uint8_t *const *rows, std::size_t at, std::size_t pace, const Means &weights,
                                   __m512i apart, const std::int32_t *&weight) {
    const std::size_t groups = unrolled ? unrolled : weights.groups;
    Sums sums = begin();
    for (std::size_t group = 0; group < groups; ++group, at += pace, ++weight)
        sums.middle = _mm512_dpbusd_epi32(sums.middle, _mm512_shuffle_epi8(gather(rows, at), apart), _mm512_set1_epi32(*weight));
    const __m512i product = _mm512_mullo_epi32(sums.middle, _mm512_set1_epi32(*weight++));
    return _mm512_srai_epi32(_mm512_add_epi32(product, sums.low), precision);
}

// Shuffles four pixels to four reds, four greens and four blues.
CHIASM_TARGET inline __m512i by_channel(const Layout &layout) {
    std::int8_t from[16];
    for (std::size_t i = 0; i < 16; ++i)
        from[i] = i / quad < 3 ? static_cast<std::int8_t>(i % quad * layout.step + layout.channel[i / quad]) : -1;
    __m128i order;
    std::memcpy(&order, from, sizeof order);
    return _mm512_broadcast_i32x4(order);
}

// Four rows → four rows of the narrow picture.
template <std::size_t unrolled, typename Form>
CHIASM_TARGET void across_by(const Band &rows, const Axis &columns, const Form &form, std::uint8_t *narrow, std::size_t stride) {
    const __m512i apart = by_channel(*rows.layout);
    // Three of four bytes; what is written after twelve is written again, or is beyond the row.
    const __m512i dense = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const std::size_t step = rows.layout->step, pace = quad * step, length = columns.length();
    const std::uint8_t *const sources[band] = {rows.rows[0], rows.rows[1], rows.rows[2], rows.rows[3]};
    const std::int32_t *weight = form.quads.data(), *start = columns.start.data();
    const std::size_t left = rows.left;
    const auto offset = [=](std::size_t x) { return (static_cast<std::size_t>(start[std::min(x, length - 1)]) - left) * step; };
    for (std::size_t x = 0; x < length; x += quad) {
        rows.ahead->fetch((length + quad - 1) / quad);
        __m512i whole[quad];
        for (std::size_t i = 0; i < quad; ++i) whole[i] = weigh<unrolled>(sources, offset(x + i), pace, form, apart, weight);
        const __m512i bytes = _mm512_shuffle_epi8(pack(whole), dense);
        std::uint8_t *target = narrow + x * pixel;
        store(target, _mm512_castsi512_si128(bytes));
        store(target + stride, _mm512_extracti32x4_epi32(bytes, 1));
        store(target + 2 * stride, _mm512_extracti32x4_epi32(bytes, 2));
        store(target + 3 * stride, _mm512_extracti32x4_epi32(bytes, 3));
    }
}

template <typename Form>
void across_for(const Band &rows, const Axis &columns, const Form &form, std::uint8_t *narrow, std::size_t stride) {
    switch (form.groups) {
    case 1: return across_by<1>(rows, columns, form, narrow, stride);
    case 2: return across_by<2>(rows, columns, form, narrow, stride);
    case 3: return across_by<3>(rows, columns, form, narrow, stride);
    case 4: return across_by<4>(rows, columns, form, narrow, stride);
    default: return across_by<0>(rows, columns, form, narrow, stride);
    }
}

void across(const Band &rows, const Weights &columns, std::uint8_t *narrow, std::size_t stride) {
    if (!columns.by_means.quads.empty()) return across_for(rows, columns.axis, columns.by_means, narrow, stride);
    across_for(rows, columns.axis, columns.by_digits, narrow, stride);
}

CHIASM_TARGET void down(const std::uint8_t *const *rows, const Weights &axis, std::size_t target, std::size_t bytes,
                        std::uint8_t *row) {
    const std::size_t groups = rounded(static_cast<std::size_t>(axis.axis.count[target]), quad) / quad;
    const std::int32_t *weights = axis.by_digits.quads.data() + target * axis.by_digits.groups * digits;
    for (std::size_t at = 0; at < bytes; at += lanes) {
        Sums sums[quad] = {begin(), begin(), begin(), begin()};
        for (std::size_t group = 0; group < groups; ++group) {
            const std::uint8_t *const *source = rows + group * quad;
            const std::int32_t *weight = weights + group * digits;
            const __m512i a = _mm512_loadu_si512(source[0] + at), b = _mm512_loadu_si512(source[1] + at);
            const __m512i c = _mm512_loadu_si512(source[2] + at), d = _mm512_loadu_si512(source[3] + at);
            const __m512i ab = _mm512_unpacklo_epi8(a, b), cd = _mm512_unpacklo_epi8(c, d);
            const __m512i AB = _mm512_unpackhi_epi8(a, b), CD = _mm512_unpackhi_epi8(c, d);
            add(sums[0], _mm512_unpacklo_epi16(ab, cd), weight);
            add(sums[1], _mm512_unpackhi_epi16(ab, cd), weight);
            add(sums[2], _mm512_unpacklo_epi16(AB, CD), weight);
            add(sums[3], _mm512_unpackhi_epi16(AB, CD), weight);
        }
        const __m512i whole[quad] = {end(sums[0]), end(sums[1]), end(sums[2]), end(sums[3])};
        _mm512_storeu_si512(row + at, pack(whole));
    }
}

}  // namespace

const Passes *vnni_passes() {
    static const Passes passes{band, 0, nullptr, across, down, avx2_lerp_row, avx2_lerp_lines, avx2_rgb_row, avx2_floats};
    return &passes;
}
#else
const Passes *vnni_passes() { return nullptr; }
#endif

}  // namespace chiasm
