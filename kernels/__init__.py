"""Fast operations, each with a slow twin: compiled C++ where a compiler was there at install, else NumPy; same results.

`BACKEND` says which is in use. Arguments are checked here, once for both; a bad one raises `KernelError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import reference
from ._select import BACKEND, compiled, why_not
from .errors import KernelError
from .plan import normalisation_table, plan_resize
from .reference import normal_noise as _normal_noise

__all__ = [
    "BACKEND",
    "KernelError",
    "denoise_step",
    "image_to_tensor",
    "latent_to_image",
    "normal_noise",
    "why_not",
]

_kernels = compiled or reference
Floats = NDArray[np.float32]


def image_to_tensor(
    image: NDArray[np.uint8],
    height: int,
    width: int,
    *,
    filter: str = "bilinear",
    resize: str = "shortest-edge",
    crop: str = "centre",
    edge: int | None = None,
    scale: float = 1.0 / 255.0,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    out: Floats | None = None,
) -> Floats:
    """uint8 RGB (H, W, 3), any strides → resize → centre crop → (x·scale − mean) / std → float32 (3, height, width).

    `filter`: area, bilinear, bicubic or lanczos, antialiased: Pillow's box, bilinear, bicubic and lanczos bit for bit,
    across each row first, rounded to bytes, then down the columns. (That was Pillow's only order for years; its newest
    versions swap it where the height shrinks much more than the width.) Only source pixels that matter are read.
    `resize`: "exact" scales to (height, width); "shortest-edge" keeps the proportions and scales to cover (height,
    width), or until the shorter edge is `edge`. The longer edge and the crop's corner round down.
    `out`: where to write, C-contiguous.

    Raises:
        KernelError: wrong dtype or shape, an unknown word, a scaled picture that the crop does not fit in.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise KernelError("image", found=_describe(image), expected="uint8 RGB of shape (H, W, 3)")
    if image.size == 0:
        raise KernelError("image", found=_describe(image), expected="at least one pixel")
    source = (image.shape[0], image.shape[1])
    plan = plan_resize(source, (int(height), int(width)), filter, resize, crop, edge)
    table = normalisation_table(float(scale), tuple(map(float, mean)), tuple(map(float, std)))
    out = _output(out, (3, int(height), int(width)), np.float32)
    rows, columns = plan.rows, plan.columns
    _kernels.resample(
        image, rows.start, rows.count, rows.weight, columns.start, columns.count, columns.weight, table, out
    )
    return out


def denoise_step(
    x: Floats, velocity: Floats, noise: Floats | None, t: float, t_next: float, *, out: Floats | None = None
) -> Floats:
    """One step of the few-step flow sampler: x0 = x − t·velocity, then (1 − t_next)·x0 + t_next·noise.

    All arrays float32 of one shape, C-contiguous; times in [0, 1]. `noise` may be None when `t_next` is 0. Every
    operation is rounded to float32 and none is fused, so that backends agree. `out` may be `x`.

    Raises:
        KernelError: arrays that differ in shape or dtype, a time outside [0, 1], no noise where some is needed.
    """
    _float_array("x", x, None)
    _float_array("velocity", velocity, x.shape)
    for name, time in (("t", t), ("t_next", t_next)):
        if not 0.0 <= time <= 1.0:
            raise KernelError(name, found=time, expected="a time in [0, 1]")
    if noise is None:
        if t_next != 0.0:
            raise KernelError("noise", found=None, expected="an array, because t_next is not 0")
        noise = np.zeros_like(x)
    _float_array("noise", noise, x.shape)
    out = _output(out, x.shape, np.float32)
    _kernels.denoise_step(x, velocity, noise, float(t), float(t_next), out)
    return out


def latent_to_image(picture: Floats, *, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """float32 (3, H, W) in [-1, 1] → uint8 RGB (H, W, 3): (x + 1)·127.5, clamped to a byte, halves rounded to even.

    Raises:
        KernelError: wrong dtype or shape, or a NaN in the picture.
    """
    _float_array("picture", picture, None)
    if picture.ndim != 3 or picture.shape[0] != 3:
        raise KernelError("picture", found=_describe(picture), expected="float32 of shape (3, H, W)")
    out = _output(out, (picture.shape[1], picture.shape[2], 3), np.uint8)
    if not _kernels.latent_to_image(picture, out):
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


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return type(value).__name__


def _float_array(name: str, value: Any, shape: tuple[int, ...] | None) -> None:
    wanted = "float32, C-contiguous" + ("" if shape is None else f", of shape {shape}")
    if (
        not isinstance(value, np.ndarray)
        or value.dtype != np.float32
        or (shape is not None and value.shape != shape)
        or not value.flags.c_contiguous
    ):
        layout = "" if not isinstance(value, np.ndarray) or value.flags.c_contiguous else ", not contiguous"
        raise KernelError(name, found=_describe(value) + layout, expected=wanted)


def _output(out: Any, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    if out is None:
        return np.empty(shape, dtype)
    if (
        not isinstance(out, np.ndarray)
        or out.dtype != dtype
        or out.shape != shape
        or not out.flags.c_contiguous
        or not out.flags.writeable
    ):
        raise KernelError(
            "out", found=_describe(out), expected=f"writeable, C-contiguous {np.dtype(dtype)} of shape {shape}"
        )
    return out
