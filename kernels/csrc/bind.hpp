// What the bindings share. Their Python callers check types and words; what could touch memory that is not ours is checked
// here again. The work runs without the GIL.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

namespace chiasm {

namespace nb = nanobind;

template <typename Scalar, std::size_t Rank>
using Array = nb::ndarray<Scalar, nb::ndim<Rank>, nb::c_contig, nb::device::cpu>;
template <typename Scalar>
using Flat = nb::ndarray<Scalar, nb::c_contig, nb::device::cpu>;

// One for each bind_*.cpp.
void bind_image(nb::module_ &module);
void bind_diffusion(nb::module_ &module);
void bind_sound(nb::module_ &module);
void bind_search(nb::module_ &module);
void bind_quantise(nb::module_ &module);
void bind_readout(nb::module_ &module);
void bind_products(nb::module_ &module);

}  // namespace chiasm
