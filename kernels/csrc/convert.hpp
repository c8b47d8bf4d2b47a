// One frame to one or several tensors.
#pragma once

#include <vector>

#include "frame.hpp"
#include "passes.hpp"
#include "plan.hpp"

namespace chiasm {

// A plan, and the memory of plan->bytes() that its tensor goes to.
struct Output {
    const Plan *plan;
    void *out;
};

// Outputs that show the same picture, one or several, and the rows `from` to `to` of it.
struct Part {
    std::vector<Output> outputs;
    std::size_t from, to;

    const Plan &plan() const { return *outputs.front().plan; }
};

// Every plan is for frames of this size, and no tensor lies in the frame or in another. The answer is the same for every
// number of threads. Throws std::bad_alloc.
void convert(const Frame &frame, const std::vector<Output> &outputs, std::size_t threads);

// As many of `threads` as these outputs are worth: to wake one takes as long as to weigh some ten thousand pixels.
std::size_t threads_worth(const std::vector<Output> &outputs, std::size_t threads);

// What convert() shares out; each thread does its part of every output.
void convert_across(const Frame &frame, const Passes &passes, const std::vector<Part> &parts);
void convert_down(const Frame &frame, const Passes &passes, const Part &part);
void convert_sampled(const Frame &frame, const Passes &passes, const Part &part);

}  // namespace chiasm
