#include "emit.hpp"

#include <algorithm>

namespace chiasm {
namespace {

// Where the elements of a pixel go, and which element a byte becomes, for each colour.
struct Target {
    const std::uint8_t *table[3];
    std::uint8_t *first[3];
};

// The elements pass through as bits, in the registers of whole numbers: processors store two of these at a time.
template <typename Element, std::size_t pace>
void look_up(const std::uint8_t *__restrict row, std::size_t pixel, std::size_t length, const Target &target) {
    const std::uint8_t *red_table = target.table[0], *green_table = target.table[1], *blue_table = target.table[2];
    std::uint8_t *__restrict red = target.first[0], *__restrict green = target.first[1], *__restrict blue = target.first[2];
    constexpr std::size_t item = sizeof(Element), step = item * pace;
    for (std::size_t x = 0; x < length; ++x) {
        std::uint32_t four;
        Element a, b, c;
        std::memcpy(&four, row + x * pixel, 4);
        std::memcpy(&a, red_table + (four & 255) * item, item);
        std::memcpy(&b, green_table + (four >> 8 & 255) * item, item);
        std::memcpy(&c, blue_table + (four >> 16 & 255) * item, item);
        std::memcpy(red + x * step, &a, item);
        std::memcpy(green + x * step, &b, item);
        std::memcpy(blue + x * step, &c, item);
    }
}

template <typename Element>
void emit_row(const Plan &plan, const std::uint8_t *row, std::size_t pixel, const Target &target) {
    if (plan.hwc) return look_up<Element, 3>(row, pixel, plan.columns_made(), target);
    look_up<Element, 1>(row, pixel, plan.columns_made(), target);
}

// The same without the tables, where that is possible.
bool work_out(const Passes &passes, const Plan &plan, const std::uint8_t *row, std::size_t pixel, const Target &target) {
    if (!passes.floats || plan.hwc || plan.lines.empty()) return false;
    const Line *lines[3];
    float *colours[3];
    for (std::size_t colour = 0; colour < 3; ++colour) {
        lines[colour] = &plan.lines[plan.bgr ? 2 - colour : colour];
        colours[colour] = reinterpret_cast<float *>(target.first[colour]);
    }
    passes.floats(row, pixel, plan.columns_made(), lines, colours);
    return true;
}

// Where channel `channel` of a pixel of the target is, in bytes.
std::size_t place(const Plan &plan, std::size_t channel, std::size_t y, std::size_t x) {
    const std::size_t pixel = y * plan.width + x;
    return plan.item * (plan.hwc ? pixel * 3 + channel : channel * plan.height * plan.width + pixel);
}

// Pixels `from` to `to`, counted from the beginning of row `y` on, become the margin's elements.
template <typename Element>
void fill(const Plan &plan, void *out, std::size_t y, std::size_t from, std::size_t to) {
    Element margin[3];
    std::memcpy(margin, plan.margin.data(), sizeof margin);
    Element *first = static_cast<Element *>(out);
    const std::size_t pixel = y * plan.width + from, count = to - from;
    if (plan.hwc) {
        for (Element *at = first + 3 * pixel, *end = at + 3 * count; at != end; at += 3) std::copy_n(margin, 3, at);
        return;
    }
    for (std::size_t channel = 0; channel < 3; ++channel)
        std::fill_n(first + channel * plan.height * plan.width + pixel, count, margin[channel]);
}

template <typename Element>
void fill_margins(const Plan &plan, void *out) {
    const std::size_t bottom = plan.top + plan.rows_made(), right = plan.left + plan.columns_made();
    fill<Element>(plan, out, 0, 0, plan.top * plan.width);
    for (std::size_t y = plan.top; y < bottom; ++y) {
        fill<Element>(plan, out, y, 0, plan.left);
        fill<Element>(plan, out, y, right, plan.width);
    }
    fill<Element>(plan, out, bottom, 0, (plan.height - bottom) * plan.width);
}

}  // namespace

void emit(const Passes &passes, const std::vector<Output> &outputs, const std::uint8_t *row, std::size_t pixel, std::size_t y) {
    for (const Output &output : outputs) {
        const Plan &plan = *output.plan;
        Target target{};
        for (std::size_t colour = 0; colour < 3; ++colour) {
            const std::size_t channel = plan.bgr ? 2 - colour : colour;
            target.table[colour] = plan.table.data() + channel * 256 * plan.item;
            target.first[colour] = static_cast<std::uint8_t *>(output.out) + place(plan, channel, plan.top + y, plan.left);
        }
        if (plan.item == 4 && !work_out(passes, plan, row, pixel, target)) emit_row<std::uint32_t>(plan, row, pixel, target);
        if (plan.item == 2) emit_row<std::uint16_t>(plan, row, pixel, target);
        if (plan.item == 1) emit_row<std::uint8_t>(plan, row, pixel, target);
    }
}

void emit_margins(const Plan &plan, void *out) {
    if (plan.margin.empty()) return;
    if (plan.item == 4) fill_margins<std::uint32_t>(plan, out);
    if (plan.item == 2) fill_margins<std::uint16_t>(plan, out);
    if (plan.item == 1) fill_margins<std::uint8_t>(plan, out);
}

}  // namespace chiasm
