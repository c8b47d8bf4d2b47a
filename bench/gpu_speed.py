"""How fast the operations are on a GPU, beside the copy bandwidth that is measured in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import numpy as np

from ..kernels import ImageSpec, cuda
from ..kernels.cuda import driver as driving
from ..kernels.steps import Step
from .gpu_cases import Gpu

__all__ = ["AIM", "Clock", "Figure", "Sizes", "copy_bandwidth", "measure"]

AIM = 0.75
"""Of the copy bandwidth: what an operation should reach whose bound is the memory."""


class Clock(Protocol):
    """What PyCUDA's driver measures and copies with."""

    def seconds(self, work: Callable[[], None]) -> float: ...

    def copy(self, target: int, source: int, size: int) -> None: ...


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the tests take little."""

    copied: int = 1 << 30
    frames: int = 64
    values: int = 1 << 26
    picture: tuple[int, int] = (4096, 8192)
    rows: int = 1 << 20
    repeats: int = 15
    launches: int = 10


@dataclass(frozen=True)
class Figure:
    """One operation: seconds (the median of the repeats, and the least), bytes that must be moved, and its bound."""

    operation: str
    seconds: float
    least_seconds: float
    bytes: int
    bound: str

    def share(self, bandwidth: float) -> float:
        """Of the copy bandwidth, in bytes read and written a second."""
        return self.bytes / self.seconds / bandwidth


class _Recorder:
    """A driver that remembers the launches of a call, so that they can be run again without the Python around them."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.launches: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def launch(self, *arguments: Any) -> None:
        self.launches.append(arguments)
        self._driver.launch(*arguments)

    def again(self) -> None:
        for arguments in self.launches:
            self._driver.launch(*arguments)


def copy_bandwidth(gpu: Gpu, clock: Clock, sizes: Sizes) -> float:
    """Bytes read and written a second by a copy on the GPU: the median."""
    first, second = gpu.empty((sizes.copied,), np.uint8), gpu.empty((sizes.copied,), np.uint8)

    def work() -> None:
        for _ in range(sizes.launches):
            clock.copy(int(second.memory), int(first.memory), sizes.copied)

    with gpu.driver.active():
        work()
        times = [clock.seconds(work) for _ in range(sizes.repeats)]
    return 2 * sizes.copied * sizes.launches / median(times)


def measure(gpu: Gpu, clock: Clock, sizes: Sizes) -> list[Figure]:
    """Every operation once, with arrays larger than any cache."""
    makers = (_frames("opencv-linear"), _frames("bilinear"), _frames("bicubic"), _step(False), _step(True), _picture,
              _search("float32"), _search("float16"), _search("int8"), _quantise)  # fmt: skip
    return [_timed(gpu, clock, sizes, *make(gpu, sizes)) for make in makers]


def _timed(gpu: Gpu, clock: Clock, sizes: Sizes, name: str, call: Callable[[], Any], moved: int, bound: str) -> Figure:
    recorder = _Recorder(gpu.driver)
    before = driving.replaced(recorder)
    try:
        kept = call()  # the arrays must live as long as the launches
    finally:
        driving.replaced(before)

    def work() -> None:
        for _ in range(sizes.launches):
            recorder.again()

    with gpu.driver.active():
        work()
        times = [clock.seconds(work) / sizes.launches for _ in range(sizes.repeats)]
    del kept
    return Figure(name, median(times), min(times), moved, bound)


def _frames(filter: str) -> Callable[[Gpu, Sizes], tuple[str, Callable[[], Any], int, str]]:
    """1080p NV12 to 224 float16: of a frame the middle 1080 × 1080, 1.5 bytes a pixel, is under the target."""

    def make(gpu: Gpu, sizes: Sizes) -> tuple[str, Callable[[], Any], int, str]:
        height, width, edge = 1080, 1920, 224
        images = gpu.put(np.random.default_rng(1).integers(0, 256, (sizes.frames, height * 3 // 2, width), np.uint8))
        spec = ImageSpec(edge, edge, filter=filter, dtype="float16", mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))
        out = gpu.empty((sizes.frames, 3, edge, edge), np.float16)
        written = 3 * edge * edge * 2
        # Antialiased filters read every row, the others two (luma) for each of the target's.
        rows = height if filter != "opencv-linear" else 2 * edge
        read = rows * height * 3 // 2
        bound = "memory" if filter == "opencv-linear" else "arithmetic (see image_tiled.cu)"

        def call() -> Any:
            return cuda.image_to_tensor(images, spec=spec, format="nv12", batch=True, out=out), images

        return (
            f"image_to_tensor, {sizes.frames} × 1080p NV12 → 224 float16, {filter}",
            call,
            sizes.frames * (read + written),
            bound,
        )

    return make


def _step(exact: bool) -> Callable[[Gpu, Sizes], tuple[str, Callable[[], Any], int, str]]:
    def make(gpu: Gpu, sizes: Sizes) -> tuple[str, Callable[[], Any], int, str]:
        x, prediction, out = (gpu.empty((sizes.values,), np.float32) for _ in range(3))
        for array in (x, prediction):
            cuda.normal_noise(1, 0, array.shape, out=array)
        step = Step(0.0, 1.0, 1.1, -0.4, 0.3, 0.6, 0.2, 1.0, 0.0)

        def call() -> Any:
            return cuda.denoise_step(x, prediction, (5, 1), step, out=out, exact=exact), x, prediction

        name = f"denoise_step, {sizes.values} values, fresh noise in float{64 if exact else 32}"
        return name, call, 12 * sizes.values, "float64 arithmetic" if exact else "memory"

    return make


def _picture(gpu: Gpu, sizes: Sizes) -> tuple[str, Callable[[], Any], int, str]:
    height, width = sizes.picture
    picture, out = gpu.empty((3, height, width), np.float32), gpu.empty((height, width, 3), np.uint8)
    cuda.normal_noise(2, 0, picture.shape, out=picture)

    def call() -> Any:
        return cuda.latent_to_image(picture, out=out, check=False), picture

    return f"latent_to_image, {height} × {width}", call, 15 * height * width, "memory"


def _search(dtype: str) -> Callable[[Gpu, Sizes], tuple[str, Callable[[], Any], int, str]]:
    def make(gpu: Gpu, sizes: Sizes) -> tuple[str, Callable[[], Any], int, str]:
        rng, width = np.random.default_rng(3), 512
        rows = rng.integers(-100, 100, (sizes.rows, width), np.int8)
        memory = cuda.Memory(gpu.put(rows.astype(dtype)))
        queries = gpu.put(rng.normal(size=(1, width)).astype(np.float32))
        out = (gpu.empty((1, 10), np.float32), gpu.empty((1, 10), np.int64))

        def call() -> Any:
            return cuda.similarity_topk(queries, memory, 10, metric="dot", out=out, check=False), memory, queries

        name = f"similarity_topk, best 10 of {sizes.rows} × {width} {dtype}, one query"
        return name, call, sizes.rows * width * np.dtype(dtype).itemsize, "memory"

    return make


def _quantise(gpu: Gpu, sizes: Sizes) -> tuple[str, Callable[[], Any], int, str]:
    values, out = gpu.empty((sizes.values,), np.float32), gpu.empty((sizes.values,), np.int8)
    cuda.normal_noise(4, 0, values.shape, out=values)

    def call() -> Any:
        return cuda.quantize(values, 0.05, out=out, check=False), values

    return f"quantize, {sizes.values} values to int8", call, 5 * sizes.values, "memory"
