// Top-k.
#include "check.hpp"
#include "search.hpp"

namespace check {
namespace {

// Scores and rows of one memory, with one thread and with three.
template <typename Queries, typename Value>
long again(const Queries &queries, const std::vector<Value> &values, const std::vector<Array> &arrays, const std::vector<float> &factors) {
    const auto scores = arrays[4].values<float>();
    const auto indices = arrays[5].values<std::int64_t>();
    const std::size_t count = arrays[2].shape[0], width = arrays[2].shape[1], k = arrays[4].shape[1];
    const chiasm::Rows<Value> rows{values.data(), count, width, factors.empty() ? nullptr : factors.data()};
    long wrong = 0;
    for (const std::size_t threads : {1, 3}) {
        std::vector<float> best(scores.size());
        std::vector<std::int64_t> found(indices.size());
        chiasm::topk(queries, rows, {k, best.data(), found.data()}, threads);
        for (std::size_t i = 0; i < best.size(); ++i) wrong += best[i] != scores[i];  // 0 and -0 are one score
        wrong += differing(found, indices);
    }
    return wrong;
}

}  // namespace

long search_golden(const Case &known) {
    const auto &arrays = known.arrays;  // queries, their scales, rows, factors, scores, indices
    if (known.operation != "topk") return -1;
    const auto factors = arrays[3].values<float>();
    if (arrays[2].dtype == "|i1") {
        const auto queries = arrays[0].values<std::int16_t>();
        const auto scales = arrays[1].values<float>();
        const chiasm::ShortQueries asked{queries.data(), arrays[0].shape[0], scales.data()};
        return again(asked, arrays[2].values<std::int8_t>(), arrays, factors);
    }
    const auto queries = arrays[0].values<float>();
    const chiasm::FloatQueries asked{queries.data(), arrays[0].shape[0]};
    if (arrays[2].dtype == "<f4") return again(asked, arrays[2].values<float>(), arrays, factors);
    return again(asked, arrays[2].values<chiasm::Half>(), arrays, factors);
}

}  // namespace check
