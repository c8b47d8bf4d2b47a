"""Diffusion: the arithmetic of a step, its noise, and the picture at the end. The coefficients come from steps.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import described, float_array, output
from ._select import kernels
from .errors import KernelError
from .steps import Step

__all__ = ["denoise_step", "latent_to_image", "normal_noise"]

Floats = NDArray[np.float32]
_WORD = (1 << 64) - 1


def denoise_step(
    x: Floats,
    prediction: Floats,
    noise: Floats | tuple[int, int] | None,
    step: Step,
    *,
    unconditional: Floats | None = None,
    guidance: float = 1.0,
    out: Floats | None = None,
    clean_out: Floats | None = None,
) -> Floats:
    """One step of a sampler, in one pass; gives x', the latents of the next step.

    p = unconditional + guidance·(prediction − unconditional), or the prediction alone; x0 = clean_x·x + clean_p·p, into
    `clean_out`; x' = next_x·x + next_clean·x0 + noise·ε. All arrays float32 of one shape, C-contiguous. `noise`: an
    array, or (seed, number) for that of `normal_noise`; not looked at when the step takes none. Every operation is
    rounded to float32 and none is fused, so that backends agree bit for bit. `out` and `clean_out` may each be one of
    the arrays that are read, and must not overlap otherwise.

    Raises:
        KernelError: arrays that differ in shape or dtype or overlap, no noise where some is needed, no such seed.
    """
    given = step_arguments(x, prediction, noise, step, unconditional, guidance, clean_out)
    out = output(out, x.shape, np.float32)
    apart(out, clean_out, (x, prediction, unconditional, given))
    weights = (guidance, step.clean_x, step.clean_p, step.next_x, step.next_clean, step.noise)
    if isinstance(noise, tuple) and step.noise != 0.0:
        kernels.denoise_step_fresh(x, prediction, unconditional, *weights, *noise_key(*noise), out, clean_out)
    else:
        kernels.denoise_step(x, prediction, unconditional, *weights, given, out, clean_out)
    return out


def step_arguments(
    x: Floats, prediction: Floats, noise: Any, step: Step, unconditional: Floats | None, guidance: float,
    clean_out: Floats | None,
) -> Floats | None:  # fmt: skip
    """Checks all but `out`, for every backend; gives the noise that is an array and is needed."""
    float_array("x", x, None)
    float_array("prediction", prediction, x.shape)
    if unconditional is not None:
        float_array("unconditional", unconditional, x.shape)
        if not math.isfinite(guidance):
            raise KernelError("guidance", found=guidance, expected="a finite number")
    if clean_out is not None:
        output(clean_out, x.shape, np.float32, "clean_out")
    if noise is None and step.noise != 0.0:
        raise KernelError("noise", found=None, expected="an array or (seed, number), because the step takes noise")
    if isinstance(noise, tuple) and step.noise != 0.0:
        noise_key(*noise)
    if isinstance(noise, tuple) or step.noise == 0.0 or noise is None:
        return None
    float_array("noise", noise, x.shape)
    given: Floats = noise
    return given


def apart(out: Floats, clean_out: Floats | None, read: Sequence[Floats | None]) -> None:
    """Element i of what is written may lie where element i of what is read does, and nowhere else."""
    for name, target in (("out", out), ("clean_out", clean_out)):
        for source in read:
            if target is None or source is None or not np.may_share_memory(target, source):
                continue
            if _start(target) != _start(source):
                raise KernelError(name, found="memory that overlaps an input", expected="that input, or memory apart")
    if clean_out is not None and np.may_share_memory(out, clean_out):
        raise KernelError("clean_out", found="memory of out", expected="memory apart")


def _start(array: Floats) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def latent_to_image(
    picture: Floats,
    *,
    low: float = -1.0,
    high: float = 1.0,
    order: str = "rgb",
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """float32 (3, H, W), red first → uint8 (H, W, 3): `low` to 0, `high` to 255, clamped, halves rounded to even.

    (x − low)·(255 / (high − low)), each operation rounded to float32. `order` of the bytes: "rgb" or "bgr".

    Raises:
        KernelError: wrong dtype or shape, a NaN in the picture, `high` not above `low`, an unknown order.
    """
    picture_arguments(picture, low, high, order)
    out = output(out, (picture.shape[1], picture.shape[2], 3), np.uint8)
    if not kernels.latent_to_image(picture, -float(low), 255.0 / (float(high) - float(low)), order == "bgr", out):
        raise KernelError("picture", found="NaN", expected="finite numbers")
    return out


def picture_arguments(picture: Floats, low: float, high: float, order: str) -> None:
    """Checks all but `out`, for every backend."""
    float_array("picture", picture, None)
    if picture.ndim != 3 or picture.shape[0] != 3:
        raise KernelError("picture", found=described(picture), expected="float32 of shape (3, H, W)")
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        raise KernelError("high", found=f"low {low}, high {high}", expected="finite numbers, high above low")
    if order not in ("rgb", "bgr"):
        raise KernelError("order", found=order, expected="rgb or bgr")


def normal_noise(seed: int, step: int, shape: Sequence[int], *, out: Floats | None = None) -> Floats:
    """Standard normal float32 numbers of `shape`, the same bits on every backend for the same `seed` and `step`.

    Philox 4x64-10 and Box–Muller; `chiasm.kernels.reference.normal_noise` gives every bit of the recipe. The streams of
    two steps never overlap.

    Raises:
        KernelError: `seed` outside [0, 2^128), `step` outside [0, 2^64), a negative length in `shape`.
    """
    key = noise_arguments(seed, step, shape)
    out = output(out, tuple(int(length) for length in shape), np.float32)
    kernels.normal_noise(*key, out)
    return out


def noise_arguments(seed: int, step: int, shape: Sequence[int]) -> tuple[int, int, int]:
    """Checks all but `out`, for every backend; gives the key."""
    key = noise_key(seed, step)
    if any(length < 0 for length in shape):
        raise KernelError("shape", found=tuple(shape), expected="lengths of 0 or more")
    return key


def noise_key(seed: int, step: int) -> tuple[int, int, int]:
    """(low word, high word, step)."""
    for name, value, bits in (("seed", seed, 128), ("step", step, 64)):
        if not isinstance(value, (int, np.integer)) or not 0 <= int(value) < 1 << bits:
            raise KernelError(name, found=value, expected=f"a whole number in [0, 2^{bits})")
    return int(seed) & _WORD, int(seed) >> 64, int(step)
