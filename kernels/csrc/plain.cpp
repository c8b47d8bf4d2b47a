// The passes for any processor: GCC's vectors of four numbers, a register of SSE and of NEON. The pass across takes four rows at
// a time, four bytes a pixel (the fourth is not used): sixteen lanes, and no shuffles.
#include <cstring>

#include "passes.hpp"

#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace chiasm {
namespace {

constexpr std::size_t band = 4, pixel = 4, lanes = band * pixel, width = 4, parts = lanes / width;
typedef std::int32_t Sums __attribute__((vector_size(16)));
typedef std::uint16_t Words __attribute__((vector_size(width * 2)));
typedef std::uint8_t Bytes __attribute__((vector_size(width)));

inline Sums widen(const std::uint8_t *source) {
#ifdef __ARM_NEON
    std::uint32_t bytes;
    std::memcpy(&bytes, source, sizeof bytes);
    return reinterpret_cast<Sums>(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(bytes)))));
#else
    return Sums{source[0], source[1], source[2], source[3]};
#endif
}

// Fixed point → bytes. Below zero all bits go off, above 255 the low ones go on; then the low byte is kept, by way of 16 bits
// because GCC takes the direct conversion apart into scalars.
inline void store(Sums sum, std::uint8_t *target) {
    sum >>= precision;
    sum &= ~(sum >> 31);
    sum |= (255 - sum) >> 31;
    const Bytes bytes = __builtin_convertvector(__builtin_convertvector(sum, Words), Bytes);
    std::memcpy(target, &bytes, width);
}

// `lanes` bytes of one target: the weighed sum of `count` groups of bytes, of which `source` finds the next.
template <typename Source>
inline void weigh(Source source, const std::int32_t *weight, std::size_t count, std::uint8_t *target) {
    Sums sum[parts];
    for (std::size_t part = 0; part < parts; ++part) sum[part] = Sums{} + (1 << (precision - 1));
    for (std::size_t k = 0; k < count; ++k) {
        const std::uint8_t *from = source(k);
        for (std::size_t part = 0; part < parts; ++part) sum[part] += widen(from + part * width) * weight[k];
    }
    for (std::size_t part = 0; part < parts; ++part) store(sum[part], target + part * width);
}

void stage(const Band &rows, std::uint8_t *staged) {
    const Layout &layout = *rows.layout;
    const std::size_t step = layout.step;
    for (std::size_t row = 0; row < band; ++row) {
        const std::uint8_t *source = rows.rows[row];
        std::uint8_t *target = staged + row * pixel;
        if (layout.channel[0] == 0) {
            // The fourth byte is the next pixel's, or none of its business.
            for (std::size_t x = 0; x < rows.width; ++x) std::memcpy(target + x * lanes, source + x * step, pixel);
            continue;
        }
        for (std::size_t x = 0; x < rows.width; ++x, source += step, target += lanes) {
            const std::uint8_t four[pixel] = {source[2], source[1], source[0], 0};
            std::memcpy(target, four, pixel);
        }
    }
}

void across(const Band &rows, const Weights &columns, std::uint8_t *narrow, std::size_t stride) {
    const Axis &axis = columns.axis;
    for (std::size_t x = 0; x < axis.length(); ++x) {
        rows.ahead->fetch(axis.length());
        const std::uint8_t *from = rows.staged + (static_cast<std::size_t>(axis.start[x]) - rows.left) * lanes;
        std::uint8_t bytes[lanes];
        weigh([=](std::size_t k) { return from + k * lanes; }, axis.weight.data() + x * axis.taps,
              static_cast<std::size_t>(axis.count[x]), bytes);
        // The fourth byte is the next pixel's.
        for (std::size_t row = 0; row < band; ++row) std::memcpy(narrow + row * stride + x * 3, bytes + row * pixel, pixel);
    }
}

void down(const std::uint8_t *const *rows, const Weights &weights, std::size_t target, std::size_t bytes, std::uint8_t *row) {
    const Axis &axis = weights.axis;
    for (std::size_t at = 0; at < bytes; at += lanes)
        weigh([=](std::size_t k) { return rows[k] + at; }, axis.weight.data() + target * axis.taps,
              static_cast<std::size_t>(axis.count[target]), row + at);
}

void lerp_row(const std::uint8_t *row, const Layout &layout, const Samples &columns, std::size_t left, std::int16_t *line) {
    for (std::size_t x = 0; x < columns.length(); ++x) {
        const std::uint8_t *a = row + (static_cast<std::size_t>(columns.first[x]) - left) * layout.step;
        const std::uint8_t *b = row + (static_cast<std::size_t>(columns.second[x]) - left) * layout.step;
        for (std::size_t c = 0; c < 3; ++c) {
            const std::size_t at = layout.channel[c];
            line[x * 4 + c] = static_cast<std::int16_t>(lerp_across(a[at], b[at], columns.weight[2 * x], columns.weight[2 * x + 1]));
        }
    }
}

void lerp_lines(const std::int16_t *above, const std::int16_t *below, const std::int32_t *weight, std::size_t count,
                std::uint8_t *row) {
    for (std::size_t i = 0; i < count; ++i) row[i] = lerp_down(above[i], below[i], weight[0], weight[1]);
}

void rgb_row(const std::uint8_t *luma, const std::uint8_t *differences, std::size_t count, const YuvMatrix &matrix,
             std::uint8_t *row) {
    for (std::size_t x = 0; x < count; ++x, row += pixel) {
        const Rgb rgb = rgb_of(luma[x], differences[x & ~std::size_t{1}], differences[x | 1], matrix);
        const std::uint8_t four[pixel] = {rgb.red, rgb.green, rgb.blue, 0};
        std::memcpy(row, four, pixel);
    }
}

}  // namespace

const Passes &plain_passes() {
    static const Passes passes{band, lanes, stage, across, down, lerp_row, lerp_lines, rgb_row, nullptr};
    return passes;
}

}  // namespace chiasm
