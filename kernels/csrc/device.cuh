// What every kernel for the GPU begins with. A kernel takes one struct by value; kernels/cuda/ has its twin in Python (ctypes),
// and tests/kernels/cuda runs the same bodies on a CPU (CHIASM_EMULATE), so nothing here may depend on being on a GPU.
#pragma once

#include <cstddef>

#include "numbers.hpp"

#ifdef CHIASM_EMULATE
#include "emulate.hpp"
#else
// extern "C", because the host finds a kernel by its name. `a` is what the body calls its arguments.
#define CHIASM_KERNEL(name, Arguments, threads) \
    extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Arguments a)
// The same, where registers count for more than threads: two blocks at once on a multiprocessor are enough.
#define CHIASM_WIDE_KERNEL(name, Arguments, threads) \
    extern "C" __global__ void __launch_bounds__(threads, 2) name(const __grid_constant__ Arguments a)
#define CHIASM_DEVICE __device__ __forceinline__
// Before a loop whose index must be known, because it indexes what is to stay in registers; and before one that is not worth it.
#define CHIASM_UNROLL _Pragma("unroll")
#define CHIASM_ROLL _Pragma("unroll 1")
// Shared memory of which the host says the size.
#define CHIASM_SHARED(name) extern __shared__ __align__(16) std::uint8_t name[]
#endif

namespace chiasm {

// Sixteen bytes: the most that a thread moves with one instruction. The address is a multiple of 16.
CHIASM_DEVICE uint4 load16(const void *source) { return *static_cast<const uint4 *>(source); }
// The same for what is read once: it does not push out of the cache what is read again.
CHIASM_DEVICE uint4 stream16(const void *source) { return __ldcs(static_cast<const uint4 *>(source)); }
CHIASM_DEVICE void store16(void *target, uint4 value) { *static_cast<uint4 *>(target) = value; }

CHIASM_DEVICE bool aligned16(const void *address) { return (reinterpret_cast<std::uintptr_t>(address) & 15U) == 0; }

CHIASM_DEVICE void spread(uint4 four, float *values) {
    values[0] = float_of(four.x);
    values[1] = float_of(four.y);
    values[2] = float_of(four.z);
    values[3] = float_of(four.w);
}

CHIASM_DEVICE uint4 gathered(const float *values) {
    return {bits_of(values[0]), bits_of(values[1]), bits_of(values[2]), bits_of(values[3])};
}

// A thread's number in the grid and the number of threads, for loops that cover any size with any grid.
CHIASM_DEVICE std::uint64_t grid_thread() { return static_cast<std::uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
CHIASM_DEVICE std::uint64_t grid_threads() { return static_cast<std::uint64_t>(gridDim.x) * blockDim.x; }

}  // namespace chiasm
