#include "convert.hpp"

#include <algorithm>

#include "emit.hpp"
#include "workers.hpp"

namespace chiasm {
namespace {

// Where the part of each thread ends, for an output whose rows are weighed across first: by the middle of the source rows that a
// target row weighs, so that the threads share no more source rows than they must, whatever the outputs show of the frame.
std::vector<std::size_t> ends_by_source(const Axis &rows, std::size_t top, std::size_t bottom, std::size_t threads) {
    std::vector<std::size_t> ends;
    std::size_t y = 0;
    for (std::size_t thread = 1; thread <= threads; ++thread) {
        const std::size_t border = 2 * (top + (bottom - top) * thread / threads);
        while (y < rows.length() && 2 * static_cast<std::size_t>(rows.start[y]) + static_cast<std::size_t>(rows.count[y]) <= border) ++y;
        if (thread == threads) y = rows.length();
        ends.push_back(y);
    }
    return ends;
}

std::vector<std::size_t> even_ends(std::size_t length, std::size_t threads) {
    std::vector<std::size_t> ends;
    for (std::size_t thread = 1; thread <= threads; ++thread) ends.push_back(length * thread / threads);
    return ends;
}

// Outputs of the same picture stand together: it is made once.
std::vector<std::vector<Output>> by_picture(const std::vector<Output> &outputs) {
    std::vector<std::vector<Output>> pictures;
    for (const Output &output : outputs) {
        const auto same = [&](const std::vector<Output> &picture) { return picture.front().plan->same_picture(*output.plan); };
        const auto found = std::find_if(pictures.begin(), pictures.end(), same);
        if (found == pictures.end())
            pictures.push_back({output});
        else
            found->push_back(output);
    }
    return pictures;
}

// Of the source, that the picture is made of.
std::size_t pixels_of(const Plan &plan) {
    if (plan.kind == Kind::sampled) return 2 * plan.rows_made() * plan.columns_made();
    const auto span = [](const Axis &axis) { return static_cast<std::size_t>(axis.end() - axis.lowest()); };
    return span(plan.rows.axis) * span(plan.columns.axis);
}

}  // namespace

std::size_t threads_worth(const std::vector<Output> &outputs, std::size_t threads) {
    constexpr std::size_t least = 32768;
    std::size_t pixels = 0;
    for (const Output &output : outputs) pixels += pixels_of(*output.plan);
    return std::max<std::size_t>(1, std::min(threads, pixels / least));
}

void convert(const Frame &frame, const std::vector<Output> &outputs, std::size_t threads) {
    const Passes &chosen = passes();
    const std::vector<std::vector<Output>> pictures = by_picture(outputs);
    std::size_t top = frame.height, bottom = 0, most = 1;
    for (const std::vector<Output> &picture : pictures) {
        const Plan &plan = *picture.front().plan;
        most = std::max(most, plan.rows_made());
        if (plan.kind != Kind::across) continue;
        top = std::min(top, static_cast<std::size_t>(plan.rows.axis.lowest()));
        bottom = std::max(bottom, static_cast<std::size_t>(plan.rows.axis.end()));
    }
    threads = std::max<std::size_t>(1, std::min(threads, most));
    std::vector<std::vector<std::size_t>> ends;
    for (const std::vector<Output> &picture : pictures) {
        const Plan &plan = *picture.front().plan;
        ends.push_back(plan.kind == Kind::across ? ends_by_source(plan.rows.axis, top, bottom, threads)
                                                 : even_ends(plan.rows_made(), threads));
    }
    for (const Output &output : outputs) emit_margins(*output.plan, output.out);
    share_out(threads, 1, threads, [&](std::size_t, std::size_t first, std::size_t last) {
        for (std::size_t thread = first; thread < last; ++thread) {
            std::vector<Part> across;
            for (std::size_t i = 0; i < pictures.size(); ++i) {
                const Part part{pictures[i], thread ? ends[i][thread - 1] : 0, ends[i][thread]};
                if (part.from == part.to) continue;
                if (part.plan().kind == Kind::across) across.push_back(part);
                if (part.plan().kind == Kind::down) convert_down(frame, chosen, part);
                if (part.plan().kind == Kind::sampled) convert_sampled(frame, chosen, part);
            }
            if (!across.empty()) convert_across(frame, chosen, across);
        }
    });
}

}  // namespace chiasm
