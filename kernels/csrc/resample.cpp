#include "resample.hpp"

#include "dots.hpp"
#include "normalise.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>

#ifdef __x86_64__
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace chiasm {
namespace {

// Four rows go through the horizontal pass together, and a pixel has four bytes there (the fourth is not used): 16 lanes,
// one register of 32-bit sums with AVX-512, two with AVX2, four with NEON and SSE, and no shuffles.
constexpr std::size_t band = 4, pixel = 4, lanes = band * pixel;
constexpr std::int32_t half = 1 << (precision - 1);

// Any processor: four sums, which is a register of SSE and of NEON.
namespace plain {
typedef std::int32_t Sums __attribute__((vector_size(16)));
#define CHIASM_TARGET
inline Sums widen(const std::uint8_t *source) {
#ifdef __ARM_NEON
    std::uint32_t bytes;
    std::memcpy(&bytes, source, sizeof bytes);
    return reinterpret_cast<Sums>(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(bytes)))));
#else
    return Sums{source[0], source[1], source[2], source[3]};
#endif
}
#include "passes.inc"
#undef CHIASM_TARGET
}  // namespace plain

#ifdef __x86_64__
namespace avx2 {
typedef std::int32_t Sums __attribute__((vector_size(32)));
#define CHIASM_TARGET __attribute__((target("avx2")))
CHIASM_TARGET inline Sums widen(const std::uint8_t *source) {
    return reinterpret_cast<Sums>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(source))));
}
#include "passes.inc"
#undef CHIASM_TARGET
}  // namespace avx2

namespace avx512 {
typedef std::int32_t Sums __attribute__((vector_size(64)));
#define CHIASM_TARGET __attribute__((target("avx512f,avx512bw,avx512vl")))
CHIASM_TARGET inline Sums widen(const std::uint8_t *source) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(source));
    // With a full mask, because GCC 12 warns about its own header without one. The instruction has none.
    return reinterpret_cast<Sums>(_mm512_maskz_cvtepu8_epi32(0xFFFF, bytes));
}
#include "passes.inc"
#undef CHIASM_TARGET
}  // namespace avx512
#endif

// No passes: `resample_by_dots` does it all.
struct Passes {
    const char *name;
    bool supported;
    decltype(&plain::across) across;
    decltype(&plain::down) down;
};

// What this processor runs, the widest first.
const Passes *all_passes() {
    static const Passes all[] = {
#ifdef __x86_64__
        {"avx512-vnni", has_dots(), nullptr, nullptr},
        {"avx512", __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"),
         avx512::across, avx512::down},
        {"avx2", static_cast<bool>(__builtin_cpu_supports("avx2")), avx2::across, avx2::down},
#endif
        {"plain", true, plain::across, plain::down},
    };
    return all;
}

const Passes *find_passes(const char *name) {
    for (const Passes *passes = all_passes();; ++passes) {
        if (passes->supported && (!name || !std::strcmp(name, passes->name))) return passes;
        if (passes->across == plain::across) return nullptr;
    }
}

std::atomic<const Passes *> &chosen() {
    static std::atomic<const Passes *> passes{find_passes(nullptr)};
    return passes;
}

#ifdef __x86_64__
// As `stage_row` for a whole band whose pixels lie side by side, four by four: the twelve bytes of each row are spread to
// four pixels, then rows and columns change places. Gives the pixels done; the last ones are left out because sixteen bytes
// are read. `ahead` leads to the next band, which is fetched meanwhile: a frame is larger than the cache that it comes to.
__attribute__((target("ssse3"))) std::size_t stage_packed(const std::uint8_t *const *rows, std::size_t count,
                                                          std::int64_t ahead, std::uint8_t *staged) {
    const __m128i spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    std::size_t x = 0;
    for (; x + 6 <= count; x += 4) {
        __m128i row[band];
        for (std::size_t r = 0; r < band; ++r) {
            const std::uint8_t *source = rows[r] + x * 3;
            if (x % 16 == 0) __builtin_prefetch(source + ahead);
            row[r] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i *>(source)), spread);
        }
        const __m128i a = _mm_unpacklo_epi32(row[0], row[1]), b = _mm_unpacklo_epi32(row[2], row[3]);
        const __m128i c = _mm_unpackhi_epi32(row[0], row[1]), d = _mm_unpackhi_epi32(row[2], row[3]);
        __m128i *target = reinterpret_cast<__m128i *>(staged + x * lanes);
        _mm_storeu_si128(target, _mm_unpacklo_epi64(a, b));
        _mm_storeu_si128(target + 1, _mm_unpackhi_epi64(a, b));
        _mm_storeu_si128(target + 2, _mm_unpacklo_epi64(c, d));
        _mm_storeu_si128(target + 3, _mm_unpackhi_epi64(c, d));
    }
    return x;
}
bool can_stage_packed() { return static_cast<bool>(__builtin_cpu_supports("ssse3")); }
#else
std::size_t stage_packed(const std::uint8_t *const *, std::size_t, std::int64_t, std::uint8_t *) { return 0; }
bool can_stage_packed() { return false; }
#endif

