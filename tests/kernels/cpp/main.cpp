// The kernels in C++ on arrays of exactly the right size: random calls against plain loops, in every instruction set of this
// processor, then the calls in a file that golden.py wrote, against what NumPy's reference answered. test_sanitize.py builds
// this with the address and undefined-behaviour sanitizers, `make test-aarch64` for another processor.
#include <cstdio>
#include <fstream>

#include "check.hpp"
#include "instructions.hpp"

namespace {

std::uint32_t number(std::istream &file) {
    std::uint32_t value = 0;
    file.read(reinterpret_cast<char *>(&value), sizeof value);
    return value;
}

std::string word(std::istream &file) {
    std::string text(number(file), ' ');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    return text;
}

std::vector<check::Case> read_golden(const char *path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(std::string("cannot read ") + path);
    std::vector<check::Case> cases(number(file));
    for (check::Case &each : cases) {
        each.operation = word(file);
        each.arrays.resize(number(file));
        for (check::Array &array : each.arrays) {
            array.dtype = word(file);
            array.shape.resize(number(file));
            for (std::size_t &length : array.shape) length = number(file);
            array.bytes.resize(number(file));
            file.read(reinterpret_cast<char *>(array.bytes.data()), static_cast<std::streamsize>(array.bytes.size()));
        }
    }
    if (!file) throw std::runtime_error(std::string("cut short: ") + path);
    return cases;
}

long again(const check::Case &known) {
    for (const auto run : {check::image_golden, check::diffusion_golden, check::search_golden, check::sound_golden, check::quantise_golden,
                           check::products_golden}) {
        const long wrong = run(known);
        if (wrong > 0) std::printf("%s: %ld wrong\n", known.operation.c_str(), wrong);
        if (wrong >= 0) return wrong;
    }
    std::printf("no such operation: %s\n", known.operation.c_str());
    return 1;
}

}  // namespace

int main(int count, char **words) {
    const int rounds = count > 2 ? std::stoi(words[2]) : 150;
    const std::vector<check::Case> golden = count > 1 ? read_golden(words[1]) : std::vector<check::Case>{};
    long wrong = 0;
    for (int i = 0; i < rounds; ++i) wrong += check::workers_by_chance();
    if (wrong) std::printf("workers: %ld wrong\n", wrong);
    for (const char *name : {"plain", "avx2", "avx512", "avx512-vnni"}) {
        if (!chiasm::use_instructions(name)) continue;
        std::printf("%s\n", chiasm::instructions());
        for (int i = 0; i < rounds; ++i) wrong += check::image_by_chance() + check::diffusion_by_chance();
        for (const check::Case &known : golden) wrong += again(known);
    }
    std::printf("%zu golden calls, %ld wrong\n", golden.size(), wrong);
    return wrong != 0;
}
