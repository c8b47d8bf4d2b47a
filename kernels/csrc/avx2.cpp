// The passes for AVX2. Weights are taken apart into two parts of at most 16 bits, so that products of 16 bits, added up two by two, give
// the exact sum: a pair of taps in each 32 bits.
#include "avx2_pixels.hpp"
#include "passes.hpp"

#ifdef __x86_64__
#include <immintrin.h>

#include <cstring>
#include <utility>

namespace chiasm {
namespace {

#define CHIASM_TARGET __attribute__((target("avx2")))

// Eight rows go across together. The pairs of three colours of eight rows are three registers: each half of one has, of four
// rows, three pairs of one row and one of the fourth, so that no lane is idle and none has to be moved.
constexpr std::size_t band = 8, half_band = 4, registers = 3, pixel = 3;
constexpr std::size_t pair_bytes = registers * sizeof(__m256i);
constexpr std::size_t most_pairs = 16;  // of a target, for which there is a loop of its own
// The colour in each lane of a row, by its place among four rows; the last one fills what the others leave.
constexpr int colour_of[half_band][4] = {{0, 1, 2, -1}, {0, 1, -1, 2}, {0, -1, 1, 2}, {-1, 2, 1, 0}};

CHIASM_TARGET inline __m256i load(const std::uint8_t *source) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(source));
}

CHIASM_TARGET inline __m256i two_rows(const std::uint8_t *a, const std::uint8_t *b) {
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i *>(a));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first), _mm_loadu_si128(reinterpret_cast<const __m128i *>(b)), 1);
}

// Of sixteen bytes of a row, four pixels colour by colour: taps 0, 2, 1 and 3, whose first bytes of two are a pair, and the second ones.
CHIASM_TARGET __m256i order_of(const Layout &layout, const int *colours) {
    constexpr std::size_t taps[4] = {0, 2, 1, 3};
    std::int8_t from[16];
    std::memset(from, -1, sizeof from);
    for (std::size_t lane = 0; lane < 4; ++lane)
        for (std::size_t i = 0; colours[lane] >= 0 && i < 4; ++i)
            from[lane * 4 + i] = static_cast<std::int8_t>(taps[i] * layout.step + layout.channel[colours[lane]]);
    __m128i order;
    std::memcpy(&order, from, sizeof order);
    return _mm256_broadcastsi128_si256(order);
}

CHIASM_TARGET void stage(const Band &rows, std::uint8_t *staged) {
    const __m256i bytes = _mm256_set1_epi16(255);
    __m256i order[half_band];
    for (std::size_t row = 0; row < half_band; ++row) order[row] = order_of(*rows.layout, colour_of[row]);
    const std::size_t pace = 4 * rows.layout->step;
    __m256i *target = reinterpret_cast<__m256i *>(staged);
    std::size_t at = 0;
    for (std::size_t x = 0; x < rows.width; x += 4, at += pace, target += 2 * registers) {
        __m256i source[half_band];
        for (std::size_t row = 0; row < half_band; ++row)
            source[row] = _mm256_shuffle_epi8(two_rows(rows.rows[row] + at, rows.rows[row + half_band] + at), order[row]);
        const __m256i a = _mm256_blend_epi32(source[0], source[3], 0x88), b = _mm256_blend_epi32(source[1], source[3], 0x44);
        const __m256i c = _mm256_blend_epi32(source[2], source[3], 0x22);
        _mm256_storeu_si256(target, _mm256_and_si256(a, bytes));
        _mm256_storeu_si256(target + 1, _mm256_and_si256(b, bytes));
        _mm256_storeu_si256(target + 2, _mm256_and_si256(c, bytes));
        _mm256_storeu_si256(target + 3, _mm256_srli_epi16(a, 8));
        _mm256_storeu_si256(target + 4, _mm256_srli_epi16(b, 8));
        _mm256_storeu_si256(target + 5, _mm256_srli_epi16(c, 8));
    }
}

// Of the low parts of the weights, and of the high ones.
struct Sums {
    __m256i low, high;
};

CHIASM_TARGET inline Sums begin() { return {_mm256_set1_epi32(1 << (precision - 1)), _mm256_setzero_si256()}; }

// GCC would add up in another order, for which there are too few registers, and would copy sums.
CHIASM_TARGET inline void add_here(__m256i &sum, __m256i terms) { asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(terms)); }

CHIASM_TARGET inline void add(Sums &sums, __m256i pairs, __m256i low, __m256i high) {
    add_here(sums.low, _mm256_madd_epi16(pairs, low));
    add_here(sums.high, _mm256_madd_epi16(pairs, high));
}

// Without the fraction; the packing to bytes clamps.
CHIASM_TARGET inline __m256i end(const Sums &sums, __m128i shift) {
    return _mm256_srai_epi32(_mm256_add_epi32(sums.low, _mm256_sll_epi32(sums.high, shift)), precision);
}

