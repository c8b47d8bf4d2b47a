// Frames to tensors by a weighed filter, the rows first: a block makes a tile of the target and reads each of its source pixels
// once. In rounds of eight source rows:
//
//   1. The rows come in, sixteen pixels a thread, and lie in shared memory as three planes of bytes; luma and differences
//      become colours on the way.
//   2. Across: a thread takes four rows of one channel and one column of the target. Weights are three signed digits to the base
//      256 (kernels/cuda/image.py makes them), so dp4a takes four pixels at a time and the sum is exact; a weight is read
//      once for the four rows. The four bytes that come out are one word of the narrow picture, in shared memory too.
//   3. When all rows are in: down, in the same way, for the narrow picture holds four rows to a word. A byte becomes an
//      element by the table.
//
// Memory: every source pixel under the target is read once, but for the rows and columns that neighbouring tiles share, which
// come from the second-level cache: of a 1080p NV12 frame 1.75 MB (the middle 1080 × 1080 at 1.5 bytes), and 0.3 MB are written
// as 224 × 224 float16. 64 frames: 131 MB, 45 µs at 2.9 TB/s. Arithmetic, of the same, with 5 groups of taps at the most: about
// 75 million pixels × 14 instructions to make colours of them, 46 million sums across × 23 and 10 million down × 30: 2.4e9, which
// is 84 µs at four warps a cycle on 132 multiprocessors at 1.7 GHz. So its bound on such a GPU is arithmetic, about half the
// copy bandwidth; the sampled filters (image_direct.cu) are bound by memory.
#include "image.cuh"

namespace chiasm {

constexpr std::uint32_t round_rows = 8, group = 4;

// How the rows lie, when sixteen pixels can be read at once: all addresses and strides are multiples of 16.
enum Packing : std::uint32_t { anyhow = 0, luma_and_pairs = 1, red_first = 2, blue_first = 3 };

struct TiledArguments {
    DeviceFrames frames;
    DeviceTarget target;
    // A target's first group of four source pixels, counted from the frame's corner, and its digits: (groups, 3, length).
    const std::int32_t *row_first, *row_quads, *column_first, *column_quads;
    std::uint32_t row_groups, column_groups;
    std::uint32_t tile_rows, tile_columns;  // of the target
    std::uint32_t staged_width;             // bytes of a staged row of one channel, a multiple of 16
    std::uint32_t narrow_groups;            // groups of four rows that a tile of the target needs at most
    std::uint32_t packed;                   // Packing
};

CHIASM_DEVICE std::int32_t dot4(std::uint32_t bytes, std::int32_t digits, std::int32_t sum) {
#ifdef __CUDA_ARCH__
    asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(bytes), "r"(digits));
    return sum;
#else
    for (int i = 0; i < 4; ++i)
        sum += static_cast<std::int32_t>(bytes >> 8 * i & 255U) * static_cast<std::int8_t>(digits >> 8 * i);
    return sum;
#endif
}

struct Digits3 {
    std::int32_t low, middle, high;
};

CHIASM_DEVICE std::uint32_t byte_of(const Digits3 &sums) {
    const std::uint32_t upper = (static_cast<std::uint32_t>(sums.high) << 8) + static_cast<std::uint32_t>(sums.middle);
    return weighed_byte(static_cast<std::int32_t>((upper << 8) + static_cast<std::uint32_t>(sums.low)));
}

CHIASM_DEVICE std::uint32_t nth_byte(const uint4 &words, std::uint32_t n) {
    const std::uint32_t word = n < 4 ? words.x : n < 8 ? words.y : n < 12 ? words.z : words.w;
    return word >> n % 4 * 8 & 255U;
}

CHIASM_DEVICE void add_byte(uint4 &words, std::uint32_t n, std::uint32_t byte) {
    std::uint32_t &word = n < 4 ? words.x : n < 8 ? words.y : n < 12 ? words.z : words.w;
    word |= byte << n % 4 * 8;
}

