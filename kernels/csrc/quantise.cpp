#include "quantise.hpp"

#include "isa.hpp"
#include "quantum.hpp"

namespace chiasm {
namespace {

namespace plain {
#define CHIASM_TARGET
#include "quantise.inc"
#undef CHIASM_TARGET
}  // namespace plain

#ifdef __x86_64__
namespace avx2 {
#define CHIASM_TARGET __attribute__((target("avx2")))
#include "quantise.inc"
#undef CHIASM_TARGET
}  // namespace avx2

namespace avx512 {
#define CHIASM_TARGET __attribute__((target("avx512f,avx512bw,avx512vl")))
#include "quantise.inc"
#undef CHIASM_TARGET
}  // namespace avx512
#endif

template <bool each, typename Byte>
decltype(&plain::quantize_run<each, Byte>) quantizer() {
#ifdef __x86_64__
    const Isa best = isa();
    if (best >= Isa::avx512) return avx512::quantize_run<each, Byte>;
    if (best >= Isa::avx2) return avx2::quantize_run<each, Byte>;
#endif
    return plain::quantize_run<each, Byte>;
}

template <bool each, typename Byte>
decltype(&plain::dequantize_run<each, Byte>) dequantizer() {
#ifdef __x86_64__
    const Isa best = isa();
    if (best >= Isa::avx512) return avx512::dequantize_run<each, Byte>;
    if (best >= Isa::avx2) return avx2::dequantize_run<each, Byte>;
#endif
    return plain::dequantize_run<each, Byte>;
}

}  // namespace

template <typename Byte>
bool quantize(const float *values, const Extent &extent, const float *scales, const std::int32_t *zeros, Byte *out) {
    const auto [outer, channels, inner] = extent;
    bool fine = true;
    if (inner == 1) {
        const auto run = quantizer<true, Byte>();
        for (std::size_t i = 0; i < outer; ++i) fine &= run(values + i * channels, channels, scales, zeros, out + i * channels);
        return fine;
    }
    const auto run = quantizer<false, Byte>();
    for (std::size_t i = 0; i < outer * channels; ++i)
        fine &= run(values + i * inner, inner, scales + i % channels, zeros + i % channels, out + i * inner);
    return fine;
}

template <typename Byte>
void dequantize(const Byte *values, const Extent &extent, const float *scales, const std::int32_t *zeros, float *out) {
    const auto [outer, channels, inner] = extent;
    if (inner == 1) {
        const auto run = dequantizer<true, Byte>();
        for (std::size_t i = 0; i < outer; ++i) run(values + i * channels, channels, scales, zeros, out + i * channels);
        return;
    }
    const auto run = dequantizer<false, Byte>();
    for (std::size_t i = 0; i < outer * channels; ++i)
        run(values + i * inner, inner, scales + i % channels, zeros + i % channels, out + i * inner);
}

template bool quantize(const float *, const Extent &, const float *, const std::int32_t *, std::int8_t *);
template bool quantize(const float *, const Extent &, const float *, const std::int32_t *, std::uint8_t *);
template void dequantize(const std::int8_t *, const Extent &, const float *, const std::int32_t *, float *);
template void dequantize(const std::uint8_t *, const Extent &, const float *, const std::int32_t *, float *);

}  // namespace chiasm