// Sums of eight rows and three colours of one target.
struct Lanes {
    __m256i a, b, c;
};

CHIASM_TARGET inline Lanes step(Lanes sums, const std::uint8_t *pairs, std::int32_t digit) {
    const __m256i weight = _mm256_set1_epi32(digit);
    add_here(sums.a, _mm256_madd_epi16(load(pairs), weight));
    add_here(sums.b, _mm256_madd_epi16(load(pairs + sizeof(__m256i)), weight));
    add_here(sums.c, _mm256_madd_epi16(load(pairs + 2 * sizeof(__m256i)), weight));
    return sums;
}

// The sums of one part of the weights, on top of `first`; `digits` begins with that part. `fixed` pairs, or `count` when it is 0.
template <std::size_t fixed>
CHIASM_TARGET inline Lanes weigh(const std::uint8_t *staged, const std::int32_t *digits, std::size_t count, std::int32_t first) {
    const __m256i begin = _mm256_set1_epi32(first);
    Lanes sums{begin, begin, begin};
#pragma GCC unroll 16
    for (std::size_t pair = 0; pair < (fixed ? fixed : count); ++pair) sums = step(sums, staged + pair * pair_bytes, digits[2 * pair]);
    return sums;
}

CHIASM_TARGET inline Lanes whole(const Lanes &sums, __m128i fraction) {
    return {_mm256_sra_epi32(sums.a, fraction), _mm256_sra_epi32(sums.b, fraction), _mm256_sra_epi32(sums.c, fraction)};
}

// Whether the fraction of any of the sums lies above `sure`.
CHIASM_TARGET inline bool doubtful(const Lanes &sums, __m256i fraction, std::int32_t sure) {
    const __m256i a = _mm256_and_si256(sums.a, fraction), b = _mm256_and_si256(sums.b, fraction), c = _mm256_and_si256(sums.c, fraction);
    const __m256i greatest = _mm256_max_epi32(_mm256_max_epi32(a, b), c);
    return _mm256_movemask_epi8(_mm256_cmpgt_epi32(greatest, _mm256_set1_epi32(sure))) != 0;
}

// The whole parts of `high`, which begins with `begin`, and of the low parts together.
CHIASM_TARGET inline Lanes exact(const Lanes &high, std::int32_t begin, const std::uint8_t *staged, const std::int32_t *digits,
                                 std::size_t count, int shift) {
    const __m256i half = _mm256_set1_epi32(1 << (precision - 1));
    Lanes low{half, half, half};
    for (; count >= 2; count -= 2, staged += 2 * pair_bytes, digits += 4)
        low = step(step(low, staged, digits[0]), staged + pair_bytes, digits[2]);
    if (count) low = step(low, staged, digits[0]);
    const __m256i begun = _mm256_set1_epi32(begin);
    const __m128i up = _mm_cvtsi32_si128(shift);
    const auto sum = [=](__m256i upper, __m256i lower) CHIASM_TARGET {
        return _mm256_add_epi32(_mm256_sll_epi32(_mm256_sub_epi32(upper, begun), up), lower);
    };
    return whole({sum(high.a, low.a), sum(high.b, low.b), sum(high.c, low.c)}, _mm_cvtsi32_si128(precision));
}

// Four bytes of each of eight rows: those of rows 0 to 3 in the lower half.
CHIASM_TARGET inline __m256i packed(const Lanes &sums) {
    const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(sums.a, sums.b), _mm256_packs_epi32(sums.c, sums.c));
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

// Targets that are made one after the other, with what is not decided of them; and between which no rows are asked for ahead, because
// the loop over them is a tenth faster without.
constexpr std::size_t chunk = 64, stretch = 8;

struct Chunk {
    __m256i made[chunk];
    __m256i high[chunk][registers];
    std::size_t doubtful[chunk];
};

