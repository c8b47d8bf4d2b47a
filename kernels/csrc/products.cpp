#include "products.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "isa.hpp"
#include "strips.hpp"

namespace chiasm {
namespace {

constexpr std::int32_t most_paired = 128;       // two weights of one sign times 255 stay within 16 bits
constexpr std::size_t worth = 1 << 21;          // products of bytes that are worth another thread's turn
constexpr std::size_t few = 16;                 // fewer rows take as long: weights have to be fetched
constexpr std::size_t most_groups = 80;         // that are worked on in one turn: 60 KiB of a panel's weights
constexpr std::size_t slab_bytes = 256 * 1024;  // of rows that meet one panel after the other, from the second cache
constexpr std::size_t least_slab = 32;          // rows, however long

std::size_t parts(std::size_t all, std::size_t part) { return (all + part - 1) / part; }

// What is made anew for every call, in memory that each thread keeps.
struct Scratch {
    struct alignas(32) Eight {
        std::int32_t sums[8];
    };
    std::vector<Eight> sums;
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

struct InMemory {
    const std::int8_t *at;
    std::size_t columns;

    RowSource rows() {  // for as long as this lives
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

Product::Product(const RowSource &weights, std::size_t depth, std::size_t columns, const float *scales, const float *bias)
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
        chunk_ = parts(parts(product.groups_, parts(product.groups_, most_groups)), 2) * 2;  // even: groups go in pairs
        slab_ = std::max(least_slab, slab_bytes / stride_ / tall * tall);
        if (rows <= slab_ * 3 / 2) slab_ = rows;
        panels_ = std::max<std::size_t>(1, std::min(product.panels_, worth / (std::max(std::min(rows, slab_), few) * stride_ * panel)));
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
        bytes_ = own_bytes();
        start(spread);
    }

    void of_bytes(const std::uint8_t *values, float scale, std::uint8_t zero, const Spread &spread) {
        scale_ = scale, zero_ = zero, given_ = values;
        ranged_.store(blocks_ + 1);
        bytes_ = stride_ == product_.depth_ ? values : own_bytes();
        start(spread);
    }

  private:
    std::uint8_t *own_bytes() {
        std::vector<std::uint8_t> &bytes = scratch().bytes;
        if (bytes.size() < rows_ * stride_) bytes.resize(rows_ * stride_);
        return own_ = bytes.data();
    }

    void start(const Spread &spread) {
        const std::size_t total = slabs_ * parts(product_.panels_, panels_);
        auto work = [](void *data, std::size_t index) { static_cast<Call *>(data)->piece(index); };
        spread.call(spread.context, work, total, this);
    }

    void piece(std::size_t index) {
        if (quantised_.load(std::memory_order_acquire) < blocks_) prepare();
        const std::size_t pieces = parts(product_.panels_, panels_), first = index % pieces * panels_, from = index / pieces * slab_;
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

    // A row in bytes, padded. Gives how far its groups' squares are known.
    std::size_t fill(std::size_t row, std::uint8_t *bytes, std::uint32_t *squares) {
        const std::size_t depth = product_.depth_;
        std::size_t done = 0;
        if (given_) {
            std::memcpy(bytes, given_ + row * depth, depth);
        } else {
            const float *values = floats_ + row * depth;
            done = quantise_groups(avx2_, values, depth, scale_, zero_, bytes, squares);
            for (std::size_t i = done; i < depth; ++i) bytes[i] = byte_of(values[i], scale_, zero_);
        }
        std::memset(bytes + depth, zero_, stride_ - depth);
        return done;
    }

    void quantise(std::size_t block) {
        std::uint32_t *squares = squares_ + block * product_.groups_;
        for (std::size_t row = block * tall; row < std::min(rows_, (block + 1) * tall); ++row) {
            const std::size_t done = own_ ? fill(row, own_ + row * stride_, squares) : 0;
            const std::uint8_t *bytes = bytes_ + row * stride_;
            for (std::size_t g = done / group; g < product_.groups_; ++g) squares[g] = std::max(squares[g], squares_of(avx2_, bytes + g * group, zero_));
        }
    }

    // Some rows against a panel, chunk after chunk of the depth: the weights of a chunk stay in the cache for all rows.
    void multiply(std::size_t p, std::size_t from, std::size_t to) {
        std::vector<Scratch::Eight> &sums = scratch().sums;
        if (sums.size() < (to - from) * lines) sums.resize((to - from) * lines);
        for (std::size_t g = 0; g < product_.groups_; g += chunk_) {
            const Chunk chunk{p, g, std::min(product_.groups_, g + chunk_), parts(to - from, tall)};
            std::size_t row = from;
            for (; row + tall <= to; row += tall) strip(chunk, row, tall, (row - from) / tall, sums[(row - from) * lines].sums);
            for (; row + 2 <= to; row += 2) strip(chunk, row, 2, chunk.passes, sums[(row - from) * lines].sums);
            for (; row < to; ++row) strip(chunk, row, 1, chunk.passes, sums[(row - from) * lines].sums);
        }
    }

    // Groups of a panel, and how many passes are made over their weights.
    struct Chunk {
        std::size_t panel_index, from, to, passes;
    };

    void strip(const Chunk &chunk, std::size_t row, std::size_t count, std::size_t pass, std::int32_t *sums) {
        const std::size_t groups = product_.groups_, at = chunk.panel_index * groups + chunk.from, first = chunk.panel_index * panel;
        // While this chunk is worked on the next one is fetched, by each pass a part; behind a panel lies the next one.
        const std::size_t ahead = parts(group_bytes / cache_line, chunk.passes), after = chunk.panel_index * groups + chunk.to;
        const bool more = after < product_.panels_ * groups && (pass + 1) * ahead * cache_line <= group_bytes;
        const Strip of{bytes_ + row * stride_ + chunk.from * group,
                       stride_,
                       chunk.to - chunk.from,
                       chunk.from == 0,
                       chunk.to == groups,
                       sums,
                       product_.weights_[at * steps * lines].bytes,
                       product_.sums_[at * lines].of_lane,
                       squares_ + row / tall * groups + chunk.from,
                       product_.squares_.data() + at,
                       zero_,
                       scale_,
                       product_.scales_.data() + first,
                       product_.bias_.empty() ? nullptr : product_.bias_.data() + first,
                       std::min(panel, product_.columns_ - first),
                       out_ + row * product_.columns_ + first,
                       product_.columns_,
                       more ? product_.weights_[after * steps * lines].bytes + pass * ahead * (chunk.to - chunk.from) * cache_line : nullptr,
                       more ? ahead : 0};
        chiasm::multiply(of, count, avx2_ && product_.paired_);
    }

    const Product &product_;
    const std::size_t rows_;
    float *const out_;
    const std::size_t blocks_, stride_;
    const bool avx2_;
    std::size_t panels_, chunk_, slab_, slabs_;  // of a piece; groups of a chunk; rows of a slab; slabs
    const float *floats_ = nullptr;
    const std::uint8_t *given_ = nullptr;
    std::uint8_t *own_ = nullptr;         // where bytes are made, if they are
    const std::uint8_t *bytes_ = nullptr;  // (rows, stride)
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

}  // namespace chiasm
