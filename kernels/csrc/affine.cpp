#include "affine.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace chiasm {
namespace {

constexpr std::size_t bytes = 256;
constexpr double infinity = std::numeric_limits<double>::infinity();

// Half way to the next number of float32 in a direction.
double border(float value, float towards) {
    return (static_cast<double>(value) + static_cast<double>(std::nextafter(value, towards))) / 2;
}

// What an offset must be at least and at most, with a slope, so that every number is rounded to its element; and the bytes that say so.
struct Bounds {
    double least = -infinity, most = infinity;
    std::size_t by_least = 0, by_most = 0;

    Bounds(const double *lowest, const double *highest, double slope) {
        for (std::size_t byte = 0; byte < bytes; ++byte) {
            const double low = lowest[byte] - slope * static_cast<double>(byte), high = highest[byte] - slope * static_cast<double>(byte);
            if (low > least) least = low, by_least = byte;
            if (high < most) most = high, by_most = byte;
        }
    }
};

bool gives(const Line &line, const float *elements) {
    for (std::size_t byte = 0; byte < bytes; ++byte) {
        const float made = line.at(static_cast<std::uint8_t>(byte));
        if (std::memcmp(&made, elements + byte, sizeof made) != 0) return false;
    }
    return true;
}

// The room between the bounds is a concave function of the slope: halving finds where there is some, if there is.
bool find(const float *elements, Line &line) {
    double lowest[bytes], highest[bytes];
    for (std::size_t byte = 0; byte < bytes; ++byte) {
        if (!std::isfinite(elements[byte])) return false;
        lowest[byte] = border(elements[byte], -std::numeric_limits<float>::infinity());
        highest[byte] = border(elements[byte], std::numeric_limits<float>::infinity());
    }
    line = {(static_cast<double>(elements[bytes - 1]) - static_cast<double>(elements[0])) / (bytes - 1), elements[0]};
    if (gives(line, elements)) return true;  // a line in float32 as well
    double flat = (lowest[bytes - 1] - highest[0]) / (bytes - 1), steep = (highest[bytes - 1] - lowest[0]) / (bytes - 1);
    for (int halved = 0; halved < 80; ++halved) {
        line.slope = (flat + steep) / 2;
        const Bounds bounds(lowest, highest, line.slope);
        line.offset = (bounds.least + bounds.most) / 2;
        if (bounds.least < bounds.most && gives(line, elements)) return true;
        (bounds.by_least < bounds.by_most ? steep : flat) = line.slope;
    }
    return false;
}

}  // namespace

std::vector<Line> lines_of(const std::vector<std::uint8_t> &table, std::size_t item) {
    std::vector<Line> lines(3);
    if (item != sizeof(float) || table.size() != lines.size() * bytes * sizeof(float)) return {};
    for (std::size_t channel = 0; channel < lines.size(); ++channel) {
        float elements[bytes];
        std::memcpy(elements, table.data() + channel * sizeof elements, sizeof elements);
        if (!find(elements, lines[channel])) return {};
    }
    return lines;
}

}  // namespace chiasm
