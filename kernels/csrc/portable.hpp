// Arithmetic that the C++ compiler and nvcc both read is marked CHIASM_HD: the tests on a CPU then cover the formulas that a
// GPU runs. Such a header includes nothing but <cstdint> and <cstddef>, and calls no library.
#pragma once

#ifdef __CUDACC__
#define CHIASM_HD __host__ __device__
#else
#define CHIASM_HD
#endif