// Sixteen pixels of a row from `x` on, of which some may lie beyond the frame, as sixteen bytes of each channel.
CHIASM_DEVICE void fetch_pixels(const TiledArguments &a, std::uint32_t frame, std::uint32_t y, std::uint32_t x, uint4 *planes) {
    const DeviceFrames &f = a.frames;
    planes[0] = planes[1] = planes[2] = {0, 0, 0, 0};
    if (a.packed && x + 16 <= f.width) {
        const DevicePlane &lowest = f.planes[a.packed == blue_first ? 2 : 0];
        const std::uint8_t *row = lowest.data + frame * lowest.next + y * lowest.row_stride;
        if (a.packed == luma_and_pairs) {
            const uint4 luma = stream16(row + x);
            const uint4 both = load16(f.planes[1].data + frame * f.planes[1].next + y / f.tall * f.planes[1].row_stride + x);
            CHIASM_UNROLL
            for (std::uint32_t i = 0; i < 16; ++i) {
                const Rgb pixel = rgb_of(nth_byte(luma, i), nth_byte(both, i & ~1U), nth_byte(both, i | 1U), f.matrix);
                add_byte(planes[0], i, pixel.red);
                add_byte(planes[1], i, pixel.green);
                add_byte(planes[2], i, pixel.blue);
            }
            return;
        }
        const uint4 bytes[3] = {stream16(row + x * 3), stream16(row + x * 3 + 16), stream16(row + x * 3 + 32)};
        CHIASM_UNROLL
        for (std::uint32_t i = 0; i < 48; ++i) add_byte(planes[i % 3], i / 3, nth_byte(bytes[i / 16], i % 16));
        if (a.packed == blue_first) {
            const uint4 blue = planes[0];
            planes[0] = planes[2];
            planes[2] = blue;
        }
        return;
    }
    CHIASM_ROLL
    for (std::uint32_t i = 0; i < 16 && x + i < f.width; ++i) {
        const Rgb pixel = pixel_at(f, frame, y, x + i);
        for (std::uint32_t c = 0; c < 3; ++c) {
            const std::uint32_t byte = (c == 0 ? pixel.red : c == 1 ? pixel.green : pixel.blue) << i % 4 * 8;
            uint4 &plane = planes[c];
            plane.x |= i / 4 == 0 ? byte : 0;
            plane.y |= i / 4 == 1 ? byte : 0;
            plane.z |= i / 4 == 2 ? byte : 0;
            plane.w |= i / 4 == 3 ? byte : 0;
        }
    }
}

// `round_rows` rows from `top` on to staged[row][channel][staged_width]; rows beyond the frame repeat its last.
CHIASM_DEVICE void stage(const TiledArguments &a, std::uint32_t frame, std::uint32_t top, std::uint32_t left, std::uint32_t width,
                         std::uint8_t *staged) {
    const std::uint32_t chunks = (width + 15) / 16;
    for (std::uint32_t i = threadIdx.x; i < chunks * round_rows; i += blockDim.x) {
        const std::uint32_t row = i / chunks, at = i % chunks * 16, last = a.frames.height - 1;
        uint4 planes[3];
        fetch_pixels(a, frame, top + row < last ? top + row : last, left + at, planes);
        for (std::uint32_t c = 0; c < 3; ++c) store16(staged + (row * 3 + c) * a.staged_width + at, planes[c]);
    }
}

// One column of one channel in four staged rows → a word.
CHIASM_DEVICE std::uint32_t weigh_across(const TiledArguments &a, const std::uint8_t *staged, std::uint32_t first, std::uint32_t x) {
    Digits3 sums[group] = {};
    for (std::uint32_t g = 0; g < a.column_groups; ++g) {
        const std::int32_t *quads = a.column_quads + static_cast<std::uint64_t>(g) * 3 * a.target.columns + x;
        const std::int32_t low = __ldg(quads), middle = __ldg(quads + a.target.columns), high = __ldg(quads + 2 * a.target.columns);
        CHIASM_UNROLL
        for (std::uint32_t row = 0; row < group; ++row) {
            const auto *words = reinterpret_cast<const std::uint32_t *>(staged + row * 3 * a.staged_width);
            const std::uint32_t bytes = words[first + g];
            sums[row].low = dot4(bytes, low, sums[row].low);
            sums[row].middle = dot4(bytes, middle, sums[row].middle);
            sums[row].high = dot4(bytes, high, sums[row].high);
        }
    }
    return byte_of(sums[0]) | byte_of(sums[1]) << 8 | byte_of(sums[2]) << 16 | byte_of(sums[3]) << 24;
}

}  // namespace chiasm

