// quantise.py's compiled half.
#include "bind.hpp"
#include "quantise.hpp"

using namespace nanobind::literals;

namespace chiasm {
namespace {

template <typename Scalar>
using Block = Array<Scalar, 3>;  // (outer, channels, inner)
using Scales = Array<const float, 1>;
using Zeros = Array<const std::int32_t, 1>;

template <typename Values, typename Out>
Extent extent_of(const Values &values, const Scales &scales, const Zeros &zeros, const Out &out) {
    const Extent extent{values.shape(0), values.shape(1), values.shape(2)};
    if (out.shape(0) != extent.outer || out.shape(1) != extent.channels || out.shape(2) != extent.inner)
        throw nb::value_error("out does not fit the values");
    if (extent.channels == 0 || scales.size() != extent.channels || zeros.size() != extent.channels)
        throw nb::value_error("the scales or zeros do not fit the values");
    return extent;
}

template <typename Byte>
bool to_bytes(const Block<const float> &values, const Scales &scales, const Zeros &zeros, const Block<Byte> &out) {
    const Extent extent = extent_of(values, scales, zeros, out);
    const nb::gil_scoped_release released;
    return quantize<Byte>(values.data(), extent, scales.data(), zeros.data(), out.data());
}

template <typename Byte>
void to_floats(const Block<const Byte> &values, const Scales &scales, const Zeros &zeros, const Block<float> &out) {
    const Extent extent = extent_of(values, scales, zeros, out);
    const nb::gil_scoped_release released;
    dequantize<Byte>(values.data(), extent, scales.data(), zeros.data(), out.data());
}

template <typename Byte>
void bind_type(nb::module_ &module, const char *quantize_doc, const char *dequantize_doc) {
    module.def("quantize", &to_bytes<Byte>, "values"_a.noconvert(), "scales"_a.noconvert(), "zeros"_a.noconvert(), "out"_a.noconvert(), quantize_doc);
    module.def("dequantize", &to_floats<Byte>, "values"_a.noconvert(), "scales"_a.noconvert(), "zeros"_a.noconvert(), "out"_a.noconvert(),
               dequantize_doc);
}

}  // namespace

void bind_quantise(nb::module_ &module) {
    bind_type<std::int8_t>(module, "(outer, channels, inner): value / scale, halves to even, + zero, saturated. False when a value is NaN.",
                           "(outer, channels, inner): (value - zero) · scale.");
    bind_type<std::uint8_t>(module, "", "");
}

}  // namespace chiasm
