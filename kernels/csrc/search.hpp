// The k best of many rows for every query, without writing the scores out.
//
// A score is the same number on every processor. Of floats: 32 sums that begin with 0, sum j over the products of elements
// j, j + 32, j + 64, …, in order; then sum j takes in sum j + 16, then j + 8, j + 4, j + 2, j + 1; every product and every
// sum is rounded to float32, none is fused. Of bytes: exact. (A warp of 32 threads that ends in a butterfly adds up in this
// order too.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace chiasm {

// A float16.
struct Half {
    std::uint16_t bits;
};

// `count` rows of `width` values; a row's dot product is multiplied by its factor, if there are factors.
template <typename Value>
struct Rows {
    const Value *values;
    std::size_t count, width;
    const float *factors;
};

// Queries for rows of floats, and for rows of bytes: these are 16-bit, and `scales` multiplies their scores.
struct FloatQueries {
    const float *values;
    std::size_t count;
};
struct ShortQueries {
    const std::int16_t *values;
    std::size_t count;
    const float *scales;
};

// Where the results go: (queries, k), best first, equal scores by row. A score that is NaN counts as minus infinity.
struct Best {
    std::size_t k;  // from 1 to the number of rows
    float *scores;
    std::int64_t *indices;
};

void topk(const FloatQueries &queries, const Rows<float> &rows, const Best &best, std::size_t threads);
void topk(const FloatQueries &queries, const Rows<Half> &rows, const Best &best, std::size_t threads);
void topk(const ShortQueries &queries, const Rows<std::int8_t> &rows, const Best &best, std::size_t threads);

}  // namespace chiasm
