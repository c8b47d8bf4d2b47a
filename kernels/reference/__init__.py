"""The kernels in NumPy: the truth that the compiled ones are held to, and what runs where no compiler was.

Arguments are checked by `chiasm.kernels`; these functions trust them and write into `out`.
"""

from __future__ import annotations

from .diffusion import denoise_step, latent_to_image, normal_noise
from .image import ImagePlan, image_to_tensors

__all__ = ["ImagePlan", "denoise_step", "image_to_tensors", "latent_to_image", "normal_noise"]
