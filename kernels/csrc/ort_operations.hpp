// Our operations of ONNX Runtime, in the domain "chiasm".
#pragma once

#include "ort_abi.hpp"

namespace chiasm {

const ort::Operation &product_of_floats();
const ort::Operation &product_of_bytes();
const ort::Operation &attention();

}  // namespace chiasm
