// The Python side of the kernels: chiasm.kernels._ext. Its callers check types and words; what could touch memory that is
// not ours is checked here again. The work runs without the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>

#include "flow.hpp"
#include "resample.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <typename Scalar, std::size_t Rank>
using Array = nb::ndarray<Scalar, nb::ndim<Rank>, nb::c_contig, nb::device::cpu>;
template <typename Scalar>
using Flat = nb::ndarray<Scalar, nb::c_contig, nb::device::cpu>;
using Image = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::device::cpu>;
using Table = nb::ndarray<const float, nb::shape<3, 256>, nb::c_contig, nb::device::cpu>;
using Tensor = nb::ndarray<float, nb::shape<3, -1, -1>, nb::c_contig, nb::device::cpu>;
using Planes = nb::ndarray<const float, nb::shape<3, -1, -1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<std::uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;
using Ints = Array<const std::int32_t, 1>;
using Weights = Array<const std::int32_t, 2>;

chiasm::Axis axis(const Ints &start, const Ints &count, const Weights &weight, std::size_t source, std::size_t target) {
    const chiasm::Axis result{start.data(), count.data(), weight.data(), target, weight.shape(1)};
    if (target == 0 || start.shape(0) != target || count.shape(0) != target || weight.shape(0) != target)
        throw nb::value_error("the plan does not fit the output");
    for (std::size_t i = 0; i < target; ++i) {
        const std::int64_t first = result.start[i], taps = result.count[i];
        if (first < 0 || taps < 1 || taps > static_cast<std::int64_t>(result.taps) || first + taps > static_cast<std::int64_t>(source))
            throw nb::value_error("the plan reads outside the image");
    }
    return result;
}

void resample(const Image &image, const Ints &row_start, const Ints &row_count, const Weights &row_weight, const Ints &column_start,
              const Ints &column_count, const Weights &column_weight, const Table &table, const Tensor &out) {
    const chiasm::Axis rows = axis(row_start, row_count, row_weight, image.shape(0), out.shape(1));
    const chiasm::Axis columns = axis(column_start, column_count, column_weight, image.shape(1), out.shape(2));
    const chiasm::Picture picture{image.data(), image.stride(0), image.stride(1), image.stride(2)};
    const nb::gil_scoped_release released;
    chiasm::resample(picture, rows, columns, table.data(), out.data());
}

void denoise_step(const Flat<const float> &x, const Flat<const float> &velocity, const Flat<const float> &noise, double t, double t_next,
                  const Flat<float> &out) {
    if (velocity.size() != x.size() || noise.size() != x.size() || out.size() != x.size())
        throw nb::value_error("the arrays differ in size");
    const nb::gil_scoped_release released;
    chiasm::denoise_step(x.data(), velocity.data(), noise.data(), static_cast<float>(t), static_cast<float>(t_next), out.data(), x.size());
}

bool latent_to_image(const Planes &picture, const Bytes &out) {
    if (out.shape(0) != picture.shape(1) || out.shape(1) != picture.shape(2)) throw nb::value_error("out does not fit the picture");
    const nb::gil_scoped_release released;
    return chiasm::latent_to_image(picture.data(), out.data(), picture.shape(1) * picture.shape(2));
}

void use_instructions(std::optional<std::string> name) {
    if (!chiasm::use_instructions(name ? name->c_str() : nullptr)) throw nb::value_error("not an instruction set of this processor");
}

}  // namespace

NB_MODULE(_ext, module) {
    module.doc() = "The kernels in C++; chiasm.kernels.reference is the same in NumPy.";
    module.attr("ABI") = 1;  // kernels/_select.py asks for this number
    module.def("resample", &resample, "image"_a.noconvert(), "row_start"_a.noconvert(), "row_count"_a.noconvert(),
               "row_weight"_a.noconvert(), "column_start"_a.noconvert(), "column_count"_a.noconvert(), "column_weight"_a.noconvert(),
               "table"_a.noconvert(), "out"_a.noconvert(), "uint8 (H, W, 3) → float32 (3, h, w) by the weights of both axes.");
    module.def("denoise_step", &denoise_step, "x"_a.noconvert(), "velocity"_a.noconvert(), "noise"_a.noconvert(), "t"_a, "t_next"_a,
               "out"_a.noconvert(), "x0 = x - t·velocity; out = (1 - t_next)·x0 + t_next·noise.");
    module.def("latent_to_image", &latent_to_image, "picture"_a.noconvert(), "out"_a.noconvert(),
               "float32 (3, H, W) in [-1, 1] → uint8 (H, W, 3). False when a value is NaN.");
    module.def("instructions", &chiasm::instructions, "The instruction set in use: avx512-vnni, avx512, avx2 or plain.");
    module.def("use_instructions", &use_instructions, "name"_a.none() = nb::none(),
               "Use another instruction set, for tests; None is the widest. ValueError when the processor lacks it.");
}
