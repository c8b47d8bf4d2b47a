#pragma once

namespace chiasm {

// The instruction set in use: "avx512-vnni", "avx512", "avx2" or "plain".
const char *instructions();
// False when the name is unknown or the processor does not have it; null asks for the best.
bool use_instructions(const char *name);

}  // namespace chiasm
