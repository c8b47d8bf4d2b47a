"""The kernels on a GPU: the names, arguments and errors of `chiasm.kernels`, for arrays that are there.

Arrays come as `__cuda_array_interface__` or DLPack (PyCUDA, CuPy, PyTorch), work goes on the caller's stream, outputs
are the caller's or new. It needs PyCUDA, a GPU, and nvcc when chiasm was installed; `why_not()` says what is missing,
and the functions raise `CudaError` then. Nothing here is imported by `chiasm.kernels`.
"""

from __future__ import annotations

from .arrays import DeviceArray
from .diffusion import denoise_step, latent_to_image, normal_noise
from .driver import why_not
from .image import image_to_tensor, image_to_tensors
from .protocol import CudaError
from .quantise import dequantize, quantize
from .search import Memory, similarity_topk
from .sound import log_mel

__all__ = [
    "CudaError",
    "DeviceArray",
    "Memory",
    "denoise_step",
    "dequantize",
    "image_to_tensor",
    "image_to_tensors",
    "latent_to_image",
    "log_mel",
    "normal_noise",
    "quantize",
    "similarity_topk",
    "why_not",
]
