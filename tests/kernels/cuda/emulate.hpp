// Runs the bodies of the CUDA kernels on a CPU. Every thread of a block is a fibre with a stack of its own; barriers, warp
// shuffles and votes are meetings of fibres, so a block's threads talk to each other as they do on a GPU. What this cannot show: the
// code that nvcc makes, its speed, and races that need two threads at the same moment. What it can show besides wrong numbers:
// a misaligned access of sixteen bytes, and threads that wait at different barriers; both stop the launch.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

struct uint4 {
    std::uint32_t x, y, z, w;
};
struct uint2 {
    std::uint32_t x, y;
};
struct Dimensions {
    unsigned x = 1, y = 1, z = 1;
};

// One launch runs at a time.
inline Dimensions threadIdx, blockIdx, blockDim, gridDim;

#define __shared__ static
#define CHIASM_DEVICE inline
#define CHIASM_UNROLL
#define CHIASM_ROLL
#define CHIASM_SHARED(name) std::uint8_t *const name = emulation::dynamic_shared

namespace emulation {

constexpr unsigned warp = 32;
constexpr std::size_t stack_bytes = 128 * 1024;

struct Meeting {
    unsigned arrived = 0, generation = 0;
};

// A fibre is begun once, by a context, and lives on from block to block; from then on it is entered and left by jumps, which,
// unlike contexts, make no system call.
struct Fibre {
    ucontext_t context;
    jmp_buf place_left;
    std::unique_ptr<char[]> stack{new char[stack_bytes]};
    bool begun = false, done = true;
    Dimensions place;
};

struct State {
    jmp_buf scheduler;
    std::vector<std::unique_ptr<Fibre>> fibres;
    unsigned count = 0, current = 0;
    bool moved = false;  // whether a thread came further in this round
    const char *error = nullptr;
    Meeting block;
    Meeting warps[32];
    std::uint64_t lanes[32][warp];
    void (*body)(const void *) = nullptr;
    const void *arguments = nullptr;
};

inline State state;
alignas(16) inline unsigned char dynamic_shared[228 * 1024];

inline void fail(const char *words) {
    if (!state.error) state.error = words;
}

inline void give_way() {
    Fibre &self = *state.fibres[state.current];
    if (_setjmp(self.place_left) == 0) _longjmp(state.scheduler, 1);
    threadIdx = state.fibres[state.current]->place;
}

inline void meet(Meeting &meeting, unsigned expected) {
    const unsigned generation = meeting.generation;
    if (++meeting.arrived == expected) {
        meeting.arrived = 0;
        ++meeting.generation;
        state.moved = true;
        return;
    }
    while (meeting.generation == generation) give_way();
}

inline unsigned warp_size_of(unsigned index) { return std::min(warp, state.count - index * warp); }

// All lanes of a warp show a value and see those of the others.
inline std::uint64_t exchange(std::uint64_t value, unsigned from) {
    const unsigned index = state.current / warp, size = warp_size_of(index);
    state.lanes[index][state.current % warp] = value;
    meet(state.warps[index], size);
    const std::uint64_t seen = from < size ? state.lanes[index][from] : value;
    meet(state.warps[index], size);
    return seen;
}

template <typename Value>
Value exchanged(Value value, unsigned from) {
    std::uint64_t bits = 0;
    static_assert(sizeof value <= sizeof bits, "eight bytes at most");
    std::memcpy(&bits, &value, sizeof value);
    bits = exchange(bits, from);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline void begin() {
    for (;;) {
        threadIdx = state.fibres[state.current]->place;
        state.body(state.arguments);
        state.fibres[state.current]->done = true;
        state.moved = true;
        give_way();
    }
}

// On with a fibre, until it gives way.
inline void enter(Fibre &fibre) {
    if (_setjmp(state.scheduler) != 0) return;
    if (fibre.begun) _longjmp(fibre.place_left, 1);
    fibre.begun = true;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.get();
    fibre.context.uc_stack.ss_size = stack_bytes;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, &begin, 0);
    setcontext(&fibre.context);
}

// One block, to its end. False when its threads wait for each other in vain.
inline bool run_block(unsigned threads) {
    state.block = {};
    for (Meeting &meeting : state.warps) meeting = {};
    for (unsigned i = 0; i < threads; ++i) {
        Fibre &fibre = *state.fibres[i];
        fibre.done = false;
        fibre.place = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    }
    for (bool left = true; left;) {
        left = state.moved = false;
        for (unsigned i = 0; i < threads; ++i) {
            if (state.fibres[i]->done) continue;
            state.current = i;
            enter(*state.fibres[i]);
            left = left || !state.fibres[i]->done;
        }
        if (left && !state.moved) {
            fail("threads of a block wait at different barriers");
            state.fibres.clear();  // they stand where they cannot go on
            return false;
        }
    }
    return true;
}

struct Kernel {
    void (*body)(const void *);
    std::size_t arguments;
    unsigned threads;
};

inline std::map<std::string, Kernel> &kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

struct Registered {
    Registered(const char *name, Kernel kernel) { kernels()[name] = kernel; }
};

inline const void *checked16(const void *address) {
    if (reinterpret_cast<std::uintptr_t>(address) % 16) fail("sixteen bytes at an address that is no multiple of 16");
    return address;
}

}  // namespace emulation

