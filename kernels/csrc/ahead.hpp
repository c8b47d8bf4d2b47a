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
        longest_ = std::max(longest_, length);
        streams_[count_++] = {first, length};
    }
    void clear() { *this = Ahead(); }

    // To be called `times` times while other work is done: each fetches its share, some lines of one stream and then of the next, so
    // that they do not wait for one another.
    void fetch(std::size_t times) {
        for (owed_ += count_ * ((longest_ + block - 1) / block); owed_ >= times && at_ < longest_; owed_ -= times) {
            const Stream &stream = streams_[next_];
            // What lies beyond the end of a stream is not read, whatever it is.
            if (at_ < stream.length)
                for (std::size_t i = 0; i < block; i += line) __builtin_prefetch(stream.first + at_ + i);
            if (++next_ == count_) next_ = 0, at_ += block;
        }
    }

  private:
    static constexpr std::size_t line = 64, block = 4 * line;
    struct Stream {
        const std::uint8_t *first;
        std::size_t length;
    };
    Stream streams_[most] = {};
    std::size_t count_ = 0, longest_ = 0, next_ = 0, at_ = 0, owed_ = 0;
};

}  // namespace chiasm
