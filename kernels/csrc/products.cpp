#include "products.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "isa.hpp"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#define CHIASM_AVX2 __attribute__((target("avx2")))
#endif

namespace chiasm {
namespace {

constexpr std::size_t step = 4, steps = 8, group = step * steps;  // of the depth: what a lane of 32 bits holds; 16 bits hold 16 products
constexpr std::size_t lines = 3, panel = 8 * lines;               // columns that are worked on together
constexpr std::size_t tall = 4;                                   // rows that are: with them, 12 of 16 registers hold sums
constexpr std::int32_t most_paired = 128;        // two weights of one sign times 255 stay within 16 bits
constexpr std::size_t worth = 1 << 21;           // products of bytes that are worth another thread's turn
constexpr std::size_t few = 16;                  // fewer rows take as long: weights have to be fetched
constexpr std::size_t cache_line = 64;
constexpr std::size_t slab_bytes = 192 * 1024;   // of rows that are worked on in one turn: they stay in the second cache

std::size_t parts(std::size_t all, std::size_t part) { return (all + part - 1) / part; }

// Whether a sum of products of 16 bits stays within 16 bits, by the squares of both sides.
bool fit(std::uint32_t one, std::uint32_t other) { return static_cast<std::uint64_t>(one) * other <= 32767ull * 32767ull; }

// What is made anew for every call, in memory that each thread keeps.
struct Scratch {
    std::vector<std::uint8_t> bytes;
    std::vector<std::uint32_t> squares;
    std::vector<float> low, high;
};

Scratch &scratch() {
    static thread_local Scratch kept;
    return kept;
}

void wait_for(const std::atomic<std::size_t> &count, std::size_t all) {
    for (unsigned tries = 0; count.load(std::memory_order_acquire) < all; ++tries)
        if (tries % 64 == 63) std::this_thread::yield();
}

// Rows of bytes against a panel, over the whole depth, and where the results go.
struct Strip {
    const std::uint8_t *bytes;
    std::size_t stride, groups;
    const std::int8_t *weights;  // of a group: (steps, lines, 32)
    const std::int16_t *sums;    // of the weights of each lane of a group
    const std::uint32_t *squares_of_bytes, *squares_of_weights;  // of a group
    std::int32_t zero;
    float scale;
    const float *scales, *bias;  // of the panel; no bias: null
    std::size_t columns;         // of the panel that there are
    float *out;
    std::size_t out_stride;
    const std::int8_t *ahead;  // of these weights, which come next, `lines_ahead` cache lines a group are fetched from memory
    std::size_t lines_ahead;
};
constexpr std::size_t group_bytes = steps * lines * 32, group_sums = lines * 16;

// Any weights, any processor.
template <std::size_t rows>
void multiply_plainly(const Strip &of) {
    for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t column = 0; column < of.columns; ++column) {
            std::int32_t sum = 0;
            for (std::size_t k = 0; k < of.groups * group; ++k) {
                const std::size_t at = (k / step * lines + column / 8) * 32 + column % 8 * step + k % step;
                sum += (of.bytes[row * of.stride + k] - of.zero) * of.weights[at];
            }
            const float value = static_cast<float>(sum) * (of.scale * of.scales[column]);
            of.out[row * of.out_stride + column] = of.bias ? value + of.bias[column] : value;
        }
}

#ifdef __x86_64__

CHIASM_AVX2 inline __m256i line(const void *at) { return _mm256_load_si256(static_cast<const __m256i *>(at)); }

// GCC would keep every line in a register, and sums in memory; and would copy sums.
CHIASM_AVX2 inline __m256i times(__m256i bytes, const std::int8_t *weights) {
    __m256i pairs;
    asm("vpmaddubsw %2, %1, %0" : "=x"(pairs) : "x"(bytes), "m"(*reinterpret_cast<const __m256i *>(weights)));
    return pairs;
}
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

// The sum of `groups` groups fits into 16 bits: it begins with what the zero point adds to it, negated.
template <std::size_t rows, std::size_t groups>
CHIASM_AVX2 __attribute__((always_inline)) inline void add_short(const std::uint8_t *bytes, std::size_t stride, const std::int8_t *weights,
                                                                 const std::int16_t *of_lanes, __m256i zero, std::int32_t *out) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[rows][lines];
    for (std::size_t i = 0; i < lines; ++i) {
        __m256i first = line(of_lanes + 16 * i);
        for (std::size_t g = 1; g < groups; ++g) first = _mm256_add_epi16(first, line(of_lanes + g * group_sums + 16 * i));
        first = _mm256_mullo_epi16(first, zero);
        for (std::size_t row = 0; row < rows; ++row) sums[row][i] = first;
    }
#pragma GCC unroll 16
    for (std::size_t s = 0; s < groups * steps; ++s, weights += 32 * lines, bytes += step) {
        const __m256i first = line(weights), second = line(weights + 32);
#pragma GCC unroll 4
        for (std::size_t row = 0; row < rows; ++row) {
            const __m256i four = four_bytes(bytes + row * stride);
            add_pairs(sums[row][0], _mm256_maddubs_epi16(four, first));
            add_pairs(sums[row][1], _mm256_maddubs_epi16(four, second));
            add_pairs(sums[row][2], times(four, weights + 64));
        }
    }
    for (std::size_t row = 0; row < rows; ++row)
        for (std::size_t i = 0; i < lines; ++i) add_to(out + row * panel + 8 * i, _mm256_madd_epi16(sums[row][i], ones));
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
    alignas(32) std::int32_t sums[rows * panel] = {};
    const __m256i zero = _mm256_set1_epi16(static_cast<std::int16_t>(-of.zero));
    const std::uint8_t *bytes = of.bytes;
    const std::int8_t *weights = of.weights;
    const std::int16_t *of_lanes = of.sums;
    const std::int8_t *ahead = of.ahead;
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

// A group of floats in bytes; gives the larger sum of squares of its two kinds of lanes.
CHIASM_AVX2 inline std::uint32_t quantise_group(const float *values, __m256 scale, __m256 least, __m256 most, __m256i zero, std::uint8_t *out) {
    __m256i eight[4];
    for (std::size_t k = 0; k < 4; ++k) {
        const __m256 exact = _mm256_div_ps(_mm256_loadu_ps(values + 8 * k), scale);
        eight[k] = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(exact, least), most));
    }
    const __m256i low = _mm256_packs_epi32(eight[0], eight[1]), high = _mm256_packs_epi32(eight[2], eight[3]);
    const __m256i bytes = _mm256_packus_epi16(_mm256_add_epi16(low, zero), _mm256_add_epi16(high, zero));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
    return larger(_mm256_add_epi32(_mm256_madd_epi16(low, low), _mm256_madd_epi16(high, high)));
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

