// What a search needs besides the rows: the factors that make dot products of rows cosines, and queries of length 1, as floats
// or as 16-bit whole numbers. Sums of squares are float64, a warp a row.
#include "device.cuh"

namespace chiasm {

enum Kind : std::uint32_t { float32_rows = 0, float16_rows = 1, int8_rows = 2 };

struct FactorArguments {
    const void *rows;
    const float *norms, *scales;  // each may be null
    float *factors;
    std::uint64_t count, width;
    std::uint32_t kind;
};

struct QueryArguments {
    const float *queries;  // (count, width)
    void *out;             // (rounded count, stride): float32 or int16; zeros beyond
    float *scales;         // (rounded count,), of 16-bit queries; null for floats
    std::uint32_t *bad;    // becomes 1 when a number is NaN or infinite
    std::uint32_t count, rounded, width, stride, unit;
};

CHIASM_DEVICE double value_at(const void *rows, std::uint32_t kind, std::uint64_t at) {
    if (kind == float32_rows) return static_cast<const float *>(rows)[at];
    if (kind == float16_rows) return float_of_half(static_cast<const std::uint16_t *>(rows)[at]);
    return static_cast<const std::int8_t *>(rows)[at];
}

CHIASM_DEVICE double warp_sum(double sum) {
    for (unsigned apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xFFFFFFFFU, sum, apart);
    return sum;
}

}  // namespace chiasm

CHIASM_KERNEL(chiasm_cosine_factors, chiasm::FactorArguments, 256) {
    using namespace chiasm;
    const std::uint64_t warps = grid_threads() / 32, lane = threadIdx.x % 32;
    for (std::uint64_t row = grid_thread() / 32; row < a.count; row += warps) {
        float norm = 0.0F;
        if (a.norms) {
            norm = a.norms[row];
        } else {
            double sum = 0.0;
            for (std::uint64_t i = lane; i < a.width; i += 32) {
                const double value = value_at(a.rows, a.kind, row * a.width + i);
                sum += value * value;
            }
            sum = sqrt(warp_sum(sum));
            norm = static_cast<float>(a.scales ? sum * fabs(static_cast<double>(a.scales[row])) : sum);
        }
        if (lane == 0) a.factors[row] = norm > 0.0F ? (a.scales ? a.scales[row] : 1.0F) / norm : 0.0F;
    }
}

// A warp a query. `unit`: to length 1 first, rounded to float32; one of zeros stays.
CHIASM_WIDE_KERNEL(chiasm_prepare_queries, chiasm::QueryArguments, 256) {
    using namespace chiasm;
    const std::uint32_t warps = static_cast<std::uint32_t>(grid_threads() / 32), lane = threadIdx.x % 32;
    for (std::uint32_t q = static_cast<std::uint32_t>(grid_thread() / 32); q < a.rounded; q += warps) {
        const float *query = a.queries + static_cast<std::uint64_t>(q) * a.width;
        const std::uint32_t width = q < a.count ? a.width : 0;
        double squares = 0.0;
        bool bad = false;
        for (std::uint32_t i = lane; i < width; i += 32) {
            squares += static_cast<double>(query[i]) * query[i];
            bad = bad || query[i] - query[i] != 0.0F;
        }
        if (bad) *a.bad = 1;
        const double norm = sqrt(warp_sum(squares)), divisor = a.unit && norm > 0.0 ? norm : 1.0;
        double largest = 0.0;
        for (std::uint32_t i = lane; i < width; i += 32)
            largest = fmax(largest, fabs(static_cast<double>(static_cast<float>(query[i] / divisor))));
        for (unsigned apart = 16; apart > 0; apart /= 2) largest = fmax(largest, __shfl_xor_sync(0xFFFFFFFFU, largest, apart));
        const double scale = largest / 32767.0, step = scale > 0.0 ? scale : 1.0;
        for (std::uint32_t i = lane; i < a.stride; i += 32) {
            const float value = i < width ? static_cast<float>(query[i] / divisor) : 0.0F;
            const std::uint64_t at = static_cast<std::uint64_t>(q) * a.stride + i;
            if (a.scales)
                static_cast<std::int16_t *>(a.out)[at] = static_cast<std::int16_t>(rint(static_cast<double>(value) / step));
            else
                static_cast<float *>(a.out)[at] = value;
        }
        if (a.scales && lane == 0) a.scales[q] = static_cast<float>(scale);
    }
}
