// Attention with a mask and without, its pieces out of order: sums are rounded otherwise than the reference's.
#include "attention.hpp"

#include <cmath>

#include "check.hpp"

namespace check {
namespace {

void backwards(void *, void (*work)(void *, std::size_t), std::size_t total, void *data) {
    for (std::size_t i = total; i-- > 0;) work(data, i);
}

long far(const std::vector<float> &ours, const std::vector<float> &expected) {
    long wrong = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) wrong += !(std::abs(ours[i] - expected[i]) <= 5e-6f);
    return wrong;
}

}  // namespace

long attention_golden(const Case &known) {
    if (known.operation != "attention") return -1;
    const std::vector<Array> &arrays = known.arrays;
    const auto queries = arrays[0].values<float>(), keys = arrays[1].values<float>(), values = arrays[2].values<float>();
    const auto mask = arrays[3].values<float>();
    std::vector<float> out(queries.size());
    chiasm::Attention made{};
    made.batch = arrays[0].shape[0], made.queries = arrays[0].shape[1], made.keys = arrays[1].shape[1], made.heads = arrays[3].shape[1];
    made.depth = arrays[0].shape[2] / made.heads, made.scale = arrays[4].scalar<float>();
    made.q = queries.data(), made.k = keys.data(), made.v = values.data(), made.out = out.data();
    made.run({backwards, nullptr});
    const long wrong = far(out, arrays[5].values<float>());
    made.mask = mask.data(), made.mask_key = 1, made.mask_query = made.keys, made.mask_head = made.queries * made.keys;
    made.mask_batch = made.heads * made.mask_head;
    made.run({backwards, nullptr});
    return wrong + far(out, arrays[6].values<float>());
}

}  // namespace check
