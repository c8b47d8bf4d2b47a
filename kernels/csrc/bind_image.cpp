// image.py's compiled half.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>

#include "bind.hpp"
#include "resample.hpp"

using namespace nanobind::literals;

namespace chiasm {
namespace {

using Image = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::device::cpu>;
using Table = nb::ndarray<const float, nb::shape<3, 256>, nb::c_contig, nb::device::cpu>;
using Tensor = nb::ndarray<float, nb::shape<3, -1, -1>, nb::c_contig, nb::device::cpu>;
using Ints = Array<const std::int32_t, 1>;
using Weights = Array<const std::int32_t, 2>;

Axis axis(const Ints &start, const Ints &count, const Weights &weight, std::size_t source, std::size_t target) {
    const Axis result{start.data(), count.data(), weight.data(), target, weight.shape(1)};
    if (target == 0 || start.shape(0) != target || count.shape(0) != target || weight.shape(0) != target)
        throw nb::value_error("the plan does not fit the output");
    for (std::size_t i = 0; i < target; ++i) {
        const std::int64_t first = result.start[i], taps = result.count[i];
        if (first < 0 || taps < 1 || taps > static_cast<std::int64_t>(result.taps) || first + taps > static_cast<std::int64_t>(source))
            throw nb::value_error("the plan reads outside the image");
    }
    return result;
}

void resample_picture(const Image &image, const Ints &row_start, const Ints &row_count, const Weights &row_weight, const Ints &column_start,
              const Ints &column_count, const Weights &column_weight, const Table &table, const Tensor &out) {
    const Axis rows = axis(row_start, row_count, row_weight, image.shape(0), out.shape(1));
    const Axis columns = axis(column_start, column_count, column_weight, image.shape(1), out.shape(2));
    const Picture picture{image.data(), image.stride(0), image.stride(1), image.stride(2)};
    const nb::gil_scoped_release released;
    chiasm::resample(picture, rows, columns, table.data(), out.data());
}

void choose_instructions(std::optional<std::string> name) {
    if (!use_instructions(name ? name->c_str() : nullptr)) throw nb::value_error("not an instruction set of this processor");
}

}  // namespace

void bind_image(nb::module_ &module) {
    module.def("resample", &resample_picture, "image"_a.noconvert(), "row_start"_a.noconvert(), "row_count"_a.noconvert(),
               "row_weight"_a.noconvert(), "column_start"_a.noconvert(), "column_count"_a.noconvert(), "column_weight"_a.noconvert(),
               "table"_a.noconvert(), "out"_a.noconvert(), "uint8 (H, W, 3) → float32 (3, h, w) by the weights of both axes.");
    module.def("instructions", &instructions, "The instruction set in use: avx512-vnni, avx512, avx2 or plain.");
    module.def("use_instructions", &choose_instructions, "name"_a.none() = nb::none(),
               "Use another instruction set, for tests; None is the widest. ValueError when the processor lacks it.");
}

}  // namespace chiasm
