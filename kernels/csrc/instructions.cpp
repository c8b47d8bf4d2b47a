// Which instruction set the kernels use: the widest that the processor has, until tests ask for another.
#include "instructions.hpp"

#include <atomic>
#include <cstring>

#include "isa.hpp"
#include "passes.hpp"

#ifdef __x86_64__
#include <cpuid.h>
#endif

namespace chiasm {
namespace {

struct Set {
    const char *name;
    bool supported;
    const Passes *passes;
};

// The widest first. What AVX-512 without VNNI has more than AVX2 is of no use to pictures.
const Set *all_sets() {
    static const Set sets[] = {
#ifdef __x86_64__
        {"avx512-vnni",
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vnni"),
         vnni_passes()},
        {"avx512", __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"),
         avx2_passes()},
        {"avx2", static_cast<bool>(__builtin_cpu_supports("avx2")), avx2_passes()},
#endif
        {"plain", true, &plain_passes()},
    };
    return sets;
}

const Set *find(const char *name) {
    for (const Set *set = all_sets();; ++set) {
        if (set->supported && (!name || !std::strcmp(name, set->name))) return set;
        if (!std::strcmp(set->name, "plain")) return nullptr;
    }
}

std::atomic<const Set *> &chosen() {
    static std::atomic<const Set *> set{find(nullptr)};
    return set;
}

}  // namespace

const char *instructions() { return chosen().load(std::memory_order_relaxed)->name; }

bool use_instructions(const char *name) {
    const Set *set = find(name);
    if (set) chosen().store(set, std::memory_order_relaxed);
    return set != nullptr;
}

bool products_pay() {
#ifdef __x86_64__
    unsigned a = 0, b = 0, c = 0, d = 0;
    const bool vnni = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);  // AVX-VNNI, which has no name in older compilers
    return isa() == Isa::avx2 && !vnni;
#else
    return false;
#endif
}

const Passes &passes() { return *chosen().load(std::memory_order_relaxed)->passes; }

}  // namespace chiasm
