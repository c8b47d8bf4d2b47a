// The factors of a Fourier transform and the roots of unity between its passes; fft.inc does the passes.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace chiasm {

// `size` is rest · together, of which the second is 2, 4 or 8 where the first is odd and above 1, and else 1. Without a common factor
// the two need no turns between them: x[p·rest + q·together] lies at (q, p) and is transformed along q, then along p, after which X[k]
// lies at (k mod rest, k mod together) (I. J. Good, "The interaction algorithm and practical Fourier analysis", 1958).
struct Factors {
    std::size_t size, together = 1;
    std::vector<std::size_t> radices;      // of the rest
    std::vector<double> twiddles;          // for each pass (groups, radix - 1, 2): exp(-2πi·p·j / (groups·radix))
    std::vector<double> turns;             // (size / 2 + 1, 2): -i·exp(-πi·k / size), for a real signal of twice the size
    std::vector<std::size_t> from, found;  // where x[n] and X[k] lie

    // `size` complex numbers. When it has other prime factors than 2, 3 and 5, `complete` is false.
    explicit Factors(std::size_t length) : size(length) {
        constexpr double pi = 3.14159265358979323846;
        std::size_t odd = size;
        for (const std::size_t radix : {5, 3})
            for (; odd && odd % radix == 0; odd /= radix) radices.push_back(radix);
        std::size_t twos = 0;
        for (; odd && odd % 2 == 0; odd /= 2) ++twos;
        complete_ = odd == 1;
        if (!complete_) return;
        if (!radices.empty() && twos <= 3)
            together = std::size_t{1} << twos;
        else
            add_twos(twos);
        for (const std::size_t radix : radices) {
            const std::size_t groups = rest_of(radix);
            for (std::size_t p = 0; p < groups; ++p)
                for (std::size_t j = 1; j < radix; ++j) add(twiddles, -2.0 * pi * static_cast<double>(p * j) / static_cast<double>(groups * radix));
        }
        for (std::size_t k = 0; k <= size / 2; ++k)
            add(turns, -pi * static_cast<double>(k) / static_cast<double>(size) - pi / 2);
        place();
    }

    bool complete() const { return complete_; }

  private:
    std::size_t done_ = 1;
    bool complete_ = false;

    std::size_t rest_of(std::size_t radix) { return size / together / (done_ *= radix); }

    // Few passes, the widest last, where nothing is turned. A factor of 2 that is left over makes 4·4 of 8.
    void add_twos(std::size_t twos) {
        if (twos == 1) radices.push_back(2);
        for (std::size_t fours = twos % 3 == 2 ? 1 : twos % 3 == 1 && twos > 1 ? 2 : 0; fours; --fours, twos -= 2) radices.push_back(4);
        for (; twos >= 3; twos -= 3) radices.push_back(8);
    }

    void place() {
        const std::size_t rest = size / together;
        from.resize(size);
        for (std::size_t q = 0; q < rest; ++q)
            for (std::size_t p = 0; p < together; ++p) from[(p * rest + q * together) % size] = q * together + p;
        for (std::size_t k = 0; k < size; ++k) found.push_back(k % rest * together + k % together);
    }

    static void add(std::vector<double> &values, double angle) {
        values.push_back(std::cos(angle));
        values.push_back(std::sin(angle));
    }
};

}  // namespace chiasm