// As many whole groups of a row as there are; `squares` of a group is kept where it is larger.
CHIASM_AVX2 std::size_t quantise_avx2(const float *values, std::size_t size, float scale, std::int32_t zero, std::uint8_t *out, std::uint32_t *squares) {
    const __m256 by = _mm256_set1_ps(scale), least = _mm256_set1_ps(static_cast<float>(-zero)), most = _mm256_set1_ps(static_cast<float>(255 - zero));
    const __m256i plus = _mm256_set1_epi16(static_cast<std::int16_t>(zero));
    std::size_t i = 0;
    for (; i + group <= size; i += group, ++squares) *squares = std::max(*squares, quantise_group(values + i, by, least, most, plus, out + i));
    return i;
}

#endif

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

// How far a row was quantised by vectors, with the squares of its groups; the rest is left.
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

struct InMemory {
    const std::int8_t *at;
    std::size_t columns;

    Rows rows() {  // for as long as this lives
        return {[](void *context, std::size_t count) {
                    InMemory &own = *static_cast<InMemory *>(context);
                    const std::int8_t *first = own.at;
                    own.at += count * own.columns;
                    return first;
                },
                this};
    }
};

// Up to four rows of up to a panel's columns, row by row → column by column.
void lay_out(const std::int8_t *weights, std::size_t stride, std::size_t depth, std::size_t columns, std::int8_t *out) {
    if (depth == step && columns == panel) {
        const std::int8_t *a = weights, *b = a + stride, *c = b + stride, *d = c + stride;
        for (std::size_t i = 0; i < panel; ++i) out[4 * i] = a[i], out[4 * i + 1] = b[i], out[4 * i + 2] = c[i], out[4 * i + 3] = d[i];
        return;
    }
    for (std::size_t k = 0; k < depth; ++k)
        for (std::size_t i = 0; i < columns; ++i) out[step * i + k] = weights[k * stride + i];
}

