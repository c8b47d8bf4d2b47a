// The threads that calls share: every item once, from many callers, whatever fails, and in a forked child.
#include "workers.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "check.hpp"

namespace check {
namespace {

// Every item is worked on once, in a piece that begins at a multiple of `piece`.
long once(std::size_t items, std::size_t piece, std::size_t threads) {
    std::vector<std::atomic<int>> touched(items);
    std::atomic<long> wrong{0};
    chiasm::share_out(items, piece, threads, [&](std::size_t worker, std::size_t first, std::size_t last) {
        if (worker >= threads || first % piece || (last % piece && last != items)) ++wrong;
        for (std::size_t i = first; i < last; ++i) ++touched[i];
    });
    for (const std::atomic<int> &times : touched) wrong += times != 1;
    return wrong;
}

// What one piece throws comes to the caller, after all the others have ended.
long failing(std::size_t pieces, std::size_t threads) {
    std::atomic<std::size_t> ended{0};
    try {
        chiasm::share_out(pieces, 1, threads, [&](std::size_t, std::size_t first, std::size_t last) {
            ended += last - first;
            if (first <= pieces / 2 && pieces / 2 < last) throw std::runtime_error("one in the middle");
        });
    } catch (const std::runtime_error &) {
        return ended != pieces;
    }
    return 1;
}

// Who has not begun when the caller comes to an end never begins: the caller does not wait for threads that wake late.
long recalled(std::size_t workers) {
    struct Context {
        std::atomic<bool> over{false};
        std::atomic<long> late{0}, inside{0};
    } context;
    chiasm::run_together(workers, [](void *given, std::size_t worker) {
        Context &shared = *static_cast<Context *>(given);
        ++shared.inside;
        if (shared.over) ++shared.late;
        for (int i = 0; worker && i < 100; ++i) std::this_thread::yield();
        --shared.inside;
    }, &context);
    context.over = true;
    std::this_thread::yield();
    return context.late + context.inside;
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
        const auto items = static_cast<std::size_t>(upto(200)), piece = static_cast<std::size_t>(1 + upto(8));
        const auto threads = static_cast<std::size_t>(1 + upto(caller ? 4 : 12));
        callers.emplace_back([&wrong, items, piece, threads] {
            wrong += once(items, piece, threads) + failing(1 + items, threads) + recalled(threads);
        });
    }
    for (std::thread &caller : callers) caller.join();
    return wrong + (upto(9) ? 0 : forked());
}

}  // namespace check
