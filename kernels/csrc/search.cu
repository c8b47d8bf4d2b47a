// The k best of many rows for every query, without writing the scores out.
//
// A score is the same number as on a CPU (search.hpp): of floats 32 sums, sum j over the products of elements j, j + 32, …, then
// folded by halves. Thirty-two elements of a row are 64 or 128 bytes, sixteen to a thread: so four threads (float16) or eight
// (float32) take a row, each has the sums of its own elements in registers, in the order of the reference, and a butterfly
// ends it. Bytes add up exactly, four threads a row. A warp has 4, 8 or 16 rows under way, which keeps 2 KB in flight a warp.
//
// Which are the best: a number of 64 bits, the score above and the row below, orders rows as the reference does. A block keeps
// the candidates that beat its k-th best so far in shared memory; when these fill up they are sorted and cut to k, which
// happens a few times at the beginning and then hardly ever. Each block writes its k best, and one block a query merges them.
//
// Memory: the rows are read once for every `together` queries, and that is all that counts: of 100,000 rows of 512 float16,
// 102 MB, 35 µs at 2.9 TB/s. Arithmetic there: 3.4 instructions an element with one query, 6e6 µs·instructions: a fifth of an H100's.
#include "device.cuh"

namespace chiasm {

constexpr unsigned search_threads = 256, search_warps = search_threads / 32;

struct SearchArguments {
    const void *rows;      // (count, width)
    const void *queries;   // (queries, stride): float32, or int16 for rows of bytes; zeros beyond `width`
    const float *factors;  // of the rows; may be null
    const float *scales;   // of the queries; may be null
    const std::uint64_t *below;  // (queries,): only rows after these are looked for; may be null
    std::uint64_t *best;         // (queries, blocks, k)
    std::uint64_t count;
    std::uint32_t width, stride, queries_count, k, room;  // `room`: candidates, a power of two
    std::uint32_t aligned;                                // whether sixteen bytes can be read at once everywhere
};

struct MergeArguments {
    const std::uint64_t *best;  // (queries, blocks · k)
    float *scores;              // (queries, total); this pass gives columns `first` to `first` + k
    std::int64_t *indices;
    std::uint64_t *last;  // (queries,): the last one given
    std::uint64_t candidates;
    std::uint32_t k, room, first, total;
};

// Larger is better: the score, then the smaller row. 0 is none.
CHIASM_DEVICE std::uint64_t key_of(float score, std::uint32_t row) {
    const float valid = score != score ? float_of(0xFF800000U) : score + 0.0F;  // no NaN, no negative zero
    const std::uint32_t bits = bits_of(valid);
    const std::uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000U;
    return static_cast<std::uint64_t>(ordered) << 32 | (0xFFFFFFFFU - row);
}

CHIASM_DEVICE float score_of(std::uint64_t key) {
    const auto ordered = static_cast<std::uint32_t>(key >> 32);
    return float_of(ordered >> 31 ? ordered & 0x7FFFFFFFU : ~ordered);
}

// Candidates of one query in shared memory.
struct Candidates {
    std::uint64_t *keys;  // `room`
    std::uint32_t *size;
    std::uint32_t room, k;
};

// Sorted, the best first. Every thread of the block.
CHIASM_DEVICE void sort(const Candidates &c) {
    for (std::uint32_t i = *c.size + threadIdx.x; i < c.room; i += blockDim.x) c.keys[i] = 0;
    __syncthreads();
    for (std::uint32_t run = 2; run <= c.room; run *= 2)
        for (std::uint32_t apart = run / 2; apart > 0; apart /= 2) {
            for (std::uint32_t i = threadIdx.x; i < c.room / 2; i += blockDim.x) {
                const std::uint32_t low = 2 * i - (i & (apart - 1)), high = low + apart;
                const std::uint64_t a = c.keys[low], b = c.keys[high];
                if ((a < b) == ((low & run) == 0)) {
                    c.keys[low] = b;
                    c.keys[high] = a;
                }
            }
            __syncthreads();
        }
}

// Makes room for `more` candidates and gives the key that they must beat. Every thread of the block.
CHIASM_DEVICE std::uint64_t make_room(const Candidates &c, std::uint32_t more, std::uint64_t bound) {
    __syncthreads();
    const std::uint32_t size = *c.size;
    __syncthreads();  // nobody offers before all have seen the size
    if (size + more <= c.room) return bound;
    sort(c);
    if (threadIdx.x == 0 && *c.size > c.k) *c.size = c.k;
    bound = c.keys[c.k - 1];
    __syncthreads();
    return bound;
}

CHIASM_DEVICE void offer(const Candidates &c, std::uint64_t key, std::uint64_t bound) {
    if (key > bound) c.keys[atomicAdd(c.size, 1U)] = key;
}

// Sixteen bytes of a row as floats, or of a query.
template <typename Value>
struct Lanes;
template <>
struct Lanes<float> {
    static constexpr unsigned values = 4, per_row = 8;
    static CHIASM_DEVICE void unpack(uint4 bytes, float *out) { spread(bytes, out); }
    static CHIASM_DEVICE float one(const float *row, std::uint32_t at) { return row[at]; }
};
template <>
struct Lanes<std::uint16_t> {
    static constexpr unsigned values = 8, per_row = 4;
    static CHIASM_DEVICE void unpack(uint4 bytes, float *out) {
        const std::uint32_t words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
        for (unsigned i = 0; i < 4; ++i) {
            out[2 * i] = float_of_half(static_cast<std::uint16_t>(words[i] & 0xFFFFU));
            out[2 * i + 1] = float_of_half(static_cast<std::uint16_t>(words[i] >> 16));
        }
    }
    static CHIASM_DEVICE float one(const std::uint16_t *row, std::uint32_t at) { return float_of_half(row[at]); }
};

template <typename Value>
CHIASM_DEVICE void read_values(const Value *row, std::uint32_t at, std::uint32_t width, bool aligned, float *values) {
    using Here = Lanes<Value>;
    if (aligned && at + Here::values <= width) {
        Here::unpack(stream16(row + at), values);
        return;
    }
    for (unsigned i = 0; i < Here::values; ++i) values[i] = at + i < width ? Here::one(row, at + i) : 0.0F;
}

// The dot products of `deep` rows, `step` apart, with `together` queries. Each thread of those that share a row has its total.
template <typename Value, unsigned deep, unsigned together>
CHIASM_DEVICE void dots(const SearchArguments &a, const float *query, const Value *const *rows, unsigned lane,
                        float (&total)[deep][together]) {
    using Here = Lanes<Value>;
    float sums[deep][together][Here::values] = {};
    for (std::uint32_t at = lane * Here::values; at < a.stride; at += 32) {
        float values[deep][Here::values];
        CHIASM_UNROLL
        for (unsigned r = 0; r < deep; ++r) read_values(rows[r], at, a.width, a.aligned, values[r]);
        CHIASM_UNROLL
        for (unsigned q = 0; q < together; ++q) {
            float asked[Here::values];
            CHIASM_UNROLL
            for (unsigned i = 0; i < Here::values; i += 4) spread(load16(query + q * a.stride + at + i), asked + i);
            CHIASM_UNROLL
            for (unsigned r = 0; r < deep; ++r)
                CHIASM_UNROLL
                for (unsigned i = 0; i < Here::values; ++i) sums[r][q][i] = sums[r][q][i] + asked[i] * values[r][i];
        }
    }
    CHIASM_UNROLL
    for (unsigned r = 0; r < deep; ++r)
        CHIASM_UNROLL
        for (unsigned q = 0; q < together; ++q) {
            float *sum = sums[r][q];
            CHIASM_UNROLL
            for (unsigned apart = Here::per_row / 2; apart > 0; apart /= 2)
                CHIASM_UNROLL
                for (unsigned i = 0; i < Here::values; ++i) sum[i] = sum[i] + __shfl_xor_sync(0xFFFFFFFFU, sum[i], apart);
            CHIASM_UNROLL
            for (unsigned half = Here::values / 2; half > 0; half /= 2)
                CHIASM_UNROLL
                for (unsigned i = 0; i < half; ++i) sum[i] = sum[i] + sum[i + half];
            total[r][q] = sum[0];
        }
}

CHIASM_DEVICE std::int32_t dot2(std::uint32_t shorts, std::uint32_t bytes, bool upper, std::int32_t sum) {
#ifdef __CUDA_ARCH__
    if (upper)
        asm("dp2a.hi.s32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(shorts), "r"(bytes));
    else
        asm("dp2a.lo.s32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(shorts), "r"(bytes));
    return sum;
#else
    if (upper) bytes >>= 16;
    return sum + static_cast<std::int16_t>(shorts & 0xFFFFU) * static_cast<std::int8_t>(bytes & 0xFFU) +
           static_cast<std::int16_t>(shorts >> 16) * static_cast<std::int8_t>(bytes >> 8 & 0xFFU);
#endif
}

CHIASM_DEVICE uint4 read_bytes(const std::int8_t *row, std::uint32_t at, std::uint32_t width, bool aligned) {
    if (aligned && at + 16 <= width) return stream16(row + at);
    std::uint32_t words[4] = {0, 0, 0, 0};
    for (unsigned i = 0; i < 16; ++i)
        if (at + i < width) words[i / 4] |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(row[at + i])) << i % 4 * 8;
    return {words[0], words[1], words[2], words[3]};
}

// The same for rows of bytes, exactly: 16 products a step, and 16 steps of them at the most fit into 32 bits.
template <unsigned deep, unsigned together>
CHIASM_DEVICE void dots(const SearchArguments &a, const std::int16_t *query, const std::int8_t *const *rows, unsigned lane,
                        float (&total)[deep][together]) {
    std::int64_t whole[deep][together] = {};
    std::int32_t sums[deep][together] = {};
    unsigned steps = 0;
    for (std::uint32_t at = lane * 16; at < a.stride; at += 64) {
        uint4 bytes[deep];
        CHIASM_UNROLL
        for (unsigned r = 0; r < deep; ++r) bytes[r] = read_bytes(rows[r], at, a.width, a.aligned);
        CHIASM_UNROLL
        for (unsigned q = 0; q < together; ++q) {
            const uint4 low = load16(query + q * a.stride + at), high = load16(query + q * a.stride + at + 8);
            CHIASM_UNROLL
            for (unsigned r = 0; r < deep; ++r) {
                std::int32_t &sum = sums[r][q];
                sum = dot2(low.x, bytes[r].x, false, sum);
                sum = dot2(low.y, bytes[r].x, true, sum);
                sum = dot2(low.z, bytes[r].y, false, sum);
                sum = dot2(low.w, bytes[r].y, true, sum);
                sum = dot2(high.x, bytes[r].z, false, sum);
                sum = dot2(high.y, bytes[r].z, true, sum);
                sum = dot2(high.z, bytes[r].w, false, sum);
                sum = dot2(high.w, bytes[r].w, true, sum);
            }
        }
        if (++steps % 16 == 0)
            CHIASM_UNROLL
            for (unsigned r = 0; r < deep; ++r)
                CHIASM_UNROLL
                for (unsigned q = 0; q < together; ++q) {
                    whole[r][q] += sums[r][q];
                    sums[r][q] = 0;
                }
    }
    CHIASM_UNROLL
    for (unsigned r = 0; r < deep; ++r)
        CHIASM_UNROLL
        for (unsigned q = 0; q < together; ++q) {
            long long sum = whole[r][q] + sums[r][q];
            sum += __shfl_xor_sync(0xFFFFFFFFU, sum, 2);
            sum += __shfl_xor_sync(0xFFFFFFFFU, sum, 1);
            total[r][q] = static_cast<float>(sum);
        }
}

// A block's share of the rows, for `together` queries from blockIdx.y · together on.
template <typename Value, typename Query, unsigned per_row, unsigned deep, unsigned together>
CHIASM_DEVICE void search(const SearchArguments &a, std::uint8_t *shared, std::uint32_t *sizes) {
    constexpr unsigned rows_of_warp = 32 / per_row * deep, rows_of_block = rows_of_warp * search_warps;
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, part = lane % per_row, own = lane / per_row;
    const auto *rows = static_cast<const Value *>(a.rows);
    for (std::uint32_t first = blockIdx.y * together; first < a.queries_count; first += gridDim.y * together) {
        std::uint64_t bound[together] = {}, below[together];
        Candidates candidates[together];
        __syncthreads();
        CHIASM_UNROLL
        for (unsigned q = 0; q < together; ++q) {
            candidates[q] = {reinterpret_cast<std::uint64_t *>(shared) + q * a.room, sizes + q, a.room, a.k};
            below[q] = first + q >= a.queries_count ? 0 : a.below ? a.below[first + q] : ~std::uint64_t{0};
            if (threadIdx.x == 0) sizes[q] = 0;
        }
        // Queries beyond the last are zeros (the host fills up to a multiple of `together`), and nothing is below 0.
        const auto *query = static_cast<const Query *>(a.queries) + static_cast<std::uint64_t>(first) * a.stride;
        for (std::uint64_t top = static_cast<std::uint64_t>(blockIdx.x) * rows_of_block; top < a.count;
             top += static_cast<std::uint64_t>(gridDim.x) * rows_of_block) {
            CHIASM_UNROLL
            for (unsigned q = 0; q < together; ++q) bound[q] = make_room(candidates[q], rows_of_block, bound[q]);
            const Value *read[deep];
            std::uint64_t index[deep];
            CHIASM_UNROLL
            for (unsigned r = 0; r < deep; ++r) {
                index[r] = top + (warp * deep + r) * (32 / per_row) + own;
                read[r] = rows + (index[r] < a.count ? index[r] : a.count - 1) * a.width;
            }
            float total[deep][together];
            dots(a, query, read, part, total);
            CHIASM_UNROLL
            for (unsigned r = 0; r < deep; ++r) {
                if (part != 0 || index[r] >= a.count) continue;
                CHIASM_UNROLL
                for (unsigned q = 0; q < together; ++q) {
                    float score = total[r][q];
                    if (a.factors) score = score * __ldg(a.factors + index[r]);
                    if (a.scales && first + q < a.queries_count) score = score * __ldg(a.scales + first + q);
                    const std::uint64_t key = key_of(score, static_cast<std::uint32_t>(index[r]));
                    if (key < below[q]) offer(candidates[q], key, bound[q]);
                }
            }
        }
        CHIASM_UNROLL
        for (unsigned q = 0; q < together; ++q) {
            __syncthreads();
            sort(candidates[q]);
            if (first + q >= a.queries_count) continue;
            std::uint64_t *best = a.best + (static_cast<std::uint64_t>(first + q) * gridDim.x + blockIdx.x) * a.k;
            for (std::uint32_t i = threadIdx.x; i < a.k; i += blockDim.x) best[i] = candidates[q].keys[i];
        }
    }
}

}  // namespace chiasm

#define CHIASM_SEARCH(name, Value, Query, per_row, deep, together)            \
    CHIASM_WIDE_KERNEL(name, chiasm::SearchArguments, 256) {                     \
        CHIASM_SHARED(shared);                                                \
        __shared__ std::uint32_t sizes[together];                             \
        chiasm::search<Value, Query, per_row, deep, together>(a, shared, sizes); \
    }

CHIASM_SEARCH(chiasm_topk_float32, float, float, 8, 4, 1)
CHIASM_SEARCH(chiasm_topk_float16, std::uint16_t, float, 4, 4, 1)
CHIASM_SEARCH(chiasm_topk_int8, std::int8_t, std::int16_t, 4, 4, 1)
CHIASM_SEARCH(chiasm_topk4_float32, float, float, 8, 2, 4)
CHIASM_SEARCH(chiasm_topk4_float16, std::uint16_t, float, 4, 1, 4)
CHIASM_SEARCH(chiasm_topk4_int8, std::int8_t, std::int16_t, 4, 2, 4)

// The best of all blocks, for the query blockIdx.x.
CHIASM_KERNEL(chiasm_topk_merge, chiasm::MergeArguments, 256) {
    using namespace chiasm;
    CHIASM_SHARED(shared);
    __shared__ std::uint32_t size;
    const std::uint32_t query = blockIdx.x;
    const Candidates candidates{reinterpret_cast<std::uint64_t *>(shared), &size, a.room, a.k};
    const std::uint64_t *best = a.best + query * a.candidates;
    if (threadIdx.x == 0) size = 0;
    std::uint64_t bound = 0;
    for (std::uint64_t top = 0; top < a.candidates; top += blockDim.x) {
        bound = make_room(candidates, blockDim.x, bound);
        if (top + threadIdx.x < a.candidates) offer(candidates, best[top + threadIdx.x], bound);
    }
    __syncthreads();
    sort(candidates);
    for (std::uint32_t i = threadIdx.x; i < a.k; i += blockDim.x) {
        const std::uint64_t at = static_cast<std::uint64_t>(query) * a.total + a.first + i, key = candidates.keys[i];
        a.scores[at] = score_of(key);
        a.indices[at] = static_cast<std::int64_t>(0xFFFFFFFFU - static_cast<std::uint32_t>(key));
    }
    if (threadIdx.x == 0) a.last[query] = candidates.keys[a.k - 1];
}
