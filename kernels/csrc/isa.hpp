// The instruction set that the kernels use now. instructions.cpp keeps the choice.
#pragma once

#include <cstring>

namespace chiasm {

enum class Isa { plain, avx2, avx512, vnni };

const char *instructions();

inline Isa isa() {
    const char *name = instructions();
    if (!std::strcmp(name, "avx512-vnni")) return Isa::vnni;
    if (!std::strcmp(name, "avx512")) return Isa::avx512;
    return std::strcmp(name, "avx2") ? Isa::plain : Isa::avx2;
}

// Whether networks gain by our products of bytes: the processor has AVX2, nothing wider, and no instruction for such products. With any
// of these ONNX Runtime's own are as fast.
bool products_pay();

}  // namespace chiasm
