#include "avx2_pixels.hpp"

#ifdef __x86_64__
#include <immintrin.h>

#include <cstring>

namespace chiasm {
namespace {

#define CHIASM_TARGET __attribute__((target("avx2")))

CHIASM_TARGET inline __m128i load(const void *source) { return _mm_loadu_si128(static_cast<const __m128i *>(source)); }
CHIASM_TARGET inline __m128i load_half(const void *source) { return _mm_loadl_epi64(static_cast<const __m128i *>(source)); }
CHIASM_TARGET inline __m256i load_all(const void *source) { return _mm256_loadu_si256(static_cast<const __m256i *>(source)); }

// Two neighbours of the targets `a` and `b`, and what they weigh → four sums each.
CHIASM_TARGET inline __m256i lerp_two(const std::uint8_t *row, const Layout &layout, const Samples &columns, std::size_t left,
                                      std::size_t a, std::size_t b, __m256i order) {
    const auto pixels = [&](std::size_t x) { return row + (static_cast<std::size_t>(columns.first[x]) - left) * layout.step; };
    const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(load_half(pixels(a))), load_half(pixels(b)), 1);
    const __m256i weights = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi32(columns.pairs[a])),
                                                    _mm_set1_epi32(columns.pairs[b]), 1);
    return _mm256_srai_epi32(_mm256_madd_epi16(_mm256_shuffle_epi8(bytes, order), weights), 4);
}

// The products of sixteen pixels with two factors, four by four as `packs` will take them, without their fraction.
CHIASM_TARGET inline __m256i colour(__m256i lower, __m256i upper, __m256i difference) {
    const __m256i a = _mm256_add_epi32(lower, _mm256_unpacklo_epi32(difference, difference));
    const __m256i b = _mm256_add_epi32(upper, _mm256_unpackhi_epi32(difference, difference));
    return _mm256_packs_epi32(_mm256_srai_epi32(a, yuv_bits), _mm256_srai_epi32(b, yuv_bits));
}

}  // namespace

CHIASM_TARGET void avx2_lerp_row(const std::uint8_t *row, const Layout &layout, const Samples &columns, std::size_t left,
                                 std::int16_t *line) {
    if (!columns.adjacent) return plain_passes().lerp_across(row, layout, columns, left, line);
    std::int8_t from[16];
    std::memset(from, -1, sizeof from);
    for (std::size_t c = 0; c < 3; ++c) {
        from[c * 4] = static_cast<std::int8_t>(layout.channel[c]);
        from[c * 4 + 2] = static_cast<std::int8_t>(layout.channel[c] + layout.step);
    }
    const __m256i order = _mm256_broadcastsi128_si256(load(from));
    const std::size_t last = columns.length() - 1;
    for (std::size_t x = 0; x <= last; x += 4) {
        const __m256i a = lerp_two(row, layout, columns, left, x, std::min(x + 2, last), order);
        const __m256i b = lerp_two(row, layout, columns, left, std::min(x + 1, last), std::min(x + 3, last), order);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(line + x * 4), _mm256_packs_epi32(a, b));
    }
}

CHIASM_TARGET void avx2_lerp_lines(const std::int16_t *above, const std::int16_t *below, const std::int32_t *weight,
                                   std::size_t count, std::uint8_t *row) {
    const __m256i a = _mm256_set1_epi16(static_cast<std::int16_t>(weight[0])), two = _mm256_set1_epi16(2);
    const __m256i b = _mm256_set1_epi16(static_cast<std::int16_t>(weight[1]));
    for (std::size_t i = 0; i < count; i += 32) {
        __m256i grey[2];
        for (std::size_t half = 0; half < 2; ++half) {
            const __m256i upper = _mm256_mulhi_epi16(load_all(above + i + half * 16), a);
            const __m256i lower = _mm256_mulhi_epi16(load_all(below + i + half * 16), b);
            grey[half] = _mm256_srai_epi16(_mm256_add_epi16(_mm256_add_epi16(upper, lower), two), 2);
        }
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(grey[0], grey[1]), 0xD8);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(row + i), bytes);
    }
}