// Of a line in every step of a group: the sum of each lane, the largest sum of squares, the largest sum of two of one sign.
struct Facts {
    std::int16_t sums[16];
    std::uint32_t squares;
    std::int32_t most_paired;
};

Facts facts_of(const std::int8_t *line) {
    std::int32_t sums[16] = {}, squares[16] = {}, most[16] = {};
    for (std::size_t s = 0; s < steps; ++s, line += 32 * lines)
        for (std::size_t lane = 0; lane < 16; ++lane) {
            const std::int32_t one = line[2 * lane], other = line[2 * lane + 1], both = one + other;
            sums[lane] += both;
            squares[lane] += one * one + other * other;
            const std::int32_t size = (one ^ other) < 0 ? 0 : std::abs(both);
            most[lane] = std::max(most[lane], size);
        }
    Facts facts{};
    for (std::size_t lane = 0; lane < 16; ++lane) {
        facts.sums[lane] = static_cast<std::int16_t>(sums[lane]);
        facts.squares = std::max(facts.squares, static_cast<std::uint32_t>(squares[lane]));
        facts.most_paired = std::max(facts.most_paired, most[lane]);
    }
    return facts;
}

}  // namespace

Product::Product(const std::int8_t *weights, std::size_t depth, std::size_t columns, const float *scales, const float *bias)
    : Product(InMemory{weights, columns}.rows(), depth, columns, scales, bias) {}

Product::Product(const Rows &weights, std::size_t depth, std::size_t columns, const float *scales, const float *bias)
    : depth_(depth), columns_(columns), groups_(parts(depth, group)), panels_(parts(columns, panel)) {
    weights_.assign(panels_ * groups_ * steps * lines, Line{});
    sums_.assign(panels_ * groups_ * lines, Sums{});
    squares_.assign(panels_ * groups_, 0);
    scales_.assign(panels_ * panel, 0.0f);
    std::copy(scales, scales + columns, scales_.begin());
    if (bias) {
        bias_.assign(panels_ * panel, 0.0f);
        std::copy(bias, bias + columns, bias_.begin());
    }
    for (std::size_t g = 0; g < groups_; ++g) {
        const std::size_t rows = std::min(group, depth - g * group);
        const std::int8_t *from = weights.next(weights.context, rows);
        for (std::size_t p = 0; p < panels_; ++p)
            for (std::size_t k = 0; k < rows; k += step)
                lay_out(from + k * columns + p * panel, columns, std::min(step, rows - k), std::min(panel, columns - p * panel),
                        weights_[((p * groups_ + g) * steps + k / step) * lines].bytes);
    }
    for (std::size_t g = 0; g < panels_ * groups_; ++g)
        for (std::size_t l = 0; l < lines; ++l) {
            const Facts facts = facts_of(weights_[g * steps * lines + l].bytes);
            std::copy(facts.sums, facts.sums + 16, sums_[g * lines + l].of_lane);
            squares_[g] = std::max(squares_[g], facts.squares);
            paired_ = paired_ && facts.most_paired <= most_paired;
        }
}

