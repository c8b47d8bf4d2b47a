// image.py's compiled half.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bind.hpp"
#include "convert.hpp"
#include "instructions.hpp"

using namespace nanobind::literals;

namespace chiasm {
namespace {

using Colours = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::device::cpu>;
using Grey = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::device::cpu>;
using Elements = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Tensor = nb::ndarray<nb::c_contig, nb::device::cpu>;
using Ints = Array<const std::int32_t, 1>;
using Weighs = Array<const std::int32_t, 2>;
using Factors = std::tuple<int, int, int, int, int, int>;

void demand(bool fine, const char *words) {
    if (!fine) throw nb::value_error(words);
}

template <typename Source>
std::vector<std::int32_t> copy(const Source &source) {
    return {source.data(), source.data() + source.size()};
}

std::vector<std::uint8_t> bytes(const Elements &source) {
    const std::uint8_t *first = static_cast<const std::uint8_t *>(source.data());
    return {first, first + source.nbytes()};
}

Plan make_plan(std::size_t source_height, std::size_t source_width, const std::string &kind, const Ints &row_start,
               const Ints &row_count, const Weighs &row_weight, const Ints &column_start, const Ints &column_count,
               const Weighs &column_weight, std::size_t height, std::size_t width, std::size_t top, std::size_t left, bool bgr,
               bool hwc, const Elements &table, const std::optional<Elements> &margin) {
    demand(kind == "across" || kind == "down" || kind == "sampled", "kind: expected across, down or sampled");
    Plan plan{source_height, source_width, kind == "across" ? Kind::across : kind == "down" ? Kind::down : Kind::sampled,
              Weights({}, false), Weights({}, true), {}, {}, height, width, top, left, bgr, hwc, table.itemsize(), bytes(table), {}};
    if (plan.kind == Kind::sampled) {
        plan.row_samples = checked_samples(copy(row_start), copy(row_count), copy(row_weight), source_height);
        plan.column_samples = checked_samples(copy(column_start), copy(column_count), copy(column_weight), source_width);
    } else {
        plan.rows = checked_weights({copy(row_start), copy(row_count), copy(row_weight), row_weight.shape(1)}, source_height, false);
        plan.columns =
            checked_weights({copy(column_start), copy(column_count), copy(column_weight), column_weight.shape(1)}, source_width, true);
    }
    if (margin) {
        demand(margin->itemsize() == plan.item, "margin: expected the table's dtype");
        plan.margin = bytes(*margin);
    }
    plan.lines = lines_of(plan.table, plan.item);
    plan.check();
    return plan;
}

Plane plane_of(const Grey &array) { return {array.data(), array.stride(0), array.stride(1)}; }

Frame colours_of(const nb::tuple &planes) {
    demand(planes.size() == 1, "planes: expected one array of colours");
    const Colours image = nb::cast<Colours>(planes[0], false);
    const auto plane = [&](std::int64_t c) { return Plane{image.data() + c * image.stride(2), image.stride(0), image.stride(1)}; };
    return {image.shape(0), image.shape(1), {plane(0), plane(1), plane(2)}, true, 1, {}};
}

Frame yuv_of(const nb::tuple &planes, const Factors &factors) {
    demand(planes.size() == 3, "planes: expected luma and two differences");
    const Grey luma = nb::cast<Grey>(planes[0], false), blue = nb::cast<Grey>(planes[1], false), red = nb::cast<Grey>(planes[2], false);
    const std::size_t height = luma.shape(0), width = luma.shape(1), tall = blue.shape(0) == height ? 1 : 2;
    const auto half = [&](const Grey &plane) { return plane.shape(0) * tall == height && plane.shape(1) * 2 == width; };
    demand(half(blue) && half(red), "planes: expected differences of half the width, and the height or half of it");
    const auto [black, y, red_v, green_u, green_v, blue_u] = factors;
    for (const int factor : {black, y, red_v, green_u, green_v, blue_u})
        demand(std::abs(factor) < 1 << 15, "matrix: expected numbers of 15 bits");
    return {height, width, {plane_of(luma), plane_of(blue), plane_of(red)}, false, tall, {black, y, red_v, green_u, green_v, blue_u}};
}

// The bytes from the first to the last one of an array.
std::pair<const std::uint8_t *, const std::uint8_t *> span(const Plane &plane, std::size_t height, std::size_t width) {
    std::pair<const std::uint8_t *, const std::uint8_t *> ends{plane.data, plane.data};
    for (const std::size_t row : {std::size_t{0}, height - 1})
        for (const std::size_t column : {std::size_t{0}, width - 1}) {
            ends.first = std::min(ends.first, plane.at(row, column));
            ends.second = std::max(ends.second, plane.at(row, column) + 1);
        }
    return ends;
}

void check_memory(const Frame &frame, const std::vector<Output> &outputs) {
    std::vector<std::pair<const std::uint8_t *, const std::uint8_t *>> taken;
    for (std::size_t c = 0; c < 3; ++c) {
        const bool half = !frame.colours && c > 0;
        taken.push_back(span(frame.planes[c], half ? frame.height / frame.tall : frame.height, half ? frame.width / 2 : frame.width));
    }
    for (const Output &output : outputs) {
        const std::uint8_t *first = static_cast<const std::uint8_t *>(output.out), *last = first + output.plan->bytes();
        for (const auto &[begin, end] : taken) demand(last <= begin || end <= first, "out: expected memory of its own");
        taken.emplace_back(first, last);
    }
}

void images_to_tensors(const nb::tuple &planes, const std::optional<Factors> &matrix, const std::vector<const Plan *> &plans,
                       const std::vector<Tensor> &outs, int threads) {
    const Frame frame = matrix ? yuv_of(planes, *matrix) : colours_of(planes);
    demand(frame.height > 0 && frame.width > 0, "planes: expected at least one pixel");
    demand(plans.size() == outs.size(), "outs: expected one for each plan");
    std::vector<Output> outputs;
    for (std::size_t i = 0; i < plans.size(); ++i) {
        const Plan *plan = plans[i];
        demand(plan && plan->source_height == frame.height && plan->source_width == frame.width, "plans: expected the frame's size");
        demand(outs[i].itemsize() == plan->item && outs[i].nbytes() == plan->bytes(), "outs: expected the plan's size");
        outputs.push_back({plan, outs[i].data()});
    }
    check_memory(frame, outputs);
    const nb::gil_scoped_release released;
    convert(frame, outputs, threads_worth(outputs, static_cast<std::size_t>(std::max(threads, 1))));
}

void choose_instructions(std::optional<std::string> name) {
    if (!use_instructions(name ? name->c_str() : nullptr)) throw nb::value_error("not an instruction set of this processor");
}

}  // namespace

// The signatures are spelt out because a stub has no name for an array of any dtype.
#define CHIASM_ANY "numpy.typing.NDArray[typing.Any]"
#define CHIASM_INTS "numpy.typing.NDArray[numpy.int32]"

void bind_image(nb::module_ &module) {
    nb::class_<Plan>(module, "ImagePlan", "The numbers of a conversion; chiasm.kernels.geometry.Plan.arguments gives them.")
        .def("__init__",
             [](Plan *self, std::size_t source_height, std::size_t source_width, const std::string &kind, const Ints &row_start,
                const Ints &row_count, const Weighs &row_weight, const Ints &column_start, const Ints &column_count,
                const Weighs &column_weight, std::size_t height, std::size_t width, std::size_t top, std::size_t left, bool bgr,
                bool hwc, const Elements &table, const std::optional<Elements> &margin) {
                 new (self) Plan(make_plan(source_height, source_width, kind, row_start, row_count, row_weight, column_start,
                                           column_count, column_weight, height, width, top, left, bgr, hwc, table, margin));
             },
             "source_height"_a, "source_width"_a, "kind"_a, "row_start"_a.noconvert(), "row_count"_a.noconvert(),
             "row_weight"_a.noconvert(), "column_start"_a.noconvert(), "column_count"_a.noconvert(), "column_weight"_a.noconvert(),
             "height"_a, "width"_a, "top"_a, "left"_a, "bgr"_a, "hwc"_a, "table"_a.noconvert(), "margin"_a.noconvert().none(),
             nb::sig("def __init__(self, source_height: int, source_width: int, kind: str, row_start: " CHIASM_INTS
                     ", row_count: " CHIASM_INTS ", row_weight: " CHIASM_INTS ", column_start: " CHIASM_INTS
                     ", column_count: " CHIASM_INTS ", column_weight: " CHIASM_INTS
                     ", height: int, width: int, top: int, left: int, bgr: bool, hwc: bool, table: " CHIASM_ANY
                     ", margin: " CHIASM_ANY " | None) -> None"));
    module.def("image_to_tensors", &images_to_tensors, "planes"_a, "matrix"_a.none(), "plans"_a, "outs"_a.noconvert(), "threads"_a,
               nb::sig("def image_to_tensors(planes: tuple[numpy.typing.NDArray[numpy.uint8], ...], matrix: tuple[int, int, int, "
                       "int, int, int] | None, plans: collections.abc.Sequence[ImagePlan], outs: collections.abc.Sequence[" CHIASM_ANY
                       "], threads: int) -> None"),
               "One frame to every out, by the plan at the same place.");
    module.def("instructions", &instructions, "The instruction set in use: avx512-vnni, avx512, avx2 or plain.");
    module.def("use_instructions", &choose_instructions, "name"_a.none() = nb::none(),
               "Use another instruction set, for tests; None is the widest. ValueError when the processor lacks it.");
}

}  // namespace chiasm
