// One value to a byte and back. Any compiler reads this: a device's too.
#pragma once

#include <cstdint>

#include "portable.hpp"

namespace chiasm {

template <typename Byte>
struct Range;
template <>
struct Range<std::int8_t> {
    static constexpr float least = -128.0F, most = 127.0F;
};
template <>
struct Range<std::uint8_t> {
    static constexpr float least = 0.0F, most = 255.0F;
};

// value / scale, rounded, halves to even, plus `zero`, which is a value of the byte; saturated. The clamp comes first, between
// whole numbers, so that adding 1.5 · 2^23 rounds and leaves the whole number in the low bits. NaN gives some byte.
template <typename Byte>
CHIASM_HD inline std::int32_t quantum(float value, float scale, std::int32_t zero) {
    constexpr float whole = 12582912.0F;
    const float least = Range<Byte>::least - static_cast<float>(zero), most = Range<Byte>::most - static_cast<float>(zero);
    const float wanted = value / scale;
    const float raised = wanted > least ? wanted : least, clamped = raised < most ? raised : most;
    return static_cast<std::int32_t>(clamped + whole - whole) + zero;
}

CHIASM_HD inline float value_of(std::int32_t byte, float scale, std::int32_t zero) { return static_cast<float>(byte - zero) * scale; }

}  // namespace chiasm
