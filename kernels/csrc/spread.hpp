// How an operation's pieces come to threads that somebody else has.
#pragma once

#include <cstddef>

namespace chiasm {

// Calls work(data, index) once for every index below `total`, on whatever threads there are.
struct Spread {
    void (*call)(void *context, void (*work)(void *data, std::size_t index), std::size_t total, void *data);
    void *context;
};

}  // namespace chiasm
