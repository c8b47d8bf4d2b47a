"""Diffusion: the arithmetic of a step, its noise, and the picture at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ._checks import described, float_array, output
from ._select import kernels
from .errors import KernelError
from .reference import normal_noise as _normal_noise

__all__ = ["denoise_step", "latent_to_image", "normal_noise"]

Floats = NDArray[np.float32]


def denoise_step(
    x: Floats, velocity: Floats, noise: Floats | None, t: float, t_next: float, *, out: Floats | None = None
) -> Floats:
    """One step of the few-step flow sampler: x0 = x − t·velocity, then (1 − t_next)·x0 + t_next·noise.

    All arrays float32 of one shape, C-contiguous; times in [0, 1]. `noise` may be None when `t_next` is 0. Every
    operation is rounded to float32 and none is fused, so that backends agree. `out` may be `x`.

    Raises:
        KernelError: arrays that differ in shape or dtype, a time outside [0, 1], no noise where some is needed.
    """
    float_array("x", x, None)
    float_array("velocity", velocity, x.shape)
    for name, time in (("t", t), ("t_next", t_next)):
        if not 0.0 <= time <= 1.0:
            raise KernelError(name, found=time, expected="a time in [0, 1]")
    if noise is None:
        if t_next != 0.0:
            raise KernelError("noise", found=None, expected="an array, because t_next is not 0")
        noise = np.zeros_like(x)
    float_array("noise", noise, x.shape)
    out = output(out, x.shape, np.float32)
    kernels.denoise_step(x, velocity, noise, float(t), float(t_next), out)
    return out


def latent_to_image(picture: Floats, *, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """float32 (3, H, W) in [-1, 1] → uint8 RGB (H, W, 3): (x + 1)·127.5, clamped to a byte, halves rounded to even.

    Raises:
        KernelError: wrong dtype or shape, or a NaN in the picture.
    """
    float_array("picture", picture, None)
    if picture.ndim != 3 or picture.shape[0] != 3:
        raise KernelError("picture", found=described(picture), expected="float32 of shape (3, H, W)")
    out = output(out, (picture.shape[1], picture.shape[2], 3), np.uint8)
    if not kernels.latent_to_image(picture, out):
        raise KernelError("picture", found="NaN", expected="finite numbers")
    return out


def normal_noise(seed: int, step: int, shape: Sequence[int]) -> Floats:
    """Standard normal float32 numbers of `shape`, the same on every backend for the same `seed` and `step`.

    Philox 4x64-10 and Box–Muller; `chiasm.kernels.reference.normal_noise` gives every bit of the recipe. The streams of
    two steps never overlap.

    Raises:
        KernelError: `seed` outside [0, 2^128), `step` outside [0, 2^64), a negative length in `shape`.
    """
    for name, value, bits in (("seed", seed, 128), ("step", step, 64)):
        if not isinstance(value, (int, np.integer)) or not 0 <= int(value) < 1 << bits:
            raise KernelError(name, found=value, expected=f"a whole number in [0, 2^{bits})")
    if any(length < 0 for length in shape):
        raise KernelError("shape", found=tuple(shape), expected="lengths of 0 or more")
    return _normal_noise(int(seed), int(step), tuple(int(length) for length in shape))
