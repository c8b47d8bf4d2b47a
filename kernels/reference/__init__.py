"""The kernels in NumPy: the truth that the compiled ones are held to, and what runs where no compiler was.

Arguments are checked by `chiasm.kernels`; these functions trust them and write into `out`.
"""

from __future__ import annotations

from .diffusion import denoise_step, denoise_step_fresh, latent_to_image, normal_noise
from .image import ImagePlan, image_to_tensors
from .products import Product, products_pay
from .quantise import dequantize, quantize
from .readout import Readout
from .search import topk_bytes, topk_floats
from .sound import Mel, mel_frames, mel_level

__all__ = [
    "ImagePlan",
    "Mel",
    "Product",
    "Readout",
    "denoise_step",
    "denoise_step_fresh",
    "dequantize",
    "image_to_tensors",
    "latent_to_image",
    "mel_frames",
    "mel_level",
    "normal_noise",
    "products_pay",
    "quantize",
    "topk_bytes",
    "topk_floats",
]
