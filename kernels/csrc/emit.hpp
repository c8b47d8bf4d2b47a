// Bytes of the picture → elements of the tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "plan.hpp"

namespace chiasm {

// A row of four-byte pixels → row `y` of the picture in `out`, by the plan's table.
void emit(const Plan &plan, const std::uint8_t *row, std::size_t y, void *out);
// Everything that the picture does not cover.
void emit_margins(const Plan &plan, void *out);

}  // namespace chiasm
