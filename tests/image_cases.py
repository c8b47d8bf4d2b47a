"""Random frames, specs and conversions for the tests of the pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from chiasm.kernels import ImageSpec
from chiasm.kernels.frames import FORMATS, Frame, frame_of
from chiasm.kernels.geometry import plan_image

Array = np.ndarray[Any, Any]
PLAIN = ("rgb", "bgr", "rgba", "bgra", "gray")
FILTERS = ("nearest", "opencv-linear", "area", "bilinear", "hamming", "bicubic", "lanczos")


def pixels(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Noise, or edges of noise: where ringing filters overshoot."""
    if rng.integers(2):
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return (rng.integers(0, 2, shape) * 255).astype(np.uint8)


def frame(rng: np.random.Generator, format: str, height: int, width: int) -> Any:
    """A frame of about this size (some formats have even sizes only), as an array or as planes, seldom contiguous."""
    if format in PLAIN:
        channels = () if format == "gray" else (len(format),)
        return strided(rng, pixels(rng, (height, width, *channels)))
    width += width % 2
    if format == "yuyv":
        return strided(rng, pixels(rng, (height, width, 2)))
    height += height % 2
    if rng.integers(2):
        stacked = pixels(rng, (height * 3 // 2, width))
        return stacked if format == "i420" else strided(rng, stacked, rows=False)
    halves = [pixels(rng, (height // 2, width // 2, 2))] if format == "nv12" else [
        pixels(rng, (height // 2, width // 2)) for _ in range(2)
    ]  # fmt: skip
    return tuple(strided(rng, plane) for plane in (pixels(rng, (height, width)), *halves))


def strided(rng: np.random.Generator, array: Array, *, rows: bool = True) -> Array:
    """The same values, somewhere in a larger array, backwards or not."""
    kind = int(rng.integers(5))
    if kind == 0:
        return array
    if kind == 1 and rows:
        return np.ascontiguousarray(array[::-1])[::-1]
    if kind == 2:
        return np.ascontiguousarray(array[:, ::-1])[:, ::-1]
    room = np.full((array.shape[0] + 3, array.shape[1] + 5, *array.shape[2:]), 77, np.uint8)
    room[1:-2, 2:-3] = array
    return room[1:-2, 2:-3]


def spec(rng: np.random.Generator, most: int = 60) -> ImageSpec:
    """Any fields, but such that every frame has a target."""

    def pick(*words: Any) -> Any:
        return words[rng.integers(len(words))]

    dtype = pick("float32", "float16", "int8", "uint8")
    quantised = {"quant_scale": 0.02, "zero_point": 7} if dtype in ("int8", "uint8") else {}
    margin: dict[str, Any] = pick({"pad": 114}, {"pad": (1, 200, 30)}, {"fill": -0.25})
    resize = pick("exact", "shortest-edge", "longest-edge")
    edge = {"edge": int(rng.integers(1, most))} if resize != "exact" and rng.integers(2) else {}
    return ImageSpec(
        int(rng.integers(1, most)), int(rng.integers(1, most)), filter=pick(*FILTERS), order=pick("across", "pillow"),
        resize=resize, rounding=pick("down", "nearest"), channels=pick("rgb", "bgr"), layout=pick("chw", "hwc"),
        dtype=dtype, scale=pick(1 / 255, 1.0), mean=(0.48, 0.45, 0.4), std=(0.27, 0.26, 0.275),
        **margin, **edge, **quantised,
    )  # fmt: skip


def conversion(rng: np.random.Generator, most: int = 80) -> tuple[Frame, list[ImageSpec]]:
    """A frame of any format, and what one to three encoders want of it."""
    format = sorted(FORMATS)[rng.integers(len(FORMATS))]
    image = frame(rng, format, *map(int, rng.integers(1, most, 2)))
    taken = frame_of(image, format, ("bt601", "bt709")[rng.integers(2)], bool(rng.integers(2)))
    return taken, [spec(rng) for _ in range(rng.integers(1, 4))]


def run(implementation: Any, taken: Frame, specs: list[ImageSpec], threads: int = 1) -> list[Array]:
    """What an implementation (the extension, or the reference) makes of a frame."""
    plans = [implementation.ImagePlan(*plan_image(each, taken.size).arguments()) for each in specs]
    outs = [np.full(each.shape, 99, each.dtype) for each in specs]
    implementation.image_to_tensors(taken.planes, taken.matrix, plans, outs, threads)
    return outs
