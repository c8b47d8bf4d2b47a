// The passes for AVX2. Weights are taken apart into two digits of 11 bits, so that products of 16 bits, added up two by two, give
// the exact sum: a pair of taps in each 32 bits.
#include "avx2_pixels.hpp"
#include "passes.hpp"

#ifdef __x86_64__
#include <immintrin.h>

#include <cstring>

namespace chiasm {
namespace {

#define CHIASM_TARGET __attribute__((target("avx2")))

// Eight rows go across together. The pairs of three colours of eight rows are three registers: each half of one has, of four
// rows, three pairs of one row and one of the fourth, so that no lane is idle and none has to be moved.
constexpr std::size_t band = 8, half_band = 4, registers = 3, pixel = 3;
constexpr std::size_t pair_bytes = registers * sizeof(__m256i);
// The colour in each lane of a row, by its place among four rows; the last one fills what the others leave.
constexpr int colour_of[half_band][4] = {{0, 1, 2, -1}, {0, 1, -1, 2}, {0, -1, 1, 2}, {-1, 2, 1, 0}};

CHIASM_TARGET inline __m256i load(const std::uint8_t *source) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(source));
}

CHIASM_TARGET inline __m256i two_rows(const std::uint8_t *a, const std::uint8_t *b) {
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i *>(a));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first), _mm_loadu_si128(reinterpret_cast<const __m128i *>(b)), 1);
}

// Of sixteen bytes of a row, the pair of pixels `pair` with a byte of nothing after each byte.
CHIASM_TARGET __m256i pair_order(const Layout &layout, std::size_t pair, const int *colours) {
    std::int8_t from[16];
    std::memset(from, -1, sizeof from);
    for (std::size_t lane = 0; lane < 4; ++lane) {
        if (colours[lane] < 0) continue;
        const std::size_t at = 2 * pair * layout.step + layout.channel[colours[lane]];
        from[lane * 4] = static_cast<std::int8_t>(at);
        from[lane * 4 + 2] = static_cast<std::int8_t>(at + layout.step);
    }
    __m128i order;
    std::memcpy(&order, from, sizeof order);
    return _mm256_broadcastsi128_si256(order);
}

CHIASM_TARGET void stage(const Band &rows, std::uint8_t *staged) {
    __m256i order[2][half_band];
    for (std::size_t pair = 0; pair < 2; ++pair)
        for (std::size_t row = 0; row < half_band; ++row) order[pair][row] = pair_order(*rows.layout, pair, colour_of[row]);
    const std::size_t pace = 4 * rows.layout->step;
    __m256i *target = reinterpret_cast<__m256i *>(staged);
    std::size_t at = 0;
    for (std::size_t x = 0; x < rows.width; x += 4, at += pace) {
        __m256i source[half_band];
        for (std::size_t row = 0; row < half_band; ++row)
            source[row] = two_rows(rows.rows[row] + at, rows.rows[row + half_band] + at);
        for (std::size_t pair = 0; pair < 2; ++pair, target += registers) {
            const __m256i last = _mm256_shuffle_epi8(source[3], order[pair][3]);
            const __m256i a = _mm256_shuffle_epi8(source[0], order[pair][0]);
            const __m256i b = _mm256_shuffle_epi8(source[1], order[pair][1]);
            const __m256i c = _mm256_shuffle_epi8(source[2], order[pair][2]);
            _mm256_storeu_si256(target, _mm256_blend_epi32(a, last, 0x88));
            _mm256_storeu_si256(target + 1, _mm256_blend_epi32(b, last, 0x44));
            _mm256_storeu_si256(target + 2, _mm256_blend_epi32(c, last, 0x22));
        }
    }
}

struct Sums {
    __m256i low, high;
};

CHIASM_TARGET inline Sums begin() { return {_mm256_set1_epi32(1 << (precision - 1)), _mm256_setzero_si256()}; }

CHIASM_TARGET inline void add(Sums &sums, __m256i pairs, __m256i low, __m256i high) {
    sums.low = _mm256_add_epi32(sums.low, _mm256_madd_epi16(pairs, low));
    sums.high = _mm256_add_epi32(sums.high, _mm256_madd_epi16(pairs, high));
}

// Without the fraction; the packing to bytes clamps.
CHIASM_TARGET inline __m256i end(const Sums &sums) {
    return _mm256_srai_epi32(_mm256_add_epi32(sums.low, _mm256_slli_epi32(sums.high, pair_bits)), precision);
}

// The sums of eight rows and three colours, and one step of them. Two steps at a time, because GCC copies every sum once in each
// turn of the loop.
struct Lanes {
    __m256i low[registers], high[registers];
};

CHIASM_TARGET inline void step(Lanes &lanes, const std::uint8_t *pairs, const std::int32_t *digits) {
    const __m256i low = _mm256_set1_epi32(digits[0]), high = _mm256_set1_epi32(digits[1]);
    for (std::size_t i = 0; i < registers; ++i) {
        const __m256i pair = load(pairs + i * sizeof(__m256i));
        lanes.low[i] = _mm256_add_epi32(lanes.low[i], _mm256_madd_epi16(pair, low));
        lanes.high[i] = _mm256_add_epi32(lanes.high[i], _mm256_madd_epi16(pair, high));
    }
}

