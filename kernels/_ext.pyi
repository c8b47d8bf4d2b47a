# Generated: make stub
# ruff: noqa: C408
"""The kernels in C++; chiasm.kernels.reference is the same in NumPy."""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray

ABI: int = 2

class ImagePlan:
    """
    The numbers of a conversion; chiasm.kernels.geometry.Plan.arguments gives them.
    """

    def __init__(
        self,
        source_height: int,
        source_width: int,
        kind: str,
        row_start: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        row_count: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        row_weight: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        column_start: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        column_count: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        column_weight: Annotated[
            NDArray[numpy.int32], dict(shape=(None, None), order="C", device="cpu", writable=False)
        ],
        height: int,
        width: int,
        top: int,
        left: int,
        bgr: bool,
        hwc: bool,
        table: Annotated[NDArray, dict(order="C", device="cpu", writable=False)],
        margin: Annotated[NDArray, dict(order="C", device="cpu", writable=False)] | None,
    ) -> None: ...

def image_to_tensors(
    planes: tuple,
    matrix: tuple[int, int, int, int, int, int] | None,
    plans: Sequence[ImagePlan],
    outs: Sequence[Annotated[NDArray, dict(order="C", device="cpu")]],
    threads: int,
) -> None:
    """One frame to every out, by the plan at the same place."""

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
