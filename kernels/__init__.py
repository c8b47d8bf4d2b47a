"""Fast operations, each with a slow twin: compiled C++ where a compiler was there at install, else NumPy; same results.

`BACKEND` says which is in use. Arguments are checked once for both; a bad one raises `KernelError`. One file a subject:
image, diffusion, sound, search, quantise, readout; in `reference/` the same in NumPy, in `csrc/` the same in C++.
`plan_steps` makes the coefficients of a diffusion's steps from the constants of its `Schedule`.
"""

from __future__ import annotations

from ._select import BACKEND, why_not
from .diffusion import denoise_step, latent_to_image, normal_noise
from .errors import KernelError
from .image import ImageConverter, image_to_tensor, image_to_tensors
from .quantise import dequantize, quantize
from .readout import Readout, readout
from .schedules import Schedule, check_schedule
from .search import Memory, similarity_topk
from .sound import LogMel, MelSpec, level_mel, log_mel
from .spec import ImageSpec
from .steps import Plan, Step, plan_steps

__all__ = [
    "BACKEND",
    "ImageConverter",
    "ImageSpec",
    "KernelError",
    "LogMel",
    "MelSpec",
    "Memory",
    "Plan",
    "Readout",
    "Schedule",
    "Step",
    "check_schedule",
    "denoise_step",
    "dequantize",
    "image_to_tensor",
    "image_to_tensors",
    "latent_to_image",
    "level_mel",
    "log_mel",
    "normal_noise",
    "plan_steps",
    "quantize",
    "readout",
    "similarity_topk",
    "why_not",
]
