// The resize on processors that multiply bytes four by four and add them up: AVX-512 with VNNI.
#pragma once

#include "resample.hpp"

namespace chiasm {

bool has_dots();
// As `resample`, when `has_dots()`.
void resample_by_dots(const Picture &image, const Axis &rows, const Axis &columns, const float *table, float *out);

}  // namespace chiasm