// One product: the range of the floats, bytes, then pieces of the result. Whoever comes takes the next part of each stage.
class Product::Call {
  public:
    Call(const Product &product, std::size_t rows, float *out)
        : product_(product), rows_(rows), out_(out), blocks_(parts(rows, tall)), stride_(product.groups_ * group), avx2_(isa() != Isa::plain) {
        panels_ = std::max<std::size_t>(1, std::min(product.panels_, worth / (std::max(rows, few) * stride_ * panel)));
        slab_ = std::max<std::size_t>(tall, slab_bytes / stride_ / tall * tall);
        if (rows <= slab_ * 3 / 2) slab_ = rows;
        slabs_ = parts(rows, slab_);
        Scratch &kept = scratch();
        kept.squares.assign(blocks_ * product.groups_, 0);
        squares_ = kept.squares.data();
    }

    void of_floats(const float *values, const Spread &spread) {
        Scratch &kept = scratch();
        kept.low.assign(blocks_, 0.0f);
        kept.high.assign(blocks_, 0.0f);
        floats_ = values, low_ = kept.low.data(), high_ = kept.high.data();
        own_bytes();
        start(spread);
    }

    void of_bytes(const std::uint8_t *values, float scale, std::uint8_t zero, const Spread &spread) {
        scale_ = scale, zero_ = zero, given_ = values;
        ranged_.store(blocks_ + 1);
        own_bytes();
        start(spread);
    }

  private:
    void own_bytes() {
        Scratch &kept = scratch();
        if (kept.bytes.size() < rows_ * stride_) kept.bytes.resize(rows_ * stride_);
        bytes_ = kept.bytes.data();
    }

    void start(const Spread &spread) {
        const std::size_t total = parts(product_.panels_, panels_) * slabs_;
        auto work = [](void *data, std::size_t index) { static_cast<Call *>(data)->piece(index); };
        spread.call(spread.context, work, total, this);
    }

    void piece(std::size_t index) {
        if (quantised_.load(std::memory_order_acquire) < blocks_) prepare();
        const std::size_t first = index / slabs_ * panels_, from = index % slabs_ * slab_;
        for (std::size_t p = first; p < std::min(product_.panels_, first + panels_); ++p) multiply(p, from, std::min(rows_, from + slab_));
    }

    void prepare() {
        for (std::size_t block; ranged_.load(std::memory_order_acquire) <= blocks_ && (block = next_range_.fetch_add(1)) < blocks_;) {
            const std::size_t from = block * tall, to = std::min(rows_, from + tall);
            range_of(avx2_, floats_ + from * product_.depth_, (to - from) * product_.depth_, low_[block], high_[block]);
            if (ranged_.fetch_add(1, std::memory_order_acq_rel) + 1 == blocks_) {
                settle();
                ranged_.fetch_add(1, std::memory_order_acq_rel);
            }
        }
        wait_for(ranged_, blocks_ + 1);
        for (std::size_t block; (block = next_block_.fetch_add(1)) < blocks_;) {
            quantise(block);
            quantised_.fetch_add(1, std::memory_order_acq_rel);
        }
        wait_for(quantised_, blocks_);
    }

    // ONNX, DynamicQuantizeLinear: https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html
    void settle() {
        const float low = *std::min_element(low_, low_ + blocks_), high = *std::max_element(high_, high_ + blocks_);
        scale_ = high == low ? 1.0f : (high - low) / 255.0f;
        zero_ = static_cast<std::int32_t>(std::nearbyint(std::min(std::max(0.0f - low / scale_, 0.0f), 255.0f)));
    }

