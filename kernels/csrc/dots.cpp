#include "dots.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "bands.hpp"
#include "digits.hpp"
#include "normalise.hpp"

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
// which twelve or all are four pixels. A pixel has four bytes after it (the fourth is not used).
constexpr std::size_t pixel = 4, lanes = 64, cache_line = 64;

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

// Where targets begin, in bytes of a row; a multiple of four of them, of which no four span more than `span` bytes.
struct Targets {
    std::vector<std::size_t> offset;
    std::size_t span = 1;

    Targets(const Axis &columns, std::int32_t left, std::size_t length, std::size_t step) : offset(length) {
        for (std::size_t x = 0; x < length; ++x)
            offset[x] = static_cast<std::size_t>(columns.start[std::min(x, columns.length - 1)] - left) * step;
        for (std::size_t x = quad; x < length; x += quad)
            if (offset[x] > offset[x - quad]) span = std::max(span, offset[x] - offset[x - quad]);
    }
};

// Shuffles four pixels to four reds, four greens and four blues.
CHIASM_TARGET inline __m512i by_channel(const Layout &layout) {
    std::int8_t from[16];
    for (std::size_t i = 0; i < 16; ++i)
        from[i] = i / quad < 3 ? static_cast<std::int8_t>(i % quad * layout.step + layout.channel[i / quad]) : -1;
    __m128i order;
    std::memcpy(&order, from, sizeof order);
    return _mm512_broadcast_i32x4(order);
}

// Four rows of packed pixels → four rows of the narrow picture. `ahead` leads to the rows of the next band, which are fetched
// meanwhile: a frame is larger than the cache that it comes to.
template <std::size_t unrolled, typename Weights>
CHIASM_TARGET void across(const std::uint8_t *const *band_rows, const Layout &layout, const Targets &targets,
                          const Weights &weights, std::ptrdiff_t ahead, std::uint8_t *narrow, std::size_t stride) {
    const __m512i apart = by_channel(layout);
    const std::size_t pace = quad * layout.step;
    const std::uint8_t *const rows[band] = {band_rows[0], band_rows[1], band_rows[2], band_rows[3]};
    const std::int32_t *weight = weights.quads.data();
    const std::size_t *offset = targets.offset.data();
    for (std::size_t x = 0; x < targets.offset.size(); x += quad) {
        if (ahead)
            for (std::size_t at = offset[x]; at < offset[x] + targets.span; at += cache_line)
                for (std::size_t row = 0; row < band; ++row) __builtin_prefetch(rows[row] + ahead + at);
        __m512i whole[quad];
        for (std::size_t i = 0; i < quad; ++i) whole[i] = weigh<unrolled>(rows, offset[x + i], pace, weights, apart, weight);
        const __m512i bytes = pack(whole);
        __m128i *target = reinterpret_cast<__m128i *>(narrow + x * pixel);
        const std::size_t next = stride / sizeof *target;
        _mm_storeu_si128(target, _mm512_castsi512_si128(bytes));
        _mm_storeu_si128(target + next, _mm512_extracti32x4_epi32(bytes, 1));
        _mm_storeu_si128(target + 2 * next, _mm512_extracti32x4_epi32(bytes, 2));
        _mm_storeu_si128(target + 3 * next, _mm512_extracti32x4_epi32(bytes, 3));
    }
}

template <typename Weights>
decltype(&across<0, Weights>) across_for(const Weights &weights) {
    switch (weights.groups) {
    case 1: return across<1, Weights>;
    case 2: return across<2, Weights>;
    case 3: return across<3, Weights>;
    case 4: return across<4, Weights>;
    default: return across<0, Weights>;
    }
}

// One target row from rows of the narrow picture; `stride`, the bytes of a row, is a multiple of `lanes`.
CHIASM_TARGET void down(const std::uint8_t *const *rows, std::size_t groups, const std::int32_t *weights, std::size_t stride,
                        std::uint8_t *row) {
    for (std::size_t at = 0; at < stride; at += lanes) {
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

std::size_t rounded(std::size_t size, std::size_t unit) { return (size + unit - 1) / unit * unit; }

// Rows of the narrow picture to keep, when bands are made as late as the targets allow.
std::size_t rows_kept(const Axis &rows, std::int32_t top) {
    std::size_t made = 0, kept = 0;
    for (std::size_t y = 0; y < rows.length; ++y) {
        const std::size_t start = static_cast<std::size_t>(rows.start[y] - top);
        made = std::max(made, rounded(start + static_cast<std::size_t>(rows.count[y]), band));
        kept = std::max(kept, made - start);
    }
    return rounded(kept, band);
}

template <typename Weights>
void run(const Picture &image, const Axis &rows, const Axis &columns, const float *table, float *out) {
    const std::int32_t top = rows.first(), left = columns.first();
    const std::size_t height = static_cast<std::size_t>(rows.last() - top);
    const std::size_t width = static_cast<std::size_t>(columns.last() - left);
    const std::size_t length = rounded(columns.length, quad), stride = rounded(length * pixel, lanes);
    const Digits row_weights(rows, rows.length);
    const std::size_t row_quads = row_weights.groups * digits;
    const Weights column_weights(columns, length);
    const auto across = across_for(column_weights);
    const Layout layout(image);
    const Targets targets(columns, left, length, layout.step);
    const std::size_t farthest = *std::max_element(targets.offset.begin(), targets.offset.end());
    Bands bands(image, layout, top, left, height, width, farthest + (column_weights.groups - 1) * quad * layout.step + 16);

    const std::size_t kept = rows_kept(rows, top), plane = rows.length * columns.length;
    std::vector<std::uint8_t> narrow(kept * stride), small(stride);
    std::vector<const std::uint8_t *> sources(row_weights.groups * quad);
    const std::uint8_t *const beyond = narrow.data() + narrow.size();
    std::uint8_t *target = narrow.data();
    std::size_t made = 0;
    for (std::size_t y = 0; y < rows.length; ++y) {
        const std::size_t start = static_cast<std::size_t>(rows.start[y] - top), count = static_cast<std::size_t>(rows.count[y]);
        for (; made < start + count; made += band) {
            const std::uint8_t *band_rows[band];
            const std::ptrdiff_t ahead = bands.find(made, band_rows);
            across(band_rows, layout, targets, column_weights, ahead, target, stride);
            target += band * stride;
            if (target == beyond) target = narrow.data();
        }
        const std::uint8_t *source = narrow.data() + start % kept * stride;
        for (std::size_t k = 0; k < sources.size(); ++k) {
            sources[k] = source;
            if (k + 1 < count) source += stride;  // what has no weight is the last row again
            if (source == beyond) source = narrow.data();
        }
        down(sources.data(), row_weights.groups, row_weights.quads.data() + y * row_quads, stride, small.data());
        normalise(small.data(), table, columns.length, plane, out + y * columns.length);
    }
}

}  // namespace

bool has_dots() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

void resample_by_dots(const Picture &image, const Axis &rows, const Axis &columns, const float *table, float *out) {
    (Means::fit(columns) ? run<Means> : run<Digits>)(image, rows, columns, table, out);
}
#else
bool has_dots() { return false; }
void resample_by_dots(const Picture &, const Axis &, const Axis &, const float *, float *) {}
#endif

}  // namespace chiasm
