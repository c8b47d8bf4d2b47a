// Products of bytes: of floats with a bias, of bytes without, on one thread and out of order.
#include "products.hpp"

#include "check.hpp"

namespace check {
namespace {

void backwards(void *, void (*work)(void *, std::size_t), std::size_t total, void *data) {
    for (std::size_t i = total; i-- > 0;) work(data, i);
}

}  // namespace

long products_golden(const Case &known) {
    if (known.operation != "product") return -1;
    const std::vector<Array> &arrays = known.arrays;
    const auto weights = arrays[0].values<std::int8_t>();
    const auto scales = arrays[1].values<float>(), bias = arrays[2].values<float>(), floats = arrays[3].values<float>();
    const auto bytes = arrays[4].values<std::uint8_t>();
    const std::size_t depth = arrays[0].shape[0], columns = arrays[0].shape[1], rows = arrays[3].shape[0];
    const chiasm::Spread spread{backwards, nullptr};
    std::vector<float> out(rows * columns);
    chiasm::Product(weights.data(), depth, columns, scales.data(), bias.data()).of_floats(floats.data(), rows, out.data(), spread);
    const long wrong = differing(out, arrays[7].values<float>());
    const chiasm::Product plain(weights.data(), depth, columns, scales.data(), nullptr);
    plain.of_bytes(bytes.data(), arrays[5].scalar<float>(), arrays[6].scalar<std::uint8_t>(), rows, out.data(), spread);
    return wrong + differing(out, arrays[8].values<float>());
}

}  // namespace check
