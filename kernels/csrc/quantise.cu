// Floats to bytes and back (quantum.hpp): 4 bytes read and 1 written for each value, or the reverse; the bound is the memory.
#include "device.cuh"
#include "quantum.hpp"

namespace chiasm {

// An array seen as (outer, channels, inner), C-contiguous; scales and zeros are (channels,).
struct QuantiseArguments {
    const void *values;
    void *out;
    const float *scales;
    const std::int32_t *zeros;
    std::uint32_t *bad;  // becomes 1 when a value is NaN; may be null
    std::uint64_t size, channels, inner;
    std::uint32_t is_signed, aligned;
};

CHIASM_DEVICE std::uint64_t channel_of(const QuantiseArguments &a, std::uint64_t at) {
    if (a.channels == 1) return 0;
    if (a.size <= 0xFFFFFFFFU)
        return static_cast<std::uint32_t>(at) / static_cast<std::uint32_t>(a.inner) % static_cast<std::uint32_t>(a.channels);
    return at / a.inner % a.channels;
}

}  // namespace chiasm

CHIASM_KERNEL(chiasm_quantize, chiasm::QuantiseArguments, 256) {
    using namespace chiasm;
    const auto *values = static_cast<const float *>(a.values);
    auto *out = static_cast<std::uint8_t *>(a.out);
    bool bad = false;
    for (std::uint64_t at = grid_thread() * 4; at < a.size; at += grid_threads() * 4) {
        const bool whole = a.aligned && at + 4 <= a.size;
        float four[4] = {};
        if (whole) spread(stream16(values + at), four);
        std::uint32_t word = 0;
        for (std::uint32_t i = 0; i < 4 && at + i < a.size; ++i) {
            if (!whole) four[i] = values[at + i];
            bad = bad || four[i] != four[i];
            const std::uint64_t channel = channel_of(a, at + i);
            const float scale = __ldg(a.scales + channel);
            const std::int32_t zero = __ldg(a.zeros + channel);
            const std::int32_t byte = a.is_signed ? quantum<std::int8_t>(four[i], scale, zero) : quantum<std::uint8_t>(four[i], scale, zero);
            word |= (static_cast<std::uint32_t>(byte) & 255U) << i * 8;
            if (!whole) out[at + i] = static_cast<std::uint8_t>(byte);
        }
        if (whole) *reinterpret_cast<std::uint32_t *>(out + at) = word;
    }
    if (bad && a.bad) *a.bad = 1;
}

CHIASM_KERNEL(chiasm_dequantize, chiasm::QuantiseArguments, 256) {
    using namespace chiasm;
    const auto *values = static_cast<const std::uint8_t *>(a.values);
    auto *out = static_cast<float *>(a.out);
    for (std::uint64_t at = grid_thread() * 4; at < a.size; at += grid_threads() * 4) {
        const bool whole = a.aligned && at + 4 <= a.size;
        const std::uint32_t word = whole ? *reinterpret_cast<const std::uint32_t *>(values + at) : 0;
        float four[4] = {};
        for (std::uint32_t i = 0; i < 4 && at + i < a.size; ++i) {
            const std::uint32_t byte = whole ? word >> i * 8 & 255U : values[at + i];
            const std::uint64_t channel = channel_of(a, at + i);
            const std::int32_t value = a.is_signed ? static_cast<std::int8_t>(byte) : static_cast<std::int32_t>(byte);
            four[i] = value_of(value, __ldg(a.scales + channel), __ldg(a.zeros + channel));
            if (!whole) out[at + i] = four[i];
        }
        if (whole) store16(out + at, gathered(four));
    }
}