// `size` targets from `first` on. The high parts of the weights nearly always say which byte it is, because the low ones count for
// less than a hundredth of a grey level. Where they might matter they are added, but after the others are made: nobody foresees
// where that is, and to be wrong about a branch takes as long as to add them.
template <std::size_t fixed>
CHIASM_TARGET inline void make(const Band &rows, const Pairs &pairs, std::size_t first, std::size_t size, Chunk &targets) {
    const std::size_t count = fixed ? fixed : pairs.count(0), left = rows.left / 2, *starts = pairs.first.data() + first;
    const std::int32_t *digits = pairs.digits.data() + first * 2 * count;
    const std::int32_t *begin = pairs.begin.data() + first, *sure = pairs.sure.data() + first;
    const std::size_t bits = static_cast<std::size_t>(precision - pairs.shift);
    const __m128i shift = _mm_cvtsi32_si128(static_cast<int>(bits));
    const __m256i fraction = _mm256_set1_epi32((1 << bits) - 1);
    std::size_t doubts = 0;
    for (std::size_t from = 0; from < size; from += stretch) {
        rows.ahead->fetch(rounded(pairs.first.size(), stretch) / stretch);
        for (std::size_t i = from; i < std::min(size, from + stretch); ++i) {
            const Lanes high = weigh<fixed>(rows.staged + (starts[i] - left) * pair_bytes, digits + i * 2 * count + 1, count, begin[i]);
            targets.made[i] = packed(whole(high, shift));
            _mm256_store_si256(targets.high[doubts], high.a);
            _mm256_store_si256(targets.high[doubts] + 1, high.b);
            _mm256_store_si256(targets.high[doubts] + 2, high.c);
            targets.doubtful[doubts] = i;
            doubts += doubtful(high, fraction, sure[i]);
        }
    }
    for (std::size_t doubt = 0; doubt < doubts; ++doubt) {
        const std::size_t i = targets.doubtful[doubt];
        const std::uint8_t *staged = rows.staged + (starts[i] - left) * pair_bytes;
        const __m256i *high = targets.high[doubt];
        targets.made[i] = packed(exact({high[0], high[1], high[2]}, begin[i], staged, digits + i * 2 * count, count, pairs.shift));
    }
}

template <std::size_t fixed>
CHIASM_TARGET void across_by(const Band &rows, const Weights &columns, std::uint8_t *narrow, std::size_t stride) {
    const std::size_t length = columns.length();
    Chunk targets;
    for (std::size_t first = 0; first < length; first += chunk) {
        const std::size_t size = std::min(chunk, rounded(length - first, 4));
        make<fixed>(rows, columns.pairs, first, size, targets);
        for (std::size_t i = 0; i < size; i += 4) {
            const __m256i *made = targets.made + i;
            const __m256i ab = _mm256_unpacklo_epi32(made[0], made[1]), cd = _mm256_unpacklo_epi32(made[2], made[3]);
            const __m256i AB = _mm256_unpackhi_epi32(made[0], made[1]), CD = _mm256_unpackhi_epi32(made[2], made[3]);
            std::uint8_t *target = narrow + (first + i) * pixel;
            store(_mm256_unpacklo_epi64(ab, cd), target, target + 4 * stride);
            store(_mm256_unpackhi_epi64(ab, cd), target + stride, target + 5 * stride);
            store(_mm256_unpacklo_epi64(AB, CD), target + 2 * stride, target + 6 * stride);
            store(_mm256_unpackhi_epi64(AB, CD), target + 3 * stride, target + 7 * stride);
        }
    }
}

// Loops of a known length are unrolled.
template <std::size_t... counts>
void across_for(std::index_sequence<counts...>, const Band &rows, const Weights &columns, std::uint8_t *narrow, std::size_t stride) {
    static constexpr decltype(&across_by<0>) by_count[] = {across_by<counts>...};
    const std::size_t count = columns.pairs.count(0);
    by_count[count < sizeof...(counts) ? count : 0](rows, columns, narrow, stride);
}

void across(const Band &rows, const Weights &columns, std::uint8_t *narrow, std::size_t stride) {
    across_for(std::make_index_sequence<most_pairs + 1>(), rows, columns, narrow, stride);
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
CHIASM_TARGET inline __m256i weigh_rows(const std::uint8_t *const *rows, const std::int32_t *digits, std::size_t count, std::size_t at,
                                        __m128i shift) {
    Halves sums{begin(), begin()};
    for (; count >= 2; count -= 2, rows += 4, digits += 4) {
        step<upper>(sums, rows, digits, at);
        step<upper>(sums, rows + 2, digits + 2, at);
    }
    if (count) step<upper>(sums, rows, digits, at);
    return _mm256_packs_epi32(end(sums.first, shift), end(sums.second, shift));
}

CHIASM_TARGET void down(const std::uint8_t *const *rows, const Weights &weights, std::size_t target, std::size_t bytes,
                        std::uint8_t *row) {
    const Pairs &pairs = weights.pairs;
    const std::int32_t *digits = pairs.digits.data() + pairs.offset[target];
    const std::size_t count = pairs.count(target);
    const __m128i shift = _mm_cvtsi32_si128(pairs.shift);
    for (std::size_t at = 0; at < bytes; at += sizeof(__m256i)) {
        const __m256i lower = weigh_rows<false>(rows, digits, count, at, shift), upper = weigh_rows<true>(rows, digits, count, at, shift);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(row + at), _mm256_packus_epi16(lower, upper));
    }
}

}  // namespace

const Passes *avx2_passes() {
    static const Passes passes{band, pair_bytes / 2, stage, across, down, avx2_lerp_row, avx2_lerp_lines, avx2_rgb_row, avx2_floats};
    return &passes;
}

}  // namespace chiasm
#else
namespace chiasm {
const Passes *avx2_passes() { return nullptr; }
}  // namespace chiasm
#endif
