# Generated: make stub
# ruff: noqa: C408
"""The kernels in C++; chiasm.kernels.reference is the same in NumPy."""

from collections.abc import Sequence
from typing import Annotated, Any, overload

import numpy
import numpy.typing
from numpy.typing import NDArray

ABI: int = 4

class ImagePlan:
    """
    The numbers of a conversion; chiasm.kernels.geometry.Plan.arguments gives them.
    """

    def __init__(
        self,
        source_height: int,
        source_width: int,
        kind: str,
        row_start: numpy.typing.NDArray[numpy.int32],
        row_count: numpy.typing.NDArray[numpy.int32],
        row_weight: numpy.typing.NDArray[numpy.int32],
        column_start: numpy.typing.NDArray[numpy.int32],
        column_count: numpy.typing.NDArray[numpy.int32],
        column_weight: numpy.typing.NDArray[numpy.int32],
        height: int,
        width: int,
        top: int,
        left: int,
        bgr: bool,
        hwc: bool,
        table: numpy.typing.NDArray[Any],
        margin: numpy.typing.NDArray[Any] | None,
    ) -> None: ...

def image_to_tensors(
    planes: tuple[numpy.typing.NDArray[numpy.uint8], ...],
    matrix: tuple[int, int, int, int, int, int] | None,
    plans: Sequence[ImagePlan],
    outs: Sequence[numpy.typing.NDArray[Any]],
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
    prediction: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu", writable=False)],
    unconditional: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu", writable=False)] | None,
    guidance: float,
    clean_x: float,
    clean_p: float,
    next_x: float,
    next_clean: float,
    noise_scale: float,
    noise: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu", writable=False)] | None,
    out: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu")],
    clean_out: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu")] | None,
) -> None:
    """
    p = u + guidance·(prediction - u); x0 = clean_x·x + clean_p·p; out = next_x·x + next_clean·x0 + noise_scale·noise.
    """

def denoise_step_fresh(
    x: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu", writable=False)],
    prediction: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu", writable=False)],
    unconditional: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu", writable=False)] | None,
    guidance: float,
    clean_x: float,
    clean_p: float,
    next_x: float,
    next_clean: float,
    noise_scale: float,
    low: int,
    high: int,
    step: int,
    out: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu")],
    clean_out: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu")] | None,
) -> None:
    """As denoise_step, with the noise of normal_noise."""

def normal_noise(
    low: int, high: int, step: int, out: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu")]
) -> None:
    """Standard normal numbers of the key (low, high) and the step."""

def latent_to_image(
    picture: Annotated[NDArray[numpy.float32], dict(shape=(3, None, None), order="C", device="cpu", writable=False)],
    shift: float,
    scale: float,
    blue_first: bool,
    out: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, 3), order="C", device="cpu")],
) -> bool:
    """
    float32 (3, H, W) → uint8 (H, W, 3): (x + shift)·scale. False when a value is NaN.
    """

class Mel:
    """A log-mel front end: the constants and tables of a MelSpec."""

    def __init__(
        self,
        fft_size: int,
        hop: int,
        window: Annotated[NDArray[numpy.float64], dict(shape=(None,), order="C", device="cpu", writable=False)],
        first: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        count: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        weight: Annotated[NDArray[numpy.float64], dict(shape=(None,), order="C", device="cpu", writable=False)],
        gain: float,
        remove_dc: bool,
        preemphasis: float,
        amplitude: bool,
        floor: float,
        log_factor: float,
    ) -> None: ...

def mel_frames(
    mel: Mel,
    waveform: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    start: int,
    mels_first: bool,
    threads: int,
    out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")],
) -> bool:
    """
    float32 (N,) → (mels, frames) or (frames, mels); frame 0 begins at `start`. False when a sample is not finite.
    """

def mel_level(
    values: Annotated[NDArray[numpy.float32], dict(order="C", device="cpu")], reach: float, mean: float, std: float
) -> None:
    """In place: (max(value, greatest - reach) - mean) / std."""

@overload
def topk_floats(
    queries: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    rows: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    factors: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)] | None,
    threads: int,
    scores: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")],
    indices: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order="C", device="cpu")],
) -> None:
    """
    float32 (Q, D) against float32 or float16 (N, D) → the k best (Q, k): dot · factor of the row.
    """

@overload
def topk_floats(
    queries: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    rows: Annotated[NDArray[numpy.float16], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    factors: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)] | None,
    threads: int,
    scores: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")],
    indices: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order="C", device="cpu")],
) -> None: ...
def topk_bytes(
    queries: Annotated[NDArray[numpy.int16], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    scales: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    rows: Annotated[NDArray[numpy.int8], dict(shape=(None, None), order="C", device="cpu", writable=False)],
    factors: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)] | None,
    threads: int,
    scores: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")],
    indices: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order="C", device="cpu")],
) -> None:
    """
    int16 (Q, D) against int8 (N, D) → the k best (Q, k): dot · factor of the row · scale of the query.
    """

@overload
def quantize(
    values: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
    scales: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    zeros: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    out: Annotated[NDArray[numpy.int8], dict(shape=(None, None, None), order="C", device="cpu")],
) -> bool:
    """
    (outer, channels, inner): value / scale, halves to even, + zero, saturated. False when a value is NaN.
    """

@overload
def quantize(
    values: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
    scales: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    zeros: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    out: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, None), order="C", device="cpu")],
) -> bool: ...
@overload
def dequantize(
    values: Annotated[NDArray[numpy.int8], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
    scales: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    zeros: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    out: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu")],
) -> None:
    """(outer, channels, inner): (value - zero) · scale."""

@overload
def dequantize(
    values: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, None), order="C", device="cpu", writable=False)],
    scales: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    zeros: Annotated[NDArray[numpy.int32], dict(shape=(None,), order="C", device="cpu", writable=False)],
    out: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order="C", device="cpu")],
) -> None: ...

class Readout:
    """
    The numbers of a decision, from the buffers that its graphs write into.
    """

    def __init__(
        self,
        choices: tuple[tuple[str, numpy.typing.NDArray[numpy.float32], tuple[str, ...]], ...],
        names: tuple[str, ...],
        weights: numpy.typing.NDArray[numpy.float32],
        embeddings: tuple[numpy.typing.NDArray[numpy.float32], ...],
    ) -> None: ...
    def read(
        self, present: dict[str, float]
    ) -> tuple[dict[str, dict[str, float]], dict[str, str], dict[str, float], dict[str, bytes]]:
        """
        Copies of all of them; ValueError with the name of a head without shares.
        """

class Product:
    """int8 weights (K, N), a float32 scale for each column, a bias or None."""

    def __init__(
        self,
        weights: Annotated[NDArray[numpy.int8], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        scales: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)],
        bias: Annotated[NDArray[numpy.float32], dict(shape=(None,), order="C", device="cpu", writable=False)] | None,
    ) -> None: ...
    def of_floats(
        self,
        values: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")],
        threads: int,
    ) -> None:
        """(M, K) floats → (M, N), quantised as DynamicQuantizeLinear does."""

    def of_bytes(
        self,
        values: Annotated[NDArray[numpy.uint8], dict(shape=(None, None), order="C", device="cpu", writable=False)],
        scale: float,
        zero: int,
        out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order="C", device="cpu")],
        threads: int,
    ) -> None:
        """(M, K) bytes → (M, N)."""

def products_pay() -> bool:
    """
    Whether networks gain by them: AVX2, and no instruction for products of bytes.
    """