CHIASM_KERNEL(chiasm_image_tiled, chiasm::TiledArguments, 256) {
    using namespace chiasm;
    CHIASM_SHARED(shared);
    const DeviceTarget &t = a.target;
    const std::uint32_t x0 = blockIdx.x * a.tile_columns, y0 = blockIdx.y * a.tile_rows;
    const std::uint32_t columns = t.columns - x0 < a.tile_columns ? t.columns - x0 : a.tile_columns;
    const std::uint32_t rows = t.rows - y0 < a.tile_rows ? t.rows - y0 : a.tile_rows;
    std::uint8_t *staged = shared;
    auto *narrow = reinterpret_cast<std::uint32_t *>(shared + round_rows * 3 * a.staged_width);
    // Both axes run upwards, so the first target reads the first source pixel and the last one the last.
    const std::uint32_t left = static_cast<std::uint32_t>(__ldg(a.column_first + x0)) * group / 16 * 16;
    const std::uint32_t right = (static_cast<std::uint32_t>(__ldg(a.column_first + x0 + columns - 1)) + a.column_groups) * group;
    const std::uint32_t first = static_cast<std::uint32_t>(__ldg(a.row_first + y0));
    const std::uint32_t groups = static_cast<std::uint32_t>(__ldg(a.row_first + y0 + rows - 1)) + a.row_groups - first;
    for (std::uint32_t frame = blockIdx.z; frame < a.frames.count; frame += gridDim.z) {
        for (std::uint32_t g = 0; g < groups; g += round_rows / group) {
            stage(a, frame, (first + g) * group, left, right - left, staged);
            __syncthreads();
            const std::uint32_t ready = groups - g < round_rows / group ? groups - g : round_rows / group;
            for (std::uint32_t i = threadIdx.x; i < ready * 3 * columns; i += blockDim.x) {
                const std::uint32_t x = i % columns, channel = i / columns % 3, part = i / columns / 3;
                const std::uint32_t begin = static_cast<std::uint32_t>(__ldg(a.column_first + x0 + x)) - left / group;
                narrow[((g + part) * 3 + channel) * a.tile_columns + x] =
                    weigh_across(a, staged + (part * group * 3 + channel) * a.staged_width, begin, x0 + x);
            }
            __syncthreads();
        }
        for (std::uint32_t i = threadIdx.x; i < rows * 3 * columns; i += blockDim.x) {
            const std::uint32_t x = i % columns, channel = i / columns % 3, y = i / columns / 3;
            const std::uint32_t begin = static_cast<std::uint32_t>(__ldg(a.row_first + y0 + y)) - first;
            Digits3 sums{0, 0, 0};
            for (std::uint32_t g = 0; g < a.row_groups; ++g) {
                const std::int32_t *quads = a.row_quads + static_cast<std::uint64_t>(g) * 3 * t.rows + y0 + y;
                const std::uint32_t bytes = narrow[((begin + g) * 3 + channel) * a.tile_columns + x];
                sums.low = dot4(bytes, __ldg(quads), sums.low);
                sums.middle = dot4(bytes, __ldg(quads + t.rows), sums.middle);
                sums.high = dot4(bytes, __ldg(quads + 2 * t.rows), sums.high);
            }
            put_byte(t, frame, channel, y0 + y, x0 + x, byte_of(sums));
        }
        __syncthreads();
    }
}
