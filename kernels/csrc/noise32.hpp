// The noise of the sampler in float32, from the whole numbers of the same stream on (noise.hpp).
//
// noise.hpp takes Box–Muller in float64 and gives the same bits on every machine. A GPU has half as many float64 units as others
// at best, and on a Jetson or a desktop one in 64. So here everything is float32, but no digit is lost on the way: u near 1 and
// the angle near an octant's end are reduced in whole numbers, so that logarithm, sine and cosine see arguments with a relative
// error of 2^-25. The result differs from that of noise.hpp by at most 1.5e-6, with numbers up to 8.6 (tests/kernels/cuda
// measures it): as much as a float32 network on a GPU differs from one on a CPU, or less.
#pragma once

#include "noise.hpp"
#include "numbers.hpp"

namespace chiasm {

// sqrt(-2 ln u) with u = ((r >> 11) + 1)·2^-53 = m·2^-k, m in [sqrt(1/2), sqrt(2)): ln u = ln(1 + f) - k·ln 2, f = m - 1.
CHIASM_HD inline float radius32(std::uint64_t r) {
    const std::uint64_t n = (r >> 11) + 1, one = std::uint64_t{1} << 53;
#ifdef __CUDA_ARCH__
    int k = __clzll(static_cast<long long>(n)) - 10;
#else
    int k = __builtin_clzll(n) - 10;
#endif
    const std::uint64_t normal = n << k;  // in [2^53, 2^54)
    const bool above = normal > 0x2D413CCCFE7799U;  // sqrt(2)·2^53
    k -= above;
    const auto whole = static_cast<std::int64_t>(above ? normal >> 1 : normal) - static_cast<std::int64_t>(one);
    // n·2^k is exact; halving it loses a bit only when n ended in a one with k = 0, where n <= 2^53 is never above.
    const float f = static_cast<float>(whole) * 1.1102230246251565e-16F;  // · 2^-53
    // (ln(1 + f) - f) / f², fitted by least squares with Lawson's weights: the relative error of ln(1 + f) is below 2^-27.
    float q = -0.07621856033802032F;
    q = std::fmaf(q, f, 0.12904493510723114F);
    q = std::fmaf(q, f, -0.13242985308170319F);
    q = std::fmaf(q, f, 0.14181813597679138F);
    q = std::fmaf(q, f, -0.16609081625938416F);
    q = std::fmaf(q, f, 0.2000197470188141F);
    q = std::fmaf(q, f, -0.25001582503318787F);
    q = std::fmaf(q, f, 0.33333325386047363F);
    q = std::fmaf(q, f, -0.49999988079071045F);
    const auto octaves = static_cast<float>(-k);
    // ln 2 in two parts, of which the first has 15 bits: its product with k is exact.
    const float tail = std::fmaf(octaves, 1.4286068203094173e-6F, q * (f * f));
    const float logarithm = std::fmaf(octaves, 0.693145751953125F, f + tail);
    return std::sqrt(-2.0F * logarithm);
}

// Box–Muller: radius·cos(2πw), radius·sin(2πw) with w = (s >> 11)·2^-53. The octant is whole numbers, the rest lies in [0, π/4].
CHIASM_HD inline Pair normal_pair32(std::uint64_t r, std::uint64_t s) {
    const float radius = radius32(r);
    const std::uint64_t turn = s >> 11, eighth = std::uint64_t{1} << 50;
    const auto octant = static_cast<unsigned>(turn >> 50);
    std::uint64_t rest = turn & (eighth - 1);
    if (octant & 1U) rest = eighth - rest;
    // · 2^-50 · π/4
    const float angle = static_cast<float>(static_cast<std::int64_t>(rest)) * 8.881784197001252e-16F * 0.7853981633974483F;
    const float square = angle * angle;
    float sine = std::fmaf(-0.0001951729936990887F, square, 0.008332177996635437F);
    sine = std::fmaf(sine, square, -0.16666655242443085F);
    sine = std::fmaf(sine * square, angle, angle);
    float cosine = std::fmaf(2.4390450562350452e-05F, square, -0.0013886763481423259F);
    cosine = std::fmaf(cosine, square, 0.04166662320494652F);
    cosine = std::fmaf(cosine, square, -0.5F);
    cosine = std::fmaf(cosine, square, 1.0F);
    const bool swapped = (octant + 1U) & 2U;
    const float across = swapped ? sine : cosine, up = swapped ? cosine : sine;
    return {radius * ((octant + 2U) & 4U ? -across : across), radius * (octant & 4U ? -up : up)};
}

}  // namespace chiasm
