// search.py's compiled half.
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <optional>

#include "bind.hpp"
#include "search.hpp"

using namespace nanobind::literals;

template <>
struct nanobind::detail::dtype_traits<chiasm::Half> {
    static constexpr dlpack::dtype value{static_cast<std::uint8_t>(dlpack::dtype_code::Float), 16, 1};
    static constexpr auto name = const_name("float16");
};

namespace chiasm {
namespace {

using Factors = std::optional<Array<const float, 1>>;

template <typename Value>
using Matrix = Array<const Value, 2>;

template <typename Value>
Rows<Value> rows_of(const Matrix<Value> &rows, std::size_t width, const Factors &factors) {
    if (rows.shape(1) != width || width == 0) throw nb::value_error("the rows do not fit the queries");
    if (factors && factors->size() != rows.shape(0)) throw nb::value_error("the factors do not fit the rows");
    return {rows.data(), rows.shape(0), width, factors ? factors->data() : nullptr};
}

Best best_of(const Array<float, 2> &scores, const Array<std::int64_t, 2> &indices, std::size_t queries, std::size_t rows) {
    const std::size_t k = scores.shape(1);
    if (scores.shape(0) != queries || indices.shape(0) != queries || indices.shape(1) != k || k == 0 || k > rows)
        throw nb::value_error("the results do not fit the queries, or k the rows");
    return {k, scores.data(), indices.data()};
}

template <typename Value>
void search_floats(const Matrix<float> &queries, const Matrix<Value> &rows, const Factors &factors, std::size_t threads,
                   const Array<float, 2> &scores, const Array<std::int64_t, 2> &indices) {
    const Rows<Value> memory = rows_of<Value>(rows, queries.shape(1), factors);
    const Best best = best_of(scores, indices, queries.shape(0), memory.count);
    const nb::gil_scoped_release released;
    topk(FloatQueries{queries.data(), queries.shape(0)}, memory, best, std::max<std::size_t>(threads, 1));
}

void search_bytes(const Matrix<std::int16_t> &queries, const Array<const float, 1> &scales, const Matrix<std::int8_t> &rows, const Factors &factors,
                  std::size_t threads, const Array<float, 2> &scores, const Array<std::int64_t, 2> &indices) {
    const Rows<std::int8_t> memory = rows_of<std::int8_t>(rows, queries.shape(1), factors);
    const Best best = best_of(scores, indices, queries.shape(0), memory.count);
    if (scales.size() != queries.shape(0)) throw nb::value_error("the scales do not fit the queries");
    const nb::gil_scoped_release released;
    topk(ShortQueries{queries.data(), queries.shape(0), scales.data()}, memory, best, std::max<std::size_t>(threads, 1));
}

}  // namespace

void bind_search(nb::module_ &module) {
    module.def("topk_floats", &search_floats<float>, "queries"_a.noconvert(), "rows"_a.noconvert(), "factors"_a.noconvert().none(), "threads"_a,
               "scores"_a.noconvert(), "indices"_a.noconvert(),
               "float32 (Q, D) against float32 or float16 (N, D) → the k best (Q, k): dot · factor of the row.");
    module.def("topk_floats", &search_floats<Half>, "queries"_a.noconvert(), "rows"_a.noconvert(), "factors"_a.noconvert().none(), "threads"_a,
               "scores"_a.noconvert(), "indices"_a.noconvert());
    module.def("topk_bytes", &search_bytes, "queries"_a.noconvert(), "scales"_a.noconvert(), "rows"_a.noconvert(), "factors"_a.noconvert().none(),
               "threads"_a, "scores"_a.noconvert(), "indices"_a.noconvert(),
               "int16 (Q, D) against int8 (N, D) → the k best (Q, k): dot · factor of the row · scale of the query.");
}

}  // namespace chiasm
