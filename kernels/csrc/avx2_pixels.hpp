// What the AVX2 passes do pixel by pixel; avx2.cpp has the weighed ones.
#pragma once

#include "passes.hpp"

#ifdef __x86_64__
namespace chiasm {

void avx2_lerp_row(const std::uint8_t *row, const Layout &layout, const Samples &columns, std::size_t left, std::int16_t *line);
void avx2_lerp_lines(const std::int16_t *above, const std::int16_t *below, const std::int32_t *weight, std::size_t count,
                     std::uint8_t *row);
void avx2_rgb_row(const std::uint8_t *luma, const std::uint8_t *differences, std::size_t width, const YuvMatrix &matrix,
                  std::uint8_t *row);
void avx2_floats(const std::uint8_t *row, std::size_t pixel, std::size_t length, const Line *const *lines, float *const *colours);

}  // namespace chiasm
#endif
