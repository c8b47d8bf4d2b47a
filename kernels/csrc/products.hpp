// Products of matrices in 8 bits on processors that have no instruction for them.
//
// AVX2 multiplies 32 bytes and adds the results up in pairs, in 16 bits, with one instruction; to take the pairs to 32 bits costs two
// more, in every step. Here they are added up in 16 bits over a group of steps: what overflows wraps around, and comes back as
// long as the sum of the group fits. Whether it does is known beforehand: the sum is at most the product of the norms of what is
// multiplied (Cauchy and Schwarz). Groups that might not fit go the long way, so that every sum is exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace chiasm {

// Calls work(data, index) once for every index below `total`, on whatever threads there are.
struct Spread {
    void (*call)(void *context, void (*work)(void *data, std::size_t index), std::size_t total, void *data);
    void *context;
};

// Where the rows of a matrix come from: `next` gives the next `count` of them, in order, for as long as it is not called again.
struct RowSource {
    const std::int8_t *(*next)(void *context, std::size_t count);
    void *context;
};

// int8 weights (depth, columns), a scale for each column and a bias, or none, in the order in which the processor reads them.
class Product {
  public:
    Product(const RowSource &weights, std::size_t depth, std::size_t columns, const float *scales, const float *bias);
    Product(const std::int8_t *weights, std::size_t depth, std::size_t columns, const float *scales, const float *bias);

    // floats (rows, depth) → (rows, columns): what ONNX's DynamicQuantizeLinear makes of them, times the weights, times both
    // scales, plus the bias.
    void of_floats(const float *values, std::size_t rows, float *out, const Spread &spread) const;
    // The same of what is in bytes already: (byte - zero) · scale.
    void of_bytes(const std::uint8_t *values, float scale, std::uint8_t zero, std::size_t rows, float *out, const Spread &spread) const;

    std::size_t depth() const { return depth_; }
    std::size_t columns() const { return columns_; }

  private:
    class Call;
    friend class Call;

    struct alignas(32) Line {
        std::int8_t bytes[32];
    };
    struct alignas(32) Sums {
        std::int16_t of_lane[16];
    };

    std::size_t depth_, columns_, groups_, panels_;
    bool paired_ = true;                  // no two weights whose products are added up in 16 bits go beyond them
    std::vector<Line> weights_;           // (panels, groups, steps, lines of a panel): 8 columns x 4 of the depth each
    std::vector<Sums> sums_;              // (panels, groups, lines of a panel): of the weights of a lane
    std::vector<std::uint32_t> squares_;  // (panels, groups): the largest sum of squares of a lane
    std::vector<float> scales_, bias_;    // of all columns of all panels
};

}  // namespace chiasm
