// The best k of scores that come one by one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace chiasm {

struct Hit {
    float score;
    std::int64_t index;
};

inline bool better(const Hit &a, const Hit &b) { return a.score > b.score || (a.score == b.score && a.index < b.index); }

// A score that is NaN counts as minus infinity.
class Heap {
  public:
    explicit Heap(std::size_t k) : k_(k) { hits_.reserve(k); }

    void offer(float score, std::size_t index) {
        // The bound is NaN until there are k: no comparison holds with it, nor with a score that is NaN.
        if (!(score < bound_)) take(score, static_cast<std::int64_t>(index));
    }

    const std::vector<Hit> &hits() const { return hits_; }

  private:
    std::size_t k_;
    float bound_ = std::numeric_limits<float>::quiet_NaN();
    std::vector<Hit> hits_;  // the worst in front once there are k

    void take(float score, std::int64_t index) {
        constexpr float least = -std::numeric_limits<float>::infinity();
        const Hit hit{score > least ? score : least, index};
        if (hits_.size() < k_) {
            hits_.push_back(hit);
            if (hits_.size() < k_) return;
            std::make_heap(hits_.begin(), hits_.end(), better);
        } else if (better(hit, hits_.front())) {
            std::pop_heap(hits_.begin(), hits_.end(), better);
            hits_.back() = hit;
            std::push_heap(hits_.begin(), hits_.end(), better);
        }
        bound_ = hits_.front().score;
    }
};

}  // namespace chiasm
