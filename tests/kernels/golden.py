"""Calls of the NumPy reference with their answers, for the C++ tests (cpp/main.cpp reads the file).

Another processor, or a sanitizer, then checks the C++ against the truth and not against itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from chiasm.kernels import reference
from chiasm.kernels.frames import Frame, frame_of
from chiasm.kernels.geometry import Plan, plan_image
from chiasm.kernels.mel import MelSpec
from chiasm.kernels.sound import mel_plan
from chiasm.kernels.spec import ImageSpec

Case = tuple[str, list[Any]]


def write(path: Path) -> int:
    """The number of calls written. Little-endian: a count; a call: its name, its arrays; an array: dtype, shape,
    bytes.
    """
    calls = [*_images(), *_diffusion(), *_search(), *_sound(), *_quantise(), *_products()]
    with path.open("wb") as file:
        file.write(struct.pack("<I", len(calls)))
        for name, arrays in calls:
            file.write(_word(name) + struct.pack("<I", len(arrays)))
            for value in arrays:
                array = np.ascontiguousarray(value)
                data = array.tobytes()
                file.write(_word(array.dtype.str) + struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape))
                file.write(struct.pack("<I", len(data)) + data)
    return len(calls)


def _word(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


KINDS = ("across", "down", "sampled")
SPECS = (
    {"filter": "area", "resize": "exact"},
    {"filter": "bilinear", "dtype": "float16", "layout": "hwc"},
    {"filter": "bicubic", "resize": "longest-edge", "pad": (9, 8, 7), "channels": "bgr"},
    {"filter": "lanczos", "resize": "exact", "order": "pillow", "dtype": "uint8", "quant_scale": 0.01, "zero_point": 9},
    {"filter": "nearest", "resize": "exact", "dtype": "int8", "quant_scale": 0.02, "zero_point": -100},
    {"filter": "opencv-linear", "resize": "longest-edge", "fill": -2.0},
)


def _images() -> Iterator[Case]:
    rng = np.random.default_rng(1)
    sizes = [(1, 1, 1, 1), (1, 9, 3, 1), (37, 53, 16, 24), (64, 48, 64, 48), (90, 160, 31, 57), (7, 5, 40, 33)]
    for format in ("rgb", "bgra", "gray", "nv12", "i420", "yuyv"):
        for height, width, h, w in sizes:
            image = rng.integers(0, 256, _shape(format, height, width), dtype=np.uint8)
            frame = frame_of(image, format, "bt709", False)
            for settings in SPECS:
                plan = plan_image(ImageSpec(h, w, **settings), frame.size)
                yield "image_to_tensors", [image, _lies(image, frame), *_plan(plan), _tensor(frame, plan)]


def _shape(format: str, height: int, width: int) -> tuple[int, ...]:
    if format in ("nv12", "i420"):
        return 3 * height, 2 * width
    if format == "yuyv":
        return height, 2 * width, 2
    return (height, width) if format == "gray" else (height, width, len(format))


def _lies(image: Any, frame: Frame) -> Any:
    """Of each plane: offset and strides; whether the planes are colours, how tall a difference is, the matrix."""
    colours = frame.matrix is None
    planes = [frame.planes[0][:, :, c] for c in range(3)] if colours else frame.planes
    start = image.__array_interface__["data"][0]
    numbers = [number for plane in planes for number in (plane.__array_interface__["data"][0] - start, *plane.strides)]
    tall = 1 if colours else planes[0].shape[0] // planes[1].shape[0]
    return np.asarray([*numbers, colours, tall, *(frame.matrix or [0] * 6)], np.int64)


def _plan(plan: Plan) -> list[Any]:
    height, width, kind, *axes, target_height, target_width, top, left, bgr, hwc, table, margin = plan.arguments()
    sizes = [height, width, KINDS.index(kind), target_height, target_width, top, left, bgr, hwc, table.itemsize]
    return [np.asarray(sizes, np.int32), *axes, table, table[:0, 0] if margin is None else margin]


def _tensor(frame: Frame, plan: Plan) -> Any:
    out = np.empty(plan.spec.shape, plan.spec.dtype)
    reference.image_to_tensors(frame.planes, frame.matrix, [reference.ImagePlan(*plan.arguments())], [out], 1)
    return out


def _diffusion() -> Iterator[Case]:
    rng = np.random.default_rng(2)
    for size in (1, 3, 4, 255, 256, 257, 1000):
        x, prediction, without, noise = rng.normal(size=(4, size)).astype(np.float32)
        numbers = rng.uniform(-2, 2, 6).astype(np.float32)
        low, high, step = (int(word) for word in rng.integers(0, 2**64, 3, dtype=np.uint64))
        made = np.empty_like(x)
        reference.normal_noise(low, high, step, made)
        yield "normal_noise", [np.asarray([low, high, step], np.uint64), made]
        none = x[:0]
        for guided, given, fresh in ((None, None, 0), (without, noise, 0), (without, None, 1)):
            out, clean = np.empty_like(x), np.empty_like(x)
            used = made if fresh else given
            reference.denoise_step(x, prediction, guided, *map(float, numbers), used, out, clean)
            key = np.asarray([fresh, low, high, step], np.uint64)
            shown = [none if each is None else each for each in (guided, given)]
            yield "denoise_step", [x, prediction, *shown, numbers, key, out, clean]
    for height, width in ((1, 1), (1, 21), (5, 13), (32, 32)):
        picture = rng.uniform(-1.5, 1.5, (3, height, width)).astype(np.float32)
        grey = np.empty((height, width, 3), np.uint8)
        assert reference.latent_to_image(picture, 1.0, 127.5, width % 2 == 0, grey)
        yield "latent_to_image", [picture, np.asarray([1.0, 127.5, width % 2 == 0], np.float32), grey]


def _search() -> Iterator[Case]:
    rng = np.random.default_rng(3)
    for count, width, k in ((1, 1, 1), (50, 31, 7), (333, 32, 333), (200, 97, 10), (64, 1200, 3)):
        vectors, queries = (
            rng.normal(size=(count, width)).astype(np.float32),
            rng.normal(size=(3, width)).astype(np.float32),
        )
        vectors[count // 2] = vectors[0]
        factors = rng.uniform(0.5, 2.0, count).astype(np.float32)
        for dtype in ("float32", "float16", "int8"):
            for weighed in (factors, None):
                scores, indices = np.empty((3, k), np.float32), np.empty((3, k), np.int64)
                scales, asked = np.empty(0, np.float32), queries
                rows = (vectors * (40 if dtype == "int8" else 1)).astype(dtype)
                if dtype == "int8":
                    asked, scales = (queries * 9000).clip(-32767, 32767).astype(np.int16), factors[:1].repeat(3)
                    reference.topk_bytes(asked, scales, rows, weighed, 1, scores, indices)
                else:
                    reference.topk_floats(queries, rows, weighed, 1, scores, indices)
                yield "topk", [asked, scales, rows, factors[:0] if weighed is None else weighed, scores, indices]


def _sound() -> Iterator[Case]:
    rng = np.random.default_rng(4)
    odd = MelSpec(8000, 150, 70, 150, 13, window="hamming", norm="slaney", scale="slaney")
    for spec in (MelSpec.whisper(), MelSpec.kaldi(40), MelSpec.clap(), replace(odd, power=1), odd):
        samples = rng.normal(size=spec.least_samples + 5 * spec.hop + 3).astype(np.float32)
        frames = spec.frames(samples.size)
        mel = mel_plan(spec, reference)
        out = np.empty(spec.arranged(frames), np.float32)
        mels_first = spec.layout == "mels-first"
        assert reference.mel_frames(mel, samples, spec.start, mels_first, 1, out)
        sizes = [spec.fft_size, spec.hop, mel.remove_dc, mel.amplitude, mels_first, spec.start, frames]
        numbers = [mel.gain, mel.preemphasis, mel.floor, mel.log_factor]
        yield "mel_frames", [
            samples, np.asarray(sizes, np.int64), np.asarray(numbers), mel.window, mel.first, mel.count, mel.weight,
            out,
        ]  # fmt: skip


def _quantise() -> Iterator[Case]:
    rng = np.random.default_rng(5)
    for extent in ((1, 1, 1), (1, 1, 1000), (3, 5, 17), (2, 70, 1)):
        for dtype in (np.int8, np.uint8):
            values = (rng.normal(size=extent) * 3).astype(np.float32)
            limits = np.iinfo(dtype)
            scales = rng.uniform(0.01, 0.5, extent[1]).astype(np.float32)
            zeros = rng.integers(limits.min, limits.max, extent[1], np.int32)
            made, back = np.empty(extent, dtype), np.empty(extent, np.float32)
            assert reference.quantize(values, scales, zeros, made)
            reference.dequantize(made, scales, zeros, back)
            yield "quantize", [values, np.asarray(extent, np.int64), scales, zeros, made, back]


def _products() -> Iterator[Case]:
    """Ordinary ones; weights that fill a lane, and pairs of weights that exceed 16 bits."""
    rng = np.random.default_rng(6)
    for rows, depth, columns in ((1, 1, 1), (4, 32, 24), (7, 100, 47), (50, 65, 25), (9, 320, 72)):
        for most in (20, 64, 127):
            weights = rng.integers(-most, most + 1, (depth, columns), np.int8)
            scales = rng.uniform(0.001, 0.1, columns).astype(np.float32)
            bias = rng.normal(size=columns).astype(np.float32)
            values = (rng.normal(size=(rows, depth)) * 3).astype(np.float32)
            whole = rng.integers(0, 256, (rows, depth), np.uint8)
            outs = np.empty((2, rows, columns), np.float32)
            reference.Product(weights, scales, bias).of_floats(values, outs[0], 1)
            reference.Product(weights, scales, None).of_bytes(whole, 0.02, 200, outs[1], 1)
            yield "product", [weights, scales, bias, values, whole, np.float32(0.02), np.uint8(200), *outs]
