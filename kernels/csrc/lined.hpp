// Memory that begins where a line of the cache does: a register that lies across two lines takes as long as two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace chiasm {

template <typename Value>
struct Lined {
    using value_type = Value;
    static constexpr std::align_val_t line{64};

    Value *allocate(std::size_t count) { return static_cast<Value *>(::operator new(count * sizeof(Value), line)); }
    void deallocate(Value *values, std::size_t) { ::operator delete(values, line); }
    bool operator==(const Lined &) const { return true; }
    bool operator!=(const Lined &) const { return false; }
};

using LinedBytes = std::vector<std::uint8_t, Lined<std::uint8_t>>;

}  // namespace chiasm
