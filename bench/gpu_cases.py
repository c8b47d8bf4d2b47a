"""Every operation on a GPU against the NumPy reference: random, odd and extreme sizes.

`Gpu` is what a check needs of one; the tests have one that runs the kernels on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from ..kernels import ImageSpec, MelSpec, cuda, reference
from ..kernels.cuda.protocol import Driver
from ..kernels.frames import frame_of
from ..kernels.geometry import plan_image
from ..kernels.steps import Step

__all__ = ["OPERATIONS", "Case", "Gpu", "run_cases"]

Array = NDArray[Any]
Pair = tuple[Any, Array]
"""What the GPU made, and what it should be."""


class Gpu:
    """Arrays there and back."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def put(self, array: Any) -> cuda.DeviceArray:
        whole = np.ascontiguousarray(array)
        with self.driver.active():
            return cuda.DeviceArray(self.driver.upload(whole), whole.shape, whole.dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> cuda.DeviceArray:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        with self.driver.active():
            return cuda.DeviceArray(self.driver.allocate(size), shape, dtype)

    def get(self, array: cuda.DeviceArray) -> Array:
        out = np.empty(array.shape, array.dtype)
        with self.driver.active():
            self.driver.read(int(array.memory), out, None)
        return out


@dataclass(frozen=True)
class Case:
    """What an operation made of its cases: how many, the worst difference, the one that is allowed."""

    operation: str
    cases: int
    worst: float
    allowed: float

    @property
    def correct(self) -> bool:
        return self.worst <= self.allowed


def _difference(made: Array, expected: Array) -> float:
    if made.shape != expected.shape or made.dtype != expected.dtype:
        return float("inf")
    if not made.size or (made == expected).all():
        return 0.0
    wide = np.float64 if made.dtype.kind == "f" else np.int64
    apart = np.abs(made.astype(wide) - expected.astype(wide))
    return float(np.where(np.isnan(apart), np.inf, apart).max())


def _size(rng: np.random.Generator, most: int) -> int:
    """From 1 to `most`, small ones and odd ones as often as large ones."""
    lengths = (1, 2, 3, int(rng.integers(1, 40)), int(rng.integers(1, most)))
    return lengths[int(rng.integers(len(lengths)))]


def _images(gpu: Gpu, rng: np.random.Generator, most: int) -> Iterator[Pair]:
    formats = ("rgb", "bgr", "rgba", "gray", "nv12", "i420", "yuyv")
    filters = ("area", "bilinear", "hamming", "bicubic", "lanczos", "nearest", "opencv-linear")
    height, width = _size(rng, most), _size(rng, most)
    spec = ImageSpec(
        _size(rng, most // 2), _size(rng, most // 2), filter=str(rng.choice(filters)),
        layout=str(rng.choice(["chw", "hwc"])), channels=str(rng.choice(["rgb", "bgr"])),
        dtype=str(rng.choice(["float32", "float16", "int8"])),
        **_geometry(rng),
    )  # fmt: skip
    format = str(rng.choice(formats))
    shape: tuple[int, ...] = {"nv12": (3 * height, 2 * width), "i420": (3 * height, 2 * width), "gray": (height, width),
                              "yuyv": (height, 2 * width, 2)}.get(format, (height, width, len(format)))  # fmt: skip
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    frame = frame_of(image, format, "bt709", False)
    expected = np.zeros(spec.shape, spec.dtype)
    plan = reference.ImagePlan(*plan_image(spec, frame.size).arguments())
    reference.image_to_tensors(frame.planes, frame.matrix, [plan], [expected], 1)
    yield cuda.image_to_tensor(gpu.put(image), spec=spec, format=format, matrix="bt709"), expected


def _geometry(rng: np.random.Generator) -> dict[str, Any]:
    if rng.random() < 0.3:
        return {"resize": "longest-edge", "pad": 114}
    return {"resize": "exact" if rng.random() < 0.5 else "shortest-edge"}


def _step(rng: np.random.Generator) -> Step:
    clean_x, clean_p, next_x, next_clean = (float(np.float32(value)) for value in rng.uniform(-2.0, 2.0, 4))
    return Step(0.0, 1.0, clean_x, clean_p, next_x, next_clean, noise=0.75, alpha=1.0, sigma=0.0)


def _steps(exact: bool) -> Callable[[Gpu, np.random.Generator, int], Iterator[Pair]]:
    def cases(gpu: Gpu, rng: np.random.Generator, most: int) -> Iterator[Pair]:
        size, seed, step = _size(rng, most * most), int(rng.integers(1 << 62)) << 40, _step(rng)
        x, prediction, without = rng.normal(size=(3, size)).astype(np.float32)
        expected, clean = np.empty_like(x), np.empty_like(x)
        weights = (3.0, step.clean_x, step.clean_p, step.next_x, step.next_clean, step.noise)
        key = (seed & (1 << 64) - 1, seed >> 64, 3)
        reference.denoise_step_fresh(x, prediction, without, *weights, *key, expected, clean)
        there, cleaned = gpu.put(x), gpu.put(x)
        made = cuda.denoise_step(
            there, gpu.put(prediction), (seed, 3), step, unconditional=gpu.put(without), guidance=3.0,
            clean_out=cleaned, exact=exact,
        )  # fmt: skip
        yield made, expected
        yield cleaned, clean

    return cases


def _noise(gpu: Gpu, rng: np.random.Generator, most: int) -> Iterator[Pair]:
    size, seed = _size(rng, most * most), int(rng.integers(1 << 62)) << 60
    expected = np.empty(size, np.float32)
    reference.normal_noise(seed & (1 << 64) - 1, seed >> 64, 7, expected)
    yield cuda.normal_noise(seed, 7, (size,), exact=True), expected


def _pictures(gpu: Gpu, rng: np.random.Generator, most: int) -> Iterator[Pair]:
    picture = rng.uniform(-1.5, 1.5, (3, _size(rng, most), _size(rng, most))).astype(np.float32)
    expected = np.empty((*picture.shape[1:], 3), np.uint8)
    reference.latent_to_image(picture, 1.0, 127.5, False, expected)
    yield cuda.latent_to_image(gpu.put(picture)), expected


def _searches(gpu: Gpu, rng: np.random.Generator, most: int) -> Iterator[Pair]:
    count, width, wanted = _size(rng, 20 * most), _size(rng, most), _size(rng, 12)
    vectors = rng.normal(size=(count, width)).astype(np.float32)
    vectors[rng.random(count) < 0.2] = vectors[0]  # equal scores go by row
    memory = kernels.Memory.of(vectors, str(rng.choice(["float32", "float16", "int8"])))
    queries = rng.normal(size=(wanted, width)).astype(np.float32)
    k = min(count, int(rng.choice([1, 10, 300, 5000])))
    expected = kernels.similarity_topk(queries, memory, k, metric="dot")
    made = cuda.similarity_topk(gpu.put(queries), cuda.Memory.of(memory), k, metric="dot")
    yield made[0], expected[0]
    yield made[1], expected[1]


def _quantisations(gpu: Gpu, rng: np.random.Generator, most: int) -> Iterator[Pair]:
    shape = (_size(rng, most), _size(rng, most), _size(rng, 20))
    values = (rng.normal(size=shape) * 3).astype(np.float32)
    axis = [None, 0, 1, 2][int(rng.integers(4))]
    scale = rng.uniform(0.01, 0.3, () if axis is None else shape[axis]).astype(np.float32)
    expected = kernels.quantize(values, scale, axis=axis)
    made = cuda.quantize(gpu.put(values), scale, axis=axis)
    yield made, expected
    yield cuda.dequantize(made, scale, axis=axis), kernels.dequantize(expected, scale, axis=axis)


def _sounds(gpu: Gpu, rng: np.random.Generator, most: int) -> Iterator[Pair]:
    makers = (MelSpec.whisper, MelSpec.kaldi, MelSpec.ast, MelSpec.clap)
    spec = makers[int(rng.integers(len(makers)))]()
    waveform = (0.2 * rng.normal(size=spec.least_samples + _size(rng, 40 * most))).astype(np.float32)
    yield cuda.log_mel(gpu.put(waveform), spec), kernels.log_mel(waveform, spec)


OPERATIONS: dict[str, tuple[Callable[[Gpu, np.random.Generator, int], Iterator[Pair]], float]] = {
    "image_to_tensor": (_images, 0.0),
    "denoise_step": (_steps(exact=False), 2e-5),
    "denoise_step exact": (_steps(exact=True), 0.0),
    "normal_noise exact": (_noise, 0.0),
    "latent_to_image": (_pictures, 0.0),
    "similarity_topk": (_searches, 0.0),
    "quantize, dequantize": (_quantisations, 0.0),
    "log_mel": (_sounds, 2e-5),
}
"""Operation → (its cases, the difference that is allowed: of numbers up to about 20, whose last bit is 2e-6)."""


def run_cases(gpu: Gpu, cases: int, most: int = 600, seed: int = 1) -> list[Case]:
    """`cases` random calls of every operation; `most` bounds the edges of pictures and what else has a size."""
    found = []
    for operation, (make, allowed) in OPERATIONS.items():
        rng = np.random.default_rng(seed)
        worst = 0.0
        for _ in range(cases):
            for made, expected in make(gpu, rng, most):
                worst = max(worst, _difference(gpu.get(made), expected))
        found.append(Case(operation, cases, worst, allowed))
    return found
