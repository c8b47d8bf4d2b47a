// The instructions of AVX-512 that kernels/csrc/vnni.cpp uses, in plain C++, so that it can be tested on a processor without them.
// Include this before it: it takes the names of the intrinsics, and makes the attribute that asks for the instructions empty.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace emulated {

struct Register {
    std::uint8_t byte[64];
};

template <typename Lane, typename Make>
Register each(Make make) {
    Register made;
    for (std::size_t i = 0; i < 64 / sizeof(Lane); ++i) {
        const Lane lane = static_cast<Lane>(make(i));
        std::memcpy(made.byte + i * sizeof lane, &lane, sizeof lane);
    }
    return made;
}

template <typename Lane>
Lane lane(const Register &from, std::size_t i) {
    Lane value;
    std::memcpy(&value, from.byte + i * sizeof value, sizeof value);
    return value;
}

inline std::uint32_t word(const Register &from, std::size_t i) { return lane<std::uint32_t>(from, i); }

inline Register set1(std::int32_t value) { return each<std::int32_t>([&](std::size_t) { return value; }); }
inline Register add(const Register &a, const Register &b) {
    return each<std::uint32_t>([&](std::size_t i) { return word(a, i) + word(b, i); });
}
inline Register multiply(const Register &a, const Register &b) {
    return each<std::uint32_t>([&](std::size_t i) { return word(a, i) * word(b, i); });
}
inline Register left(const Register &a, int bits) {
    return each<std::uint32_t>([&](std::size_t i) { return word(a, i) << bits; });
}
inline Register right(const Register &a, int bits) {
    return each<std::int32_t>([&](std::size_t i) { return lane<std::int32_t>(a, i) >> bits; });
}
// Unsigned bytes by signed ones, four by four, on top of `sum`.
inline Register dot(const Register &sum, const Register &a, const Register &b) {
    return each<std::int32_t>([&](std::size_t i) {
        std::int32_t total = lane<std::int32_t>(sum, i);
        for (std::size_t k = 4 * i; k < 4 * i + 4; ++k) total += a.byte[k] * lane<std::int8_t>(b, k);
        return total;
    });
}

// What follows works within quarters of sixteen bytes.
inline Register shuffle(const Register &a, const Register &order) {
    return each<std::uint8_t>([&](std::size_t i) {
        return order.byte[i] & 0x80U ? 0U : a.byte[i / 16 * 16 + (order.byte[i] & 15U)];
    });
}
template <typename Wide, typename Narrow>
Register pack(const Register &a, const Register &b, std::int64_t most) {
    constexpr std::size_t half = 16 / sizeof(Wide);
    return each<Narrow>([&](std::size_t i) {
        const std::size_t quarter = i / (2 * half), at = i % (2 * half);
        const Register &from = at < half ? a : b;
        return std::clamp<std::int64_t>(lane<Wide>(from, quarter * half + at % half), 0, most);
    });
}
template <typename Lane>
Register interleave(const Register &a, const Register &b, std::size_t upper) {
    constexpr std::size_t lanes = 16 / sizeof(Lane);
    return each<Lane>([&](std::size_t i) {
        const std::size_t from = i / lanes * lanes + upper * lanes / 2 + i % lanes / 2;
        return lane<Lane>(i % 2 ? b : a, from);
    });
}

inline Register load(const void *from) {
    Register made;
    std::memcpy(made.byte, from, sizeof made.byte);
    return made;
}
inline void store(void *to, const Register &from) { std::memcpy(to, from.byte, sizeof from.byte); }
inline __m128i quarter(const Register &from, int which) {
    __m128i made;
    std::memcpy(&made, from.byte + 16 * which, sizeof made);
    return made;
}
inline Register four_times(__m128i from) {
    Register made;
    for (std::size_t i = 0; i < 4; ++i) std::memcpy(made.byte + 16 * i, &from, sizeof from);
    return made;
}
inline Register halves(Register from, __m256i upper) {
    std::memcpy(from.byte + 32, &upper, sizeof upper);
    return from;
}
inline Register lower_half(__m256i from) {
    Register made{};
    std::memcpy(made.byte, &from, sizeof from);
    return made;
}

}  // namespace emulated

#define __m512i emulated::Register
#define target(...)
#define _mm512_set1_epi32(value) emulated::set1(value)
#define _mm512_setzero_si512() emulated::set1(0)
#define _mm512_add_epi32(a, b) emulated::add(a, b)
#define _mm512_mullo_epi32(a, b) emulated::multiply(a, b)
#define _mm512_slli_epi32(a, bits) emulated::left(a, bits)
#define _mm512_srai_epi32(a, bits) emulated::right(a, bits)
#define _mm512_dpbusd_epi32(sum, a, b) emulated::dot(sum, a, b)
#define _mm512_shuffle_epi8(a, order) emulated::shuffle(a, order)
#define _mm512_packus_epi32(a, b) (emulated::pack<std::int32_t, std::uint16_t>(a, b, 65535))
#define _mm512_packus_epi16(a, b) (emulated::pack<std::int16_t, std::uint8_t>(a, b, 255))
#define _mm512_unpacklo_epi8(a, b) emulated::interleave<std::uint8_t>(a, b, 0)
#define _mm512_unpackhi_epi8(a, b) emulated::interleave<std::uint8_t>(a, b, 1)
#define _mm512_unpacklo_epi16(a, b) emulated::interleave<std::uint16_t>(a, b, 0)
#define _mm512_unpackhi_epi16(a, b) emulated::interleave<std::uint16_t>(a, b, 1)
#define _mm512_loadu_si512(from) emulated::load(from)
#define _mm512_storeu_si512(to, from) emulated::store(to, from)
#define _mm512_castsi512_si128(from) emulated::quarter(from, 0)
#define _mm512_extracti32x4_epi32(from, which) emulated::quarter(from, which)
#define _mm512_broadcast_i32x4(from) emulated::four_times(from)
#define _mm512_castsi256_si512(from) emulated::lower_half(from)
#define _mm512_inserti64x4(from, upper, which) emulated::halves(from, upper)
