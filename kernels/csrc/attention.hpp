// Attention between queries, keys and values that lie as products leave them: head beside head in each row. Nothing is turned or
// copied on the way but the keys of one head at a time.
#pragma once

#include <cstddef>

#include "spread.hpp"

namespace chiasm {

// Softmax(q · kᵀ · scale + mask) · v of every head, as Vaswani et al. 2017 define it.
struct Attention {
    std::size_t batch, queries, keys, heads, depth;  // of the rows; `depth` floats of each head, a multiple of 8
    float scale;
    const float *q, *k, *v;  // (batch, queries, heads · depth), twice (batch, keys, heads · depth)
    // (batch, heads, queries, keys), or null; what is the same along an axis has a stride of 0 there
    const float *mask;
    std::size_t mask_batch, mask_head, mask_query, mask_key;
    float *out;  // as q

    void run(const Spread &spread) const;

  private:
    void piece(std::size_t index) const;
    std::size_t slabs() const;
};

}  // namespace chiasm
