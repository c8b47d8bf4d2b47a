// The Python side of the kernels: chiasm.kernels._ext.
#include "bind.hpp"

NB_MODULE(_ext, module) {
    nanobind::set_leak_warnings(false);  // plans that a cache keeps live until the process ends, and are no leak
    module.doc() = "The kernels in C++; chiasm.kernels.reference is the same in NumPy.";
    module.attr("ABI") = 4;  // kernels/_select.py asks for this number
    chiasm::bind_image(module);
    chiasm::bind_diffusion(module);
    chiasm::bind_sound(module);
    chiasm::bind_search(module);
    chiasm::bind_quantise(module);
    chiasm::bind_readout(module);
    chiasm::bind_products(module);
}
