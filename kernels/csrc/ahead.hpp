// Memory that is read next and fetched meanwhile: a frame is larger than the cache that it comes to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace chiasm {

class Ahead {
  public:
    static constexpr std::size_t most = 24;

    // `length` bytes from `first` on.
    void add(const std::uint8_t *first, std::size_t length) {
        if (count_ == most) return;
        lines_ = std::max(lines_, length / line + 1);
        streams_[count_++] = {first, length};
    }
    void clear() { *this = Ahead(); }

    // To be called `times` times while other work is done: each fetches its share, so that they do not wait for one another.
    void fetch(std::size_t times) {
        for (owed_ += lines_; owed_ >= times && next_ < lines_; owed_ -= times, ++next_)
            for (std::size_t i = 0; i < count_; ++i)
                if (next_ * line < streams_[i].length) __builtin_prefetch(streams_[i].first + next_ * line);
    }

  private:
    static constexpr std::size_t line = 64;
    struct Stream {
        const std::uint8_t *first;
        std::size_t length;
    };
    Stream streams_[most] = {};
    std::size_t count_ = 0, lines_ = 0, next_ = 0, owed_ = 0;
};

}  // namespace chiasm
