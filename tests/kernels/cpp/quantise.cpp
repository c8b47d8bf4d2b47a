// Floats to bytes and back.
#include <limits>

#include "check.hpp"
#include "quantise.hpp"

namespace check {
namespace {

template <typename Byte>
long again(const std::vector<Array> &arrays) {
    auto values = arrays[0].values<float>();
    const auto scales = arrays[2].values<float>();
    const auto zeros = arrays[3].values<std::int32_t>();
    const auto sizes = arrays[1].values<std::int64_t>();
    const chiasm::Extent extent{static_cast<std::size_t>(sizes[0]), static_cast<std::size_t>(sizes[1]), static_cast<std::size_t>(sizes[2])};
    std::vector<Byte> bytes(values.size());
    std::vector<float> back(values.size());
    long wrong = !chiasm::quantize(values.data(), extent, scales.data(), zeros.data(), bytes.data());
    wrong += differing(bytes, arrays[4].values<Byte>());
    chiasm::dequantize(bytes.data(), extent, scales.data(), zeros.data(), back.data());
    wrong += differing(back, arrays[5].values<float>());
    values[static_cast<std::size_t>(upto(static_cast<int>(values.size()) - 1))] = std::numeric_limits<float>::quiet_NaN();
    return wrong + chiasm::quantize(values.data(), extent, scales.data(), zeros.data(), bytes.data());
}

}  // namespace

long quantise_golden(const Case &known) {
    if (known.operation != "quantize") return -1;
    return known.arrays[4].dtype == "|i1" ? again<std::int8_t>(known.arrays) : again<std::uint8_t>(known.arrays);
}

}  // namespace check
