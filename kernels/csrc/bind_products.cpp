// Products of bytes for tests; ONNX Runtime calls them by ort_products.cpp.
#include <optional>

#include <nanobind/stl/optional.h>

#include "bind.hpp"
#include "isa.hpp"
#include "products.hpp"
#include "workers.hpp"

using namespace nanobind::literals;

namespace chiasm {
namespace {

using Numbers = Array<const float, 1>;

Product made(const Array<const std::int8_t, 2> &weights, const Numbers &scales, const std::optional<Numbers> &bias) {
    const std::size_t columns = weights.shape(1);
    if (weights.shape(0) == 0 || columns == 0 || scales.size() != columns || (bias && bias->size() != columns))
        throw nb::value_error("the scales or the bias do not fit the weights");
    return Product(weights.data(), weights.shape(0), columns, scales.data(), bias ? bias->data() : nullptr);
}

// The extension's own threads.
struct Threads {
    std::size_t count;

    Spread spread() {
        return {[](void *self, void (*work)(void *, std::size_t), std::size_t total, void *data) {
                    share_out(total, 1, static_cast<Threads *>(self)->count, [&](std::size_t, std::size_t first, std::size_t last) {
                        for (std::size_t i = first; i < last; ++i) work(data, i);
                    });
                },
                this};
    }
};

template <typename Values, typename Call>
void run(const Product &product, const Values &values, const Array<float, 2> &out, std::size_t threads, const Call &call) {
    if (values.shape(1) != product.depth() || out.shape(0) != values.shape(0) || out.shape(1) != product.columns())
        throw nb::value_error("the values or out do not fit the weights");
    const nb::gil_scoped_release released;
    Threads own{threads};
    call(own.spread());
}

}  // namespace

void bind_products(nb::module_ &module) {
    nb::class_<Product>(module, "Product", "int8 weights (K, N), a float32 scale for each column, a bias or None.")
        .def("__init__", [](Product *self, const Array<const std::int8_t, 2> &weights, const Numbers &scales, const std::optional<Numbers> &bias) {
            new (self) Product(made(weights, scales, bias));
        }, "weights"_a.noconvert(), "scales"_a.noconvert(), "bias"_a.noconvert().none())
        .def("of_floats", [](const Product &self, const Array<const float, 2> &values, const Array<float, 2> &out, std::size_t threads) {
            run(self, values, out, threads, [&](const Spread &spread) { self.of_floats(values.data(), values.shape(0), out.data(), spread); });
        }, "values"_a.noconvert(), "out"_a.noconvert(), "threads"_a, "(M, K) floats → (M, N), quantised as DynamicQuantizeLinear does.")
        .def("of_bytes", [](const Product &self, const Array<const std::uint8_t, 2> &values, float scale, std::uint8_t zero,
                            const Array<float, 2> &out, std::size_t threads) {
            run(self, values, out, threads, [&](const Spread &spread) {
                self.of_bytes(values.data(), scale, zero, values.shape(0), out.data(), spread);
            });
        }, "values"_a.noconvert(), "scale"_a, "zero"_a, "out"_a.noconvert(), "threads"_a, "(M, K) bytes → (M, N).");
    module.def("products_pay", &products_pay, "Whether networks gain by them: AVX2, and no instruction for products of bytes.");
}

}  // namespace chiasm