    void quantise(std::size_t block) {
        const std::size_t depth = product_.depth_;
        std::uint32_t *squares = squares_ + block * product_.groups_;
        for (std::size_t row = block * tall; row < std::min(rows_, (block + 1) * tall); ++row) {
            std::uint8_t *bytes = bytes_ + row * stride_;
            std::size_t done = 0;
            if (given_) {
                std::memcpy(bytes, given_ + row * depth, depth);
            } else {
                const float *values = floats_ + row * depth;
                done = quantise_groups(avx2_, values, depth, scale_, zero_, bytes, squares);
                for (std::size_t i = done; i < depth; ++i) bytes[i] = byte_of(values[i], scale_, zero_);
            }
            std::memset(bytes + depth, zero_, stride_ - depth);
            for (std::size_t g = done / group; g < product_.groups_; ++g) squares[g] = std::max(squares[g], squares_of(avx2_, bytes + g * group, zero_));
        }
    }

    void multiply(std::size_t p, std::size_t from, std::size_t to) {
        const std::size_t of_group = group_bytes / cache_line, passes = parts(to - from, tall);
        const Ahead ahead{p + 1 < product_.panels_ ? product_.weights_[(p + 1) * product_.groups_ * steps * lines].bytes : nullptr,
                          parts(of_group, passes)};
        std::size_t row = from;
        for (; row + tall <= to; row += tall) rows<tall>(p, row, ahead, (row - from) / tall);
        for (; row + 2 <= to; row += 2) rows<2>(p, row, ahead, passes);
        for (; row < to; ++row) rows<1>(p, row, ahead, passes);
    }

    // The next panel's weights, and how many cache lines of each group a pass over this one fetches.
    struct Ahead {
        const std::int8_t *weights;
        std::size_t lines;
    };

    template <std::size_t count>
    void rows(std::size_t p, std::size_t row, const Ahead &ahead, std::size_t pass) {
        const bool more = ahead.weights && (pass + 1) * ahead.lines * cache_line <= group_bytes;
        const std::size_t at = p * product_.groups_, first = p * panel;
        const Strip of{bytes_ + row * stride_,
                       stride_,
                       product_.groups_,
                       product_.weights_[at * steps * lines].bytes,
                       product_.sums_[at * lines].of_lane,
                       squares_ + row / tall * product_.groups_,
                       product_.squares_.data() + at,
                       zero_,
                       scale_,
                       product_.scales_.data() + first,
                       product_.bias_.empty() ? nullptr : product_.bias_.data() + first,
                       std::min(panel, product_.columns_ - first),
                       out_ + row * product_.columns_ + first,
                       product_.columns_,
                       more ? ahead.weights + pass * ahead.lines * product_.groups_ * cache_line : nullptr,
                       more ? ahead.lines : 0};
#ifdef __x86_64__
        if (avx2_ && product_.paired_) return multiply_avx2<count>(of);
#endif
        multiply_plainly<count>(of);
    }

    const Product &product_;
    const std::size_t rows_;
    float *const out_;
    const std::size_t blocks_, stride_;
    const bool avx2_;
    std::size_t panels_, slab_, slabs_;  // of a piece; rows of a slab; slabs
    const float *floats_ = nullptr;
    const std::uint8_t *given_ = nullptr;
    std::uint8_t *bytes_ = nullptr;       // (rows, stride)
    std::uint32_t *squares_ = nullptr;    // (blocks, groups): the largest of any row of a block
    float *low_ = nullptr, *high_ = nullptr;
    float scale_ = 1.0f;
    std::int32_t zero_ = 0;
    std::atomic<std::size_t> next_range_{0}, ranged_{0}, next_block_{0}, quantised_{0};
};

void Product::of_floats(const float *values, std::size_t rows, float *out, const Spread &spread) const {
    if (rows) Call(*this, rows, out).of_floats(values, spread);
}

void Product::of_bytes(const std::uint8_t *values, float scale, std::uint8_t zero, std::size_t rows, float *out, const Spread &spread) const {
    if (rows) Call(*this, rows, out).of_bytes(values, scale, zero, spread);
}

bool products_pay() {
#ifdef __x86_64__
    unsigned a = 0, b = 0, c = 0, d = 0;
    const bool vnni = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);  // AVX-VNNI, which has no name in older compilers
    return isa() == Isa::avx2 && !vnni;
#else
    return false;
#endif
}

}  // namespace chiasm
