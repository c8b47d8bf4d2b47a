"""Diffusion on a GPU: the arithmetic of a step with its noise, and the picture at the end."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..diffusion import apart, noise_arguments, noise_key, picture_arguments, step_arguments
from ..errors import KernelError
from .arrays import address, aligned
from .launching import BLOCK, Call, grid_for, opened

if TYPE_CHECKING:
    from ..steps import Step

__all__ = ["denoise_step", "latent_to_image", "normal_noise"]

_u64, _u32, _f32, _ptr = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_float, ctypes.c_void_p


class NoiseKey(ctypes.Structure):
    """noise.hpp."""

    _fields_ = [(name, _u64) for name in ("low", "high", "step")]


class Coefficients(ctypes.Structure):
    """sampler.hpp."""

    _fields_ = [(name, _f32) for name in ("guidance", "clean_x", "clean_p", "next_x", "next_clean", "noise")]


class StepArguments(ctypes.Structure):
    """diffusion.cu."""

    _fields_ = [
        *((name, _ptr) for name in ("x", "prediction", "unconditional", "noise", "next", "clean")),
        ("key", NoiseKey),
        ("size", _u64),
        ("coefficients", Coefficients),
        ("fresh", _u32),
        ("aligned", _u32),
    ]


class NoiseArguments(ctypes.Structure):
    """diffusion.cu."""

    _fields_ = [("out", _ptr), ("key", NoiseKey), ("size", _u64), ("aligned", _u32)]


class PictureArguments(ctypes.Structure):
    """diffusion.cu."""

    _fields_ = [
        *((name, _ptr) for name in ("picture", "out", "bad")),
        ("pixels", _u64),
        ("shift", _f32),
        ("scale", _f32),
        ("blue_first", _u32),
        ("aligned", _u32),
    ]


def denoise_step(
    x: Any,
    prediction: Any,
    noise: Any,
    step: Step,
    *,
    unconditional: Any = None,
    guidance: float = 1.0,
    out: Any = None,
    clean_out: Any = None,
    exact: bool = False,
    stream: Any = None,
) -> Any:
    """One step of a sampler, in one pass, as `chiasm.kernels.denoise_step`, bit for bit where `noise` is an array or
    None.

    Noise that is made here, from (seed, number), is within 1.5e-6 of the CPU's; with `exact` it is the same bit for
    bit, at the speed of the GPU's float64.

    Raises:
        KernelError: arrays that differ in shape or dtype or overlap, no noise where some is needed, no such seed.
        CudaError: no GPU that can be used, or the driver refuses.
    """
    with opened(stream) as call:
        latents, predicted = call.view("x", x), call.view("prediction", prediction)
        without = None if unconditional is None else call.view("unconditional", unconditional)
        noisy = noise if noise is None or isinstance(noise, tuple) or step.noise == 0.0 else call.view("noise", noise)
        clean = None if clean_out is None else call.view("clean_out", clean_out)
        given = step_arguments(latents, predicted, noisy, step, without, guidance, clean)
        answer, following = call.output("out", out, latents.shape, np.float32)
        read = (latents, predicted, without, given)
        apart(following, clean, read)
        fresh = isinstance(noisy, tuple) and step.noise != 0.0
        places = [address(array) for array in (*read, following, clean)]
        arguments = StepArguments(
            *(place or None for place in places),
            NoiseKey(*noise_key(*noisy)) if fresh else NoiseKey(),
            following.size,
            Coefficients(guidance, step.clean_x, step.clean_p, step.next_x, step.next_clean, step.noise),
            fresh,
            aligned(*places),
        )
        kernel = "chiasm_denoise_step_exact" if exact and fresh else "chiasm_denoise_step"
        call.launch(kernel, grid_for(following.size, BLOCK * 4), arguments)
        return answer


def latent_to_image(
    picture: Any,
    *,
    low: float = -1.0,
    high: float = 1.0,
    order: str = "rgb",
    out: Any = None,
    check: bool = True,
    stream: Any = None,
) -> Any:
    """float32 (3, H, W) → uint8 (H, W, 3), as `chiasm.kernels.latent_to_image`, bit for bit.

    `check` waits for the stream to say whether there was a NaN; without it nothing waits, and a NaN becomes some
    byte.

    Raises:
        KernelError: wrong dtype or shape, a NaN in the picture, `high` not above `low`, an unknown order.
        CudaError: no GPU that can be used, or the driver refuses.
    """
    with opened(stream) as call:
        source = call.view("picture", picture)
        picture_arguments(source, low, high, order)
        height, width = source.shape[1:]
        answer, made = call.output("out", out, (height, width, 3), np.uint8)
        pixels = height * width
        bad = call.scratch(4) if check else 0
        if bad:
            call.driver.clear(bad, 4, call.stream)
        places = (address(source), address(made))
        arguments = PictureArguments(
            *places, bad, pixels, -float(low), 255.0 / (float(high) - float(low)), order == "bgr",
            aligned(*places) and pixels % 4 == 0,
        )  # fmt: skip
        call.launch("chiasm_latent_to_image", grid_for(pixels, BLOCK * 4), arguments)
        if bad:
            _refuse_nan(call, bad)
        return answer


def _refuse_nan(call: Call, bad: int) -> None:
    flag = np.zeros(1, np.uint32)
    call.driver.read(bad, flag, call.stream)
    if flag[0]:
        raise KernelError("picture", found="NaN", expected="finite numbers")


def normal_noise(
    seed: int, step: int, shape: Sequence[int], *, out: Any = None, exact: bool = False, stream: Any = None
) -> Any:
    """Standard normal float32 numbers: the stream of `chiasm.kernels.normal_noise`, within 1.5e-6 of each number.

    `exact`: the same bits as there, at the speed of the GPU's float64.

    Raises:
        KernelError: `seed` outside [0, 2^128), `step` outside [0, 2^64), a negative length in `shape`.
        CudaError: no GPU that can be used, or the driver refuses.
    """
    key = NoiseKey(*noise_arguments(seed, step, shape))
    with opened(stream) as call:
        answer, made = call.output("out", out, tuple(int(length) for length in shape), np.float32)
        arguments = NoiseArguments(address(made), key, made.size, aligned(address(made)))
        kernel = "chiasm_normal_noise_exact" if exact else "chiasm_normal_noise"
        call.launch(kernel, grid_for(made.size, BLOCK * 4), arguments)
        return answer