// Four bytes of each of eight rows: those of rows 0 to 3 in the lower half.
CHIASM_TARGET inline __m256i weigh(const std::uint8_t *staged, const std::int32_t *digits, std::size_t count) {
    const Sums none = begin();
    Lanes lanes{{none.low, none.low, none.low}, {none.high, none.high, none.high}};
    for (; count >= 2; count -= 2, staged += 2 * pair_bytes, digits += 4) {
        step(lanes, staged, digits);
        step(lanes, staged + pair_bytes, digits + 2);
    }
    if (count) step(lanes, staged, digits);
    const __m256i a = end({lanes.low[0], lanes.high[0]}), b = end({lanes.low[1], lanes.high[1]});
    const __m256i c = end({lanes.low[2], lanes.high[2]});
    const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, c));
    const __m128i order = _mm_setr_epi8(0, 1, 2, -1, 4, 5, 7, -1, 8, 10, 11, -1, 3, 6, 9, -1);
    return _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order));
}

// Four pixels of two rows, three bytes each; what is written after them is written again, or is beyond the row.
CHIASM_TARGET inline void store(__m256i rows, std::uint8_t *upper, std::uint8_t *lower) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m256i dense = _mm256_shuffle_epi8(rows, _mm256_broadcastsi128_si256(order));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(upper), _mm256_castsi256_si128(dense));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(lower), _mm256_extracti128_si256(dense, 1));
}

CHIASM_TARGET void across(const Band &rows, const Weights &columns, std::uint8_t *narrow, std::size_t stride) {
    const Pairs &pairs = columns.pairs;
    const std::size_t length = columns.length(), count = pairs.count(0);
    for (std::size_t x = 0; x < length; x += 4) {
        rows.ahead->fetch((length + 3) / 4);
        __m256i made[4];
        for (std::size_t i = 0; i < 4; ++i) {
            const std::size_t target = std::min(x + i, length - 1);
            const std::uint8_t *from = rows.staged + (pairs.first[target] - rows.left / 2) * pair_bytes;
            made[i] = weigh(from, pairs.digits.data() + target * 2 * count, count);
        }
        const __m256i ab = _mm256_unpacklo_epi32(made[0], made[1]), cd = _mm256_unpacklo_epi32(made[2], made[3]);
        const __m256i AB = _mm256_unpackhi_epi32(made[0], made[1]), CD = _mm256_unpackhi_epi32(made[2], made[3]);
        std::uint8_t *target = narrow + x * pixel;
        store(_mm256_unpacklo_epi64(ab, cd), target, target + 4 * stride);
        store(_mm256_unpackhi_epi64(ab, cd), target + stride, target + 5 * stride);
        store(_mm256_unpacklo_epi64(AB, CD), target + 2 * stride, target + 6 * stride);
        store(_mm256_unpackhi_epi64(AB, CD), target + 3 * stride, target + 7 * stride);
    }
}

struct Halves {
    Sums first, second;
};

template <bool upper>
CHIASM_TARGET inline void step(Halves &sums, const std::uint8_t *const *rows, const std::int32_t *digits, std::size_t at) {
    const __m256i low = _mm256_set1_epi32(digits[0]), high = _mm256_set1_epi32(digits[1]), none = _mm256_setzero_si256();
    const __m256i a = load(rows[0] + at), b = load(rows[1] + at);
    const __m256i ab = upper ? _mm256_unpackhi_epi8(a, b) : _mm256_unpacklo_epi8(a, b);
    add(sums.first, _mm256_unpacklo_epi8(ab, none), low, high);
    add(sums.second, _mm256_unpackhi_epi8(ab, none), low, high);
}

// The lower or the upper eight bytes of each half of 32, in 16 bits: the sums of all 32, and what they take, would not fit sixteen
// registers.
template <bool upper>
CHIASM_TARGET inline __m256i weigh_rows(const std::uint8_t *const *rows, const std::int32_t *digits, std::size_t count, std::size_t at) {
    Halves sums{begin(), begin()};
    for (; count >= 2; count -= 2, rows += 4, digits += 4) {
        step<upper>(sums, rows, digits, at);
        step<upper>(sums, rows + 2, digits + 2, at);
    }
    if (count) step<upper>(sums, rows, digits, at);
    return _mm256_packs_epi32(end(sums.first), end(sums.second));
}

CHIASM_TARGET void down(const std::uint8_t *const *rows, const Weights &weights, std::size_t target, std::size_t bytes,
                        std::uint8_t *row) {
    const Pairs &pairs = weights.pairs;
    const std::int32_t *digits = pairs.digits.data() + pairs.offset[target];
    const std::size_t count = pairs.count(target);
    for (std::size_t at = 0; at < bytes; at += sizeof(__m256i)) {
        const __m256i lower = weigh_rows<false>(rows, digits, count, at), upper = weigh_rows<true>(rows, digits, count, at);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(row + at), _mm256_packus_epi16(lower, upper));
    }
}

}  // namespace

const Passes *avx2_passes() {
    static const Passes passes{band, pair_bytes / 2, stage, across, down, avx2_lerp_row, avx2_lerp_lines, avx2_rgb_row};
    return &passes;
}

}  // namespace chiasm
#else
namespace chiasm {
const Passes *avx2_passes() { return nullptr; }
}  // namespace chiasm
#endif
