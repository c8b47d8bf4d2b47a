// Work on a range of items, shared out among threads that live as long as the call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace chiasm {

// Calls work(worker, first, last) for parts of [0, items) that are multiples of `unit`, on `threads` threads of which the
// caller is one. The first exception of any of them is thrown here, after all have ended. Where no more threads can be
// started, the caller does their part.
template <typename Work>
void share_out(std::size_t items, std::size_t unit, std::size_t threads, const Work &work) {
    const std::size_t units = (items + unit - 1) / unit;
    const std::size_t parts = std::max<std::size_t>(1, std::min(threads, units));
    const auto edge = [&](std::size_t part) { return std::min(items, units * part / parts * unit); };
    if (parts == 1) return work(std::size_t{0}, std::size_t{0}, items);
    std::vector<std::exception_ptr> failures(parts);
    const auto run = [&](std::size_t part) {
        try {
            work(part, edge(part), edge(part + 1));
        } catch (...) {
            failures[part] = std::current_exception();
        }
    };
    std::vector<std::thread> started;
    started.reserve(parts);
    std::size_t next = 1;
    try {
        for (; next < parts; ++next) started.emplace_back(run, next);
    } catch (const std::system_error &) {
        for (std::size_t part = next; part < parts; ++part) run(part);
    }
    run(0);
    for (std::thread &thread : started) thread.join();
    for (const std::exception_ptr &failure : failures)
        if (failure) std::rethrow_exception(failure);
}

}  // namespace chiasm
