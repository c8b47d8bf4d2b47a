// The threads that calls share: every item once, from many callers, whatever fails, and in a forked child.
#include "workers.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "check.hpp"

namespace check {
namespace {

// Every item is worked on once, by a part that begins at a multiple of `unit`.
long once(std::size_t items, std::size_t unit, std::size_t threads) {
    std::vector<std::atomic<int>> touched(items);
    std::atomic<long> wrong{0};
    chiasm::share_out(items, unit, threads, [&](std::size_t worker, std::size_t first, std::size_t last) {
        if (worker >= threads || first % unit || (last % unit && last != items)) ++wrong;
        for (std::size_t i = first; i < last; ++i) ++touched[i];
    });
    for (const std::atomic<int> &times : touched) wrong += times != 1;
    return wrong;
}

// What one part throws comes to the caller, after all the others have ended.
long failing(std::size_t threads) {
    std::atomic<std::size_t> ended{0};
    try {
        chiasm::share_out(threads, 1, threads, [&](std::size_t worker, std::size_t, std::size_t) {
            ++ended;
            if (worker + 1 == threads) throw std::runtime_error("the last");
        });
    } catch (const std::runtime_error &) {
        return ended != threads;
    }
    return 1;
}

// A child has none of its parent's threads, and starts its own.
long forked() {
    const pid_t child = fork();
    if (child == 0) _exit(once(64, 1, 3) ? 1 : 0);
    int status = 1;
    return child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

}  // namespace

long workers_by_chance() {
    std::atomic<long> wrong{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 3; ++caller) {
        const auto items = static_cast<std::size_t>(upto(200)), unit = static_cast<std::size_t>(1 + upto(8));
        const auto threads = static_cast<std::size_t>(1 + upto(caller ? 4 : 12));
        callers.emplace_back([&wrong, items, unit, threads] { wrong += once(items, unit, threads) + failing(threads); });
    }
    for (std::thread &caller : callers) caller.join();
    return wrong + (upto(9) ? 0 : forked());
}

}  // namespace check