#define CHIASM_KERNEL(name, Arguments, threads)                                                                            \
    static void name##_body(const Arguments &a);                                                                          \
    static void name##_entry(const void *a) { name##_body(*static_cast<const Arguments *>(a)); }                          \
    static const emulation::Registered name##_registered(#name, {&name##_entry, sizeof(Arguments), threads});             \
    static void name##_body(const Arguments &a)

#define CHIASM_WIDE_KERNEL(name, Arguments, threads) CHIASM_KERNEL(name, Arguments, threads)

inline void __syncthreads() { emulation::meet(emulation::state.block, emulation::state.count); }
inline void __syncwarp() { emulation::exchange(0, 0); }
template <typename Value>
Value __shfl_xor_sync(unsigned, Value value, unsigned mask) {
    return emulation::exchanged(value, (emulation::state.current % emulation::warp) ^ mask);
}
template <typename Value>
Value __shfl_sync(unsigned, Value value, unsigned lane) {
    return emulation::exchanged(value, lane);
}
template <typename Value>
Value __shfl_down_sync(unsigned, Value value, unsigned by) {
    return emulation::exchanged(value, emulation::state.current % emulation::warp + by);
}
inline unsigned __ballot_sync(unsigned, bool vote) {
    unsigned all = 0;
    for (unsigned lane = 0; lane < emulation::warp_size_of(emulation::state.current / emulation::warp); ++lane)
        all |= static_cast<unsigned>(emulation::exchanged<std::uint32_t>(vote, lane)) << lane;
    return all;
}
template <typename Value>
Value atomicAdd(Value *target, Value value) {
    const Value before = *target;
    *target = before + value;
    return before;
}
template <typename Value>
Value atomicMax(Value *target, Value value) {
    const Value before = *target;
    *target = std::max(before, value);
    return before;
}
template <typename Value>
Value __ldcs(const Value *source) {
    return *static_cast<const Value *>(sizeof(Value) == 16 ? emulation::checked16(source) : source);
}
template <typename Value>
Value __ldg(const Value *source) {
    return __ldcs(source);
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 4; ++i) sum += static_cast<std::int8_t>(a >> 8 * i) * static_cast<std::int8_t>(b >> 8 * i);
    return sum;
}
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const std::uint64_t bytes = static_cast<std::uint64_t>(high) << 32 | low;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(bytes >> (selector >> 4 * i & 7U) * 8 & 255U) << 8 * i;
    return result;
}

// Runs a kernel over a grid. Null, or what was wrong.
extern "C" const char *chiasm_emulate(const char *name, const unsigned *grid, const unsigned *block, unsigned shared,
                                      const void *arguments, std::size_t bytes) {
    using namespace emulation;
    const auto found = kernels().find(name);
    if (found == kernels().end()) return "no such kernel";
    const Kernel &kernel = found->second;
    if (bytes != kernel.arguments) return "the arguments have another size than the kernel's";
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const unsigned threads = block[0] * block[1] * block[2];
    if (!threads || threads > kernel.threads) return "the block has another size than the kernel was compiled for";
    if (!grid[0] || !grid[1] || !grid[2] || grid[1] > 65535 || grid[2] > 65535) return "no grid";
    if (shared > sizeof dynamic_shared) return "too much shared memory";
    while (state.fibres.size() < threads) state.fibres.emplace_back(new Fibre);
    state.count = threads;
    state.body = kernel.body;
    state.arguments = arguments;
    state.error = nullptr;
    for (unsigned z = 0; z < grid[2]; ++z)
        for (unsigned y = 0; y < grid[1]; ++y)
            for (unsigned x = 0; x < grid[0]; ++x) {
                blockIdx = {x, y, z};
                std::memset(dynamic_shared, 0xA5, shared);  // shared memory begins with anything
                if (!run_block(threads) || state.error) return state.error;
            }
    return nullptr;
}

extern "C" std::size_t chiasm_arguments(const char *name) {
    const auto found = emulation::kernels().find(name);
    return found == emulation::kernels().end() ? 0 : found->second.arguments;
}
