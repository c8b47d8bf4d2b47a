// diffusion.py's compiled half.
#include "bind.hpp"
#include "flow.hpp"

using namespace nanobind::literals;

namespace chiasm {
namespace {

using Planes = nb::ndarray<const float, nb::shape<3, -1, -1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<std::uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;

void step(const Flat<const float> &x, const Flat<const float> &velocity, const Flat<const float> &noise, double t, double t_next,
                  const Flat<float> &out) {
    if (velocity.size() != x.size() || noise.size() != x.size() || out.size() != x.size())
        throw nb::value_error("the arrays differ in size");
    const nb::gil_scoped_release released;
    chiasm::denoise_step(x.data(), velocity.data(), noise.data(), static_cast<float>(t), static_cast<float>(t_next), out.data(), x.size());
}

bool picture_bytes(const Planes &picture, const Bytes &out) {
    if (out.shape(0) != picture.shape(1) || out.shape(1) != picture.shape(2)) throw nb::value_error("out does not fit the picture");
    const nb::gil_scoped_release released;
    return chiasm::latent_to_image(picture.data(), out.data(), picture.shape(1) * picture.shape(2));
}

}  // namespace

void bind_diffusion(nb::module_ &module) {
    module.def("denoise_step", &step, "x"_a.noconvert(), "velocity"_a.noconvert(), "noise"_a.noconvert(), "t"_a, "t_next"_a,
               "out"_a.noconvert(), "x0 = x - t·velocity; out = (1 - t_next)·x0 + t_next·noise.");
    module.def("latent_to_image", &picture_bytes, "picture"_a.noconvert(), "out"_a.noconvert(),
               "float32 (3, H, W) in [-1, 1] → uint8 (H, W, 3). False when a value is NaN.");
}

}  // namespace chiasm
