// Work on a range of items, shared out among threads that sleep between the calls: to start one takes longer than many a call
// lasts, and where other programs compute, a new thread may wait milliseconds for its turn, which one that wakes does not.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <vector>

namespace chiasm {

// Calls run(context, 0) on the caller's thread, and run(context, worker) on others as they wake, of `workers` in all. `run` takes
// work until none is left, and throws nothing: who wakes when the caller has come to an end is not waited for, and does not run.
// A thread may wake late because another program, or the threads of another library, which wait by spinning, have its processor.
//
// The threads belong to the process and hold nothing but themselves: any number of callers may come at once, a forked child
// starts its own, and at exit they end with the process. They take no signals.
void run_together(std::size_t workers, void (*run)(void *context, std::size_t worker), void *context);

// Calls work(worker, first, last) for pieces of [0, items), of `piece` items each but the last, on up to `threads` threads of which
// the caller is worker 0: whoever is free takes the next one. The first exception is thrown here, after all pieces are done.
template <typename Work>
void share_out(std::size_t items, std::size_t piece, std::size_t threads, const Work &work) {
    const std::size_t workers = std::min(threads, (items + piece - 1) / piece);
    if (workers <= 1) return work(std::size_t{0}, std::size_t{0}, items);
    std::atomic<std::size_t> next{0};
    std::vector<std::exception_ptr> failures(workers);
    auto take = [&](std::size_t worker) {
        for (std::size_t first; (first = next.fetch_add(piece, std::memory_order_relaxed)) < items;) try {
                work(worker, first, std::min(items, first + piece));
            } catch (...) {
                failures[worker] = std::current_exception();
            }
    };
    using Take = decltype(take);
    run_together(workers, [](void *context, std::size_t worker) { (*static_cast<Take *>(context))(worker); }, &take);
    for (const std::exception_ptr &failure : failures)
        if (failure) std::rethrow_exception(failure);
}

}  // namespace chiasm
