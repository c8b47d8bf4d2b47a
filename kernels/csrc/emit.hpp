// Bytes of the picture → elements of the tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "convert.hpp"

namespace chiasm {

// A row of pixels, red first → row `y` of the picture in every output, by their tables. A pixel has `pixel` bytes, three or four,
// and the row may be read as far as Passes::floats does.
void emit(const Passes &passes, const std::vector<Output> &outputs, const std::uint8_t *row, std::size_t pixel, std::size_t y);
// Everything that the picture does not cover.
void emit_margins(const Plan &plan, void *out);

}  // namespace chiasm