CHIASM_TARGET void avx2_rgb_row(const std::uint8_t *luma, const std::uint8_t *differences, std::size_t width,
                                const YuvMatrix &matrix, std::uint8_t *row) {
    const __m256i black = _mm256_set1_epi16(static_cast<std::int16_t>(matrix.black)), middle = _mm256_set1_epi16(128);
    const __m256i grey = _mm256_set1_epi32(beside(matrix.luma, 0)), red = _mm256_set1_epi32(beside(0, matrix.red_v));
    const __m256i green = _mm256_set1_epi32(beside(matrix.green_u, matrix.green_v));
    const __m256i blue = _mm256_set1_epi32(beside(matrix.blue_u, 0)), half = _mm256_set1_epi32(1 << (yuv_bits - 1)), none = _mm256_setzero_si256();
    if (width < 16) return plain_passes().rgb_row(luma, differences, width, matrix, row);
    const auto sixteen = [=](std::size_t x) CHIASM_TARGET {
        const __m256i y = _mm256_sub_epi16(_mm256_cvtepu8_epi16(load(luma + x)), black);
        const __m256i uv = _mm256_sub_epi16(_mm256_cvtepu8_epi16(load(differences + x)), middle);
        const __m256i lower = _mm256_madd_epi16(_mm256_unpacklo_epi16(y, none), grey);
        const __m256i upper = _mm256_madd_epi16(_mm256_unpackhi_epi16(y, none), grey);
        const __m256i r = colour(lower, upper, _mm256_add_epi32(_mm256_madd_epi16(uv, red), half));
        const __m256i g = colour(lower, upper, _mm256_add_epi32(_mm256_madd_epi16(uv, green), half));
        const __m256i b = colour(lower, upper, _mm256_add_epi32(_mm256_madd_epi16(uv, blue), half));
        // Bytes: red and blue, green and nothing, eight by eight; then side by side.
        const __m256i rb = _mm256_packus_epi16(r, b), g0 = _mm256_packus_epi16(g, none);
        const __m256i rg = _mm256_unpacklo_epi8(rb, g0);
        const __m256i b0 = _mm256_unpackhi_epi8(rb, none);
        const __m256i first = _mm256_unpacklo_epi16(rg, b0), second = _mm256_unpackhi_epi16(rg, b0);
        __m256i *target = reinterpret_cast<__m256i *>(row + 4 * x);
        _mm256_storeu_si256(target, _mm256_permute2x128_si256(first, second, 0x20));
        _mm256_storeu_si256(target + 1, _mm256_permute2x128_si256(first, second, 0x31));
    };
    for (std::size_t x = 0; x + 16 < width; x += 16) sixteen(x);
    sixteen(width - 16);  // some of them once more, where they are not a multiple
}

CHIASM_TARGET void avx2_floats(const std::uint8_t *row, std::size_t pixel, std::size_t length, const Line *const *lines,
                               float *const *colours) {
    __m128i order[3];
    for (int c = 0; c < 3; ++c) {
        std::int8_t from[16];
        std::memset(from, -1, sizeof from);
        for (std::size_t i = 0; i < 4; ++i) from[4 * i] = static_cast<std::int8_t>(i * pixel + static_cast<std::size_t>(c));
        order[c] = load(from);
    }
    const __m256d slopes[3] = {_mm256_set1_pd(lines[0]->slope), _mm256_set1_pd(lines[1]->slope), _mm256_set1_pd(lines[2]->slope)};
    const __m256d offsets[3] = {_mm256_set1_pd(lines[0]->offset), _mm256_set1_pd(lines[1]->offset), _mm256_set1_pd(lines[2]->offset)};
    std::size_t x = 0;
    for (; x + 4 <= length; x += 4) {
        const __m128i four = load(row + x * pixel);
        for (std::size_t c = 0; c < 3; ++c) {
            const __m256d values = _mm256_cvtepi32_pd(_mm_shuffle_epi8(four, order[c]));
            _mm_storeu_ps(colours[c] + x, _mm256_cvtpd_ps(_mm256_add_pd(_mm256_mul_pd(values, slopes[c]), offsets[c])));
        }
    }
    for (; x < length; ++x)
        for (std::size_t c = 0; c < 3; ++c) colours[c][x] = lines[c]->at(row[x * pixel + c]);
}

}  // namespace chiasm
#endif
