// The factors of a Fourier transform and the roots of unity between its passes; fft.inc does the passes.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace chiasm {

struct Factors {
    std::size_t size;
    std::vector<std::size_t> radices;
    std::vector<double> twiddles;  // for each pass (groups, radix - 1, 2): exp(-2πi·p·j / (groups·radix))
    std::vector<double> turns;     // (size / 2 + 1, 2): -i·exp(-πi·k / size), for a real signal of twice the size

    // `size` complex numbers. When it has other prime factors than 2, 3 and 5, `complete` is false.
    explicit Factors(std::size_t length) : size(length) {
        constexpr double pi = 3.14159265358979323846;
        std::size_t rest = size;
        for (const std::size_t radix : {5, 3})
            for (; rest && rest % radix == 0; rest /= radix) radices.push_back(radix);
        // Few passes, the widest last, where nothing is turned. A factor of 2 that is left over makes 4·4 of 8.
        std::size_t twos = 0;
        for (; rest && rest % 2 == 0; rest /= 2) ++twos;
        if (twos == 1) radices.push_back(2);
        for (std::size_t fours = twos % 3 == 2 ? 1 : twos % 3 == 1 && twos > 1 ? 2 : 0; fours; --fours, twos -= 2) radices.push_back(4);
        for (; twos >= 3; twos -= 3) radices.push_back(8);
        complete_ = rest == 1;
        if (!complete_) return;
        for (const std::size_t radix : radices) {
            const std::size_t groups = rest_of(radix);
            for (std::size_t p = 0; p < groups; ++p)
                for (std::size_t j = 1; j < radix; ++j) add(twiddles, -2.0 * pi * static_cast<double>(p * j) / static_cast<double>(groups * radix));
        }
        for (std::size_t k = 0; k <= size / 2; ++k)
            add(turns, -pi * static_cast<double>(k) / static_cast<double>(size) - pi / 2);
    }

    bool complete() const { return complete_; }

  private:
    std::size_t done_ = 1;
    bool complete_ = false;

    std::size_t rest_of(std::size_t radix) { return size / (done_ *= radix); }

    static void add(std::vector<double> &values, double angle) {
        values.push_back(std::cos(angle));
        values.push_back(std::sin(angle));
    }
};

}  // namespace chiasm
