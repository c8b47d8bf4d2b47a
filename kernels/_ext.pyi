# Generated: make stub
# ruff: noqa: C408
"""The kernels in C++; chiasm.kernels.reference is the same in NumPy."""

from typing import Annotated

import numpy
from numpy.typing import NDArray

ABI: int = 1

def resample(
    image: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, 3), device="cpu", writable=False)],
    row_start: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    row_count: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    row_weight: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    column_start: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    column_count: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    column_weight: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    table: Annotated[NDArray[numpy.float32], dict(shape=(3, 256), order="C", device="cpu", writable=False)],
    out: Annotated[NDArray[numpy.float32], dict(shape=(3, None, None), order="C", device="cpu")],
) -> None:
    """uint8 (H, W, 3) → float32 (3, h, w) by the weights of both axes."""

def instructions() -> str:
    """The instruction set in use: avx512-vnni, avx512, avx2 or plain."""

def use_instructions(name: str | None = None) -> None:
    """
    Use another instruction set, for tests; None is the widest. ValueError when the processor lacks it.
    """

def denoise_step(
    x: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu", writable=False)],
    velocity: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu", writable=False)],
    noise: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu", writable=False)],
    t: float,
    t_next: float,
    out: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu")],
) -> None:
    """x0 = x - t·velocity; out = (1 - t_next)·x0 + t_next·noise."""

def latent_to_image(
    picture: Annotated[NDArray[numpy.float32], dict(shape=(3, None, None), order="C", device="cpu", writable=False)],
    out: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, 3), order="C", device="cpu")],
) -> bool:
    """
    float32 (3, H, W) in [-1, 1] → uint8 (H, W, 3). False when a value is NaN.
    """
