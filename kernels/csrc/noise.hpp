// The noise of the sampler, whose recipe stands in kernels/reference/diffusion.py: nothing but whole numbers and single
// operations of IEEE float64, in a fixed order, so that one seed gives the same bits wherever it runs. Compile without fused
// multiply-add.
#pragma once

#include <cstddef>
#include <cstdint>

#include "portable.hpp"

namespace chiasm {

// Which stream of noise: the two words of the key, and the step.
struct NoiseKey {
    std::uint64_t low, high, step;
};

struct Words {
    std::uint64_t word[4];
};

CHIASM_HD inline std::uint64_t high_half(std::uint64_t a, std::uint64_t b) {
#ifdef __CUDA_ARCH__
    return __umul64hi(a, b);
#else
    __extension__ typedef unsigned __int128 Wide;
    return static_cast<std::uint64_t>(static_cast<Wide>(a) * b >> 64);
#endif
}

// Philox 4x64-10 (Salmon et al., 2011) at the counter (block, 0, 0, step).
CHIASM_HD inline Words philox(const NoiseKey &key, std::uint64_t block) {
    std::uint64_t a = block, b = 0, c = 0, d = key.step, low = key.low, high = key.high;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t left = a * 0xD2E7470EE14C6C93U, right = c * 0xCA5A826395121157U;
        const std::uint64_t left_high = high_half(a, 0xD2E7470EE14C6C93U), right_high = high_half(c, 0xCA5A826395121157U);
        a = right_high ^ b ^ low;
        b = right;
        c = left_high ^ d ^ high;
        d = left;
        low += 0x9E3779B97F4A7C15U;
        high += 0xBB67AE8584CAA73BU;
    }
    return {{a, b, c, d}};
}

CHIASM_HD inline double from_bits(std::uint64_t bits) {
    double value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

CHIASM_HD inline std::uint64_t to_bits(double value) {
    std::uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

// A whole number up to 2^53, exactly. By halves and magic numbers: processors convert vectors of 32 bits only.
CHIASM_HD inline double whole(std::uint64_t value) {
    const double high = from_bits(0x4530000000000000U | value >> 32) - 19342813113834066795298816.0;  // 2^84
    const double low = from_bits(0x4330000000000000U | (value & 0xFFFFFFFFU)) - 4503599627370496.0;   // 2^52
    return high + low;
}

// ln u for u in (0, 1]: u = 2^k·m with m in [sqrt(1/2), sqrt(2)), ln m = 2·artanh((m - 1)/(m + 1)) by its series.
CHIASM_HD inline double logarithm(double u) {
    const std::uint64_t bits = to_bits(u);
    const std::uint64_t octave = (bits - 0x3FE6A09E667F3BCDU + (std::uint64_t{1024} << 52)) >> 52;  // k + 1024
    const double m = from_bits(bits - ((octave - 1024) << 52)), k = from_bits(0x4330000000000000U | octave) - 4503599627371520.0;
    const double f = m - 1.0, s = f / (f + 2.0), z = s * s, t = s + s;
    double p = 1.0 / 21.0;
    p = p * z + 1.0 / 19.0;
    p = p * z + 1.0 / 17.0;
    p = p * z + 1.0 / 15.0;
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    return k * 0.6931471805599453 + (t + t * (z * p));
}

struct Circle {
    double cosine, sine;
};

// Of an angle in [0, 2π]: the nearest quarter turn is taken off in three parts of π/2, the rest goes through Taylor's series.
CHIASM_HD inline Circle circle(double angle) {
    const double shifted = angle * 0.6366197723675814 + 6755399441055744.0;  // 1.5·2^52: its last bits count the quarters
    const double n = shifted - 6755399441055744.0;
    const double r = ((angle - n * 1.5707963267341256) - n * 6.077100506303966e-11) - n * 2.0222662487959506e-21;
    const double z = r * r, h = z * 0.5;
    double p = 1.0 / 355687428096000.0;
    p = p * z - 1.0 / 1307674368000.0;
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    double q = 1.0 / 20922789888000.0;
    q = q * z - 1.0 / 87178291200.0;
    q = q * z + 1.0 / 479001600.0;
    q = q * z - 1.0 / 3628800.0;
    q = q * z + 1.0 / 40320.0;
    q = q * z - 1.0 / 720.0;
    q = q * z + 1.0 / 24.0;
    const std::uint64_t sine = to_bits(r + r * (z * p)), cosine = to_bits(1.0 - (h - (z * z) * q));
    const std::uint64_t quarter = to_bits(shifted), odd = 0U - (quarter & 1U);
    const std::uint64_t across = (cosine & ~odd) | (sine & odd), up = (sine & ~odd) | (cosine & odd);
    return {from_bits(across ^ ((quarter + 1U) & 2U) << 62), from_bits(up ^ (quarter & 2U) << 62)};
}

struct Pair {
    float first, second;
};

// Box–Muller. `square_root` is the caller's: headers for both compilers call no library.
template <typename Root>
CHIASM_HD inline Pair normal_pair(std::uint64_t r, std::uint64_t s, Root square_root) {
    const double radius = square_root(-2.0 * logarithm(whole((r >> 11) + 1U) * 1.1102230246251565e-16));
    const Circle point = circle(whole(s >> 11) * 6.975736996017264e-16);  // 2^-53·2π
    return {static_cast<float>(radius * point.cosine), static_cast<float>(radius * point.sine)};
}

}  // namespace chiasm
