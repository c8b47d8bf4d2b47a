// Bytes of the picture → elements of the tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "plan.hpp"

namespace chiasm {

// A row of pixels, red first → row `y` of the picture in `out`, by the plan's table. A pixel has `pixel` bytes, three or four, and
// a byte after the last one may be read.
void emit(const Plan &plan, const std::uint8_t *row, std::size_t pixel, std::size_t y, void *out);
// Everything that the picture does not cover.
void emit_margins(const Plan &plan, void *out);

}  // namespace chiasm
