// diffusion.py's compiled half.
#include <nanobind/stl/optional.h>

#include <array>
#include <optional>

#include "bind.hpp"
#include "diffusion.hpp"

using namespace nanobind::literals;

namespace chiasm {
namespace {

using Planes = nb::ndarray<const float, nb::shape<3, -1, -1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<std::uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;
using Given = Flat<const float>;
template <typename Value>
using Maybe = std::optional<Value>;

const float *data(const Maybe<Given> &array, std::size_t size) {
    if (array && array->size() != size) throw nb::value_error("the arrays differ in size");
    return array ? array->data() : nullptr;
}

DenoiseStep task(const Given &x, const Given &prediction, const Maybe<Given> &unconditional, double guidance, double clean_x,
                 double clean_p, double next_x, double next_clean, double noise_scale, const Flat<float> &out,
                 const Maybe<Flat<float>> &clean_out) {
    const std::size_t size = x.size();
    if (prediction.size() != size || out.size() != size || (clean_out && clean_out->size() != size))
        throw nb::value_error("the arrays differ in size");
    const Coefficients coefficients{static_cast<float>(guidance), static_cast<float>(clean_x),    static_cast<float>(clean_p),
                                    static_cast<float>(next_x),   static_cast<float>(next_clean), static_cast<float>(noise_scale)};
    return {x.data(), prediction.data(), data(unconditional, size), nullptr, false, {}, coefficients,
            out.data(), clean_out ? clean_out->data() : nullptr, size};
}

void step(const Given &x, const Given &prediction, const Maybe<Given> &unconditional, double guidance, double clean_x,
          double clean_p, double next_x, double next_clean, double noise_scale, const Maybe<Given> &noise,
          const Flat<float> &out, const Maybe<Flat<float>> &clean_out) {
    DenoiseStep work =
        task(x, prediction, unconditional, guidance, clean_x, clean_p, next_x, next_clean, noise_scale, out, clean_out);
    work.noise = data(noise, work.size);
    const nb::gil_scoped_release released;
    denoise_step(work);
}

void fresh_step(const Given &x, const Given &prediction, const Maybe<Given> &unconditional, double guidance, double clean_x,
                double clean_p, double next_x, double next_clean, double noise_scale, std::uint64_t low, std::uint64_t high,
                std::uint64_t number, const Flat<float> &out, const Maybe<Flat<float>> &clean_out) {
    DenoiseStep work =
        task(x, prediction, unconditional, guidance, clean_x, clean_p, next_x, next_clean, noise_scale, out, clean_out);
    work.fresh = true;
    work.key = {low, high, number};
    const nb::gil_scoped_release released;
    denoise_step(work);
}

void noise_numbers(std::uint64_t low, std::uint64_t high, std::uint64_t number, const Flat<float> &out) {
    const nb::gil_scoped_release released;
    normal_noise({low, high, number}, out.data(), out.size());
}

bool picture_bytes(const Planes &picture, double shift, double scale, bool blue_first, const Bytes &out) {
    if (out.shape(0) != picture.shape(1) || out.shape(1) != picture.shape(2)) throw nb::value_error("out does not fit the picture");
    const nb::gil_scoped_release released;
    return latent_to_image(picture.data(), static_cast<float>(shift), static_cast<float>(scale), blue_first, out.data(),
                           picture.shape(1) * picture.shape(2));
}

}  // namespace

void bind_diffusion(nb::module_ &module) {
    module.def("denoise_step", &step, "x"_a.noconvert(), "prediction"_a.noconvert(), "unconditional"_a.noconvert().none(),
               "guidance"_a, "clean_x"_a, "clean_p"_a, "next_x"_a, "next_clean"_a, "noise_scale"_a, "noise"_a.noconvert().none(),
               "out"_a.noconvert(), "clean_out"_a.noconvert().none(),
               "p = u + guidance·(prediction - u); x0 = clean_x·x + clean_p·p; out = next_x·x + next_clean·x0 + noise_scale·noise.");
    module.def("denoise_step_fresh", &fresh_step, "x"_a.noconvert(), "prediction"_a.noconvert(),
               "unconditional"_a.noconvert().none(), "guidance"_a, "clean_x"_a, "clean_p"_a, "next_x"_a, "next_clean"_a,
               "noise_scale"_a, "low"_a, "high"_a, "step"_a, "out"_a.noconvert(), "clean_out"_a.noconvert().none(),
               "As denoise_step, with the noise of normal_noise.");
    module.def("normal_noise", &noise_numbers, "low"_a, "high"_a, "step"_a, "out"_a.noconvert(),
               "Standard normal numbers of the key (low, high) and the step.");
    module.def("latent_to_image", &picture_bytes, "picture"_a.noconvert(), "shift"_a, "scale"_a, "blue_first"_a,
               "out"_a.noconvert(), "float32 (3, H, W) → uint8 (H, W, 3): (x + shift)·scale. False when a value is NaN.");
}

}  // namespace chiasm