// Row `row` of the band: the pixels from `x` to `count` of `source`, each to its place among the lanes.
void stage_row(const Picture &image, const std::uint8_t *source, std::size_t x, std::size_t count, std::size_t row,
               std::uint8_t *staged) {
    std::uint8_t *target = staged + row * pixel;
    if (image.channel_stride == 1 && image.column_stride == 3)
        // Four bytes at a time; the last pixel is left out because the fourth byte may lie beyond the array.
        for (; x + 1 < count; ++x) std::memcpy(target + x * lanes, source + x * 3, pixel);
    for (; x < count; ++x)
        for (std::int64_t c = 0; c < 3; ++c)
            target[x * lanes + c] = source[static_cast<std::int64_t>(x) * image.column_stride + c * image.channel_stride];
}

}  // namespace

const char *instructions() { return chosen().load(std::memory_order_relaxed)->name; }

bool use_instructions(const char *name) {
    const Passes *passes = find_passes(name);
    if (passes) chosen().store(passes, std::memory_order_relaxed);
    return passes != nullptr;
}

std::int32_t Axis::first() const { return *std::min_element(start, start + length); }

std::int32_t Axis::last() const {
    std::int32_t end = 0;
    for (std::size_t i = 0; i < length; ++i) end = std::max(end, start[i] + count[i]);
    return end;
}

void resample(const Picture &image, const Axis &rows, const Axis &columns, const float *table, float *out) {
    const Passes &passes = *chosen().load(std::memory_order_relaxed);
    if (!passes.across) return resample_by_dots(image, rows, columns, table, out);
    const std::int32_t top = rows.first(), bottom = rows.last(), left = columns.first(), right = columns.last();
    const std::size_t height = static_cast<std::size_t>(bottom - top), width = static_cast<std::size_t>(right - left);
    const std::size_t bands = (height + band - 1) / band;
    const std::size_t stride = (columns.length * pixel + lanes - 1) / lanes * lanes;
    const bool packed = image.channel_stride == 1 && image.column_stride == 3 && can_stage_packed();
    const std::unique_ptr<std::uint8_t[]> staged(new std::uint8_t[width * lanes]());
    const std::unique_ptr<std::uint8_t[]> narrow(new std::uint8_t[bands * band * stride]());

    const std::uint8_t *corner = image.data + top * image.row_stride + left * image.column_stride;
    for (std::size_t b = 0; b < bands; ++b) {
        const std::uint8_t *sources[band];
        for (std::size_t row = 0; row < band; ++row) {
            const std::size_t y = std::min(b * band + row, height - 1);  // the last band repeats the last row
            sources[row] = corner + static_cast<std::int64_t>(y) * image.row_stride;
        }
        const std::int64_t ahead = b + 2 < bands ? static_cast<std::int64_t>(band) * image.row_stride : 0;
        const std::size_t done = packed ? stage_packed(sources, width, ahead, staged.get()) : 0;
        for (std::size_t row = 0; row < band; ++row) stage_row(image, sources[row], done, width, row, staged.get());
        passes.across(staged.get(), columns, left, narrow.get() + b * band * stride, stride);
    }

    const std::unique_ptr<std::uint8_t[]> small(new std::uint8_t[stride]);
    const std::size_t plane = rows.length * columns.length;
    for (std::size_t y = 0; y < rows.length; ++y) {
        const std::uint8_t *source = narrow.get() + static_cast<std::size_t>(rows.start[y] - top) * stride;
        passes.down(source, stride, rows.weight + y * rows.taps, rows.count[y], small.get());
        normalise(small.get(), table, columns.length, plane, out + y * columns.length);
    }
}

}  // namespace chiasm
