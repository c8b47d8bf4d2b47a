// The inner loops of a conversion, in the vectors of one instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ahead.hpp"
#include "frame.hpp"
#include "plan.hpp"

namespace chiasm {

// The most rows that go through the pass across together.
constexpr std::size_t most_rows = 8;
// Rows that the passes write have a length that is a multiple of this, and rows that they read may be read so far.
constexpr std::size_t row_unit = 64;

// Rows of colours side by side, as `layout` says, from column `left`, which is even, on.
struct Band {
    const std::uint8_t *rows[most_rows];
    const std::uint8_t *staged;  // what `stage` made of them
    const Layout *layout;
    std::size_t left, width;
    Ahead *ahead;  // the rows of the next band
};

struct Passes {
    std::size_t band;  // rows that go through the pass across together

    // Lays the rows out as `across` wants them: `staged_bytes` for each column, and room for as many more as a target has taps,
    // and eight. Null when it takes them as they are.
    std::size_t staged_bytes;
    void (*stage)(const Band &band, std::uint8_t *staged);
    // → rows of the narrow picture, `stride` bytes apart: three bytes a pixel, red first. Writes up to a multiple of four pixels,
    // and four bytes more.
    void (*across)(const Band &band, const Weights &columns, std::uint8_t *narrow, std::size_t stride);
    // One target row from the rows that weigh in it: pointers to a multiple of four of them, the last repeated.
    void (*down)(const std::uint8_t *const *rows, const Weights &weights, std::size_t target, std::size_t bytes,
                 std::uint8_t *row);

    // OpenCV's bilinear: a row → four numbers of 15 bits a pixel; then two of those → four bytes a pixel.
    void (*lerp_across)(const std::uint8_t *row, const Layout &layout, const Samples &columns, std::size_t left, std::int16_t *line);
    void (*lerp_down)(const std::int16_t *above, const std::int16_t *below, const std::int32_t *weight, std::size_t count,
                      std::uint8_t *row);

    // `width` pixels (even) of luma, and half as many pairs of differences, blue first → four bytes a pixel, red first.
    void (*rgb_row)(const std::uint8_t *luma, const std::uint8_t *differences, std::size_t width, const YuvMatrix &matrix,
                    std::uint8_t *row);

    // `length` pixels of `pixel` bytes, three or four, red first; the row may be read so far that its pixels are a multiple of four,
    // and four bytes more → a row of floats for each colour, by its line. Null when a table is as fast.
    void (*floats)(const std::uint8_t *row, std::size_t pixel, std::size_t length, const Line *const *lines, float *const *colours);
};

const Passes &plain_passes();
// Null on other processors than x86; whether this one has the instructions is for the caller to ask.
const Passes *avx2_passes();
const Passes *vnni_passes();
// Of the instruction set in use.
const Passes &passes();

}  // namespace chiasm
