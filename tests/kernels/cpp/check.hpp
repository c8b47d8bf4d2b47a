// What the C++ tests share: numbers by chance, a way to say that one is wrong, and the vectors that NumPy's reference wrote.
// One file a subject; each gives a function here and main.cpp calls it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace check {

inline std::mt19937 engine(1);

// A whole number from 0 to `top`.
inline int upto(int top) { return std::uniform_int_distribution<int>(0, top)(engine); }
inline float between(float low, float high) { return std::uniform_real_distribution<float>(low, high)(engine); }

// An array as numpy.ndarray.tobytes gives it.
struct Array {
    std::string dtype;
    std::vector<std::size_t> shape;
    std::vector<std::uint8_t> bytes;

    std::size_t size() const {
        std::size_t product = 1;
        for (const std::size_t length : shape) product *= length;
        return product;
    }
    // A copy of exactly the right size, so that the sanitizers see who reads beyond.
    template <typename Value>
    std::vector<Value> values() const {
        if (sizeof(Value) * size() != bytes.size()) throw std::runtime_error("golden array of another type: " + dtype);
        std::vector<Value> copy(size());
        if (!bytes.empty()) std::memcpy(copy.data(), bytes.data(), bytes.size());
        return copy;
    }
    // The only number of an array of one.
    template <typename Value>
    Value scalar() const {
        return values<Value>().at(0);
    }
};

// One call of an operation and what the reference answered, in the order of golden.py.
struct Case {
    std::string operation;
    std::vector<Array> arrays;
};

template <typename Value>
long differing(const std::vector<Value> &ours, const std::vector<Value> &expected) {
    if (ours.size() != expected.size()) return 1;
    long wrong = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) wrong += std::memcmp(&ours[i], &expected[i], sizeof(Value)) != 0;
    return wrong;
}

// Random calls against plain loops. The number of wrong values.
long image_by_chance();
long diffusion_by_chance();
long workers_by_chance();

// One call of the reference's, again. The number of wrong values; -1 when the operation is of another file.
long image_golden(const Case &known);
long diffusion_golden(const Case &known);
long search_golden(const Case &known);
long sound_golden(const Case &known);
long quantise_golden(const Case &known);
long products_golden(const Case &known);

}  // namespace check
