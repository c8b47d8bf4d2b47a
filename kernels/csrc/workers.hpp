// Work on a range of items, shared out among threads that sleep between the calls: to start one takes longer than many a call
// lasts, and where other programs compute, a new thread may wait milliseconds for its turn, which one that wakes does not.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <vector>

namespace chiasm {

// Calls run(context, part) for every part below `parts`, each on a thread of its own; the caller is one of them. Returns when all
// have ended. `run` throws nothing. Where no more threads can be started, the caller does their part.
//
// The threads belong to the process and hold nothing but themselves: any number of callers may come at once, a forked child
// starts its own, and at exit they end with the process. They take no signals.
void run_parts(std::size_t parts, void (*run)(void *context, std::size_t part), void *context);

// Calls work(worker, first, last) for parts of [0, items) that are multiples of `unit`, on `threads` threads of which the
// caller is one. The first exception of any of them is thrown here, after all have ended.
template <typename Work>
void share_out(std::size_t items, std::size_t unit, std::size_t threads, const Work &work) {
    const std::size_t units = (items + unit - 1) / unit;
    const std::size_t parts = std::max<std::size_t>(1, std::min(threads, units));
    if (parts == 1) return work(std::size_t{0}, std::size_t{0}, items);
    std::vector<std::exception_ptr> failures(parts);
    auto one = [&](std::size_t part) {
        const auto edge = [&](std::size_t at) { return std::min(items, units * at / parts * unit); };
        try {
            work(part, edge(part), edge(part + 1));
        } catch (...) {
            failures[part] = std::current_exception();
        }
    };
    using One = decltype(one);
    run_parts(parts, [](void *context, std::size_t part) { (*static_cast<One *>(context))(part); }, &one);
    for (const std::exception_ptr &failure : failures)
        if (failure) std::rethrow_exception(failure);
}

}  // namespace chiasm
