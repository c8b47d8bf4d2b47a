"""Pictures: a frame of a camera to the tensors of encoders.

The frames change from call to call and are more than the caches hold, as those of a camera are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import util
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import ImageSpec, image_to_tensor, image_to_tensors
from ...kernels.geometry import plan_image
from ...kernels.plan import Axis
from ...targets import machine
from . import Call, Case, absences

__all__ = ["cases"]

Bytes = NDArray[np.uint8]
HEIGHT, WIDTH, FRAMES = 1080, 1920, 8
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CLIP = ImageSpec(224, 224, filter="bicubic", mean=MEAN, std=STD)
LARGER = ImageSpec(384, 384, filter="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
PLAIN = ImageSpec(224, 224, filter="opencv-linear", resize="exact", mean=MEAN, std=STD)
LETTERBOX = ImageSpec(640, 640, filter="opencv-linear", resize="longest-edge", pad=114)
PILLOW, OPENCV, CLIP_PEER = "Pillow + NumPy", "OpenCV + NumPy", "transformers CLIP processor"
BOTH_OPENCV, FFMPEG = "OpenCV (colours) + Pillow + NumPy", "FFmpeg (to RGB), then ours"


def cases() -> list[Case]:
    """1080p frames; two threads where there are two cores."""
    rng = np.random.default_rng(0)
    colours = cycle([rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(FRAMES)])
    planes = cycle([rng.integers(0, 256, (HEIGHT * 3 // 2, WIDTH), np.uint8) for _ in range(FRAMES)])
    threads = min(2, machine().cores)
    return [
        _antialiased(colours, threads),
        _plain(colours, threads),
        _letterbox(colours, threads),
        _camera(planes, threads),
        *_decoded(planes, threads),
        _two(colours, "rgb", threads),
        _two(planes, "nv12", threads),
    ]


def _ours(frames: Iterator[Bytes], spec: ImageSpec, threads: int, format: str = "rgb") -> Call:
    out = np.empty(spec.shape, spec.dtype)
    return lambda: image_to_tensor(next(frames), spec=spec, format=format, threads=threads, out=out)


def _antialiased(frames: Iterator[Bytes], threads: int) -> Case:
    return Case(
        "1080p RGB to 224, bicubic, antialiased",
        _ours(frames, CLIP, threads),
        {**_clip(frames), **_here(PILLOW, lambda: _pillow(next(frames)), "PIL")},
        _bytes([CLIP], "rgb"),
        f"shortest edge 224, centre crop, normalised; {threads} threads",
        absences({CLIP_PEER: "transformers", PILLOW: "PIL"}),
        {CLIP_PEER: 25.0, PILLOW: 4.0},
    )


def _plain(frames: Iterator[Bytes], threads: int) -> Case:
    return Case(
        "1080p RGB to 224, plain bilinear",
        _ours(frames, PLAIN, threads),
        _here(OPENCV, lambda: _opencv(next(frames)), "cv2"),
        _bytes([PLAIN], "rgb"),
        f"not antialiased, normalised; {threads} threads, OpenCV as many as it takes",
        absences({OPENCV: "cv2"}),
        {OPENCV: 1.5},
    )


def _letterbox(frames: Iterator[Bytes], threads: int) -> Case:
    return Case(
        "1080p RGB to 640, letterbox",
        _ours(frames, LETTERBOX, threads),
        _here(OPENCV, lambda: _opencv_letterbox(next(frames)), "cv2"),
        _bytes([LETTERBOX], "rgb"),
        f"plain bilinear; {threads} threads",
        absences({OPENCV: "cv2"}),
    )


def _camera(frames: Iterator[Bytes], threads: int) -> Case:
    return Case(
        "1080p NV12 to 224, bicubic, antialiased",
        _ours(frames, CLIP, threads, "nv12"),
        _here(BOTH_OPENCV, lambda: _pillow(_colours(next(frames))), "cv2", "PIL"),
        _bytes([CLIP], "nv12"),
        f"colours converted on the way; {threads} threads",
        absences({BOTH_OPENCV: "cv2"}) or absences({BOTH_OPENCV: "PIL"}),
    )


def _decoded(planes: Iterator[Bytes], threads: int) -> list[Case]:
    """A decoder's frames as they are, beside a picture in RGB that FFmpeg makes of them first."""
    if util.find_spec("av") is None:
        return []
    from av import VideoFrame

    from ...runtime.sources.containers import picture_of, rgb

    frames = cycle([VideoFrame.from_ndarray(next(planes), format="yuv420p") for _ in range(FRAMES)])
    out = np.empty(CLIP.shape, CLIP.dtype)

    def ours() -> object:
        seen: Any = picture_of(next(frames))
        return image_to_tensor(seen.planes, spec=CLIP, threads=threads, out=out)

    return [
        Case(
            "1080p I420 of a decoder to 224, bicubic, antialiased",
            ours,
            {FFMPEG: lambda: image_to_tensor(rgb(next(frames)), spec=CLIP, threads=threads, out=out)},
            _bytes([CLIP], "i420"),
            f"a decoded frame as PyAV hands it out; {threads} threads",
        )
    ]


def _two(frames: Iterator[Bytes], format: str, threads: int) -> Case:
    specs = [CLIP, LARGER]
    outs = [np.empty(spec.shape, spec.dtype) for spec in specs]

    def apart(fresh: bool) -> None:
        frame = next(frames)
        for spec, out in zip(specs, outs, strict=True):
            image_to_tensor(frame, spec=spec, format=format, threads=threads, out=out)
            frame = next(frames) if fresh else frame

    return Case(
        f"1080p {format.upper()} to 224 and 384, bicubic",
        lambda: image_to_tensors(next(frames), specs, format=format, threads=threads, outs=outs),
        {"apart": lambda: apart(False), "apart, out of the cache": lambda: apart(True)},
        _bytes(specs, format),
        f"apart: two calls; out of the cache: as when an encoder ran in between; {threads} threads",
        {},
        {"apart": 1 / 0.75},
    )


def _bytes(specs: list[ImageSpec], format: str) -> int:
    """Source pixels that count for any of the outputs, and the outputs."""
    seen = np.zeros((HEIGHT, WIDTH), bool)
    written = 0
    for spec in specs:
        plan = plan_image(spec, (HEIGHT, WIDTH))
        rows, columns = (_touched(axis, length) for axis, length in ((plan.rows, HEIGHT), (plan.columns, WIDTH)))
        seen |= rows[:, None] & columns
        written += int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize
    return written + round(int(seen.sum()) * (3 if format == "rgb" else 1.5))


def _touched(axis: Any, length: int) -> NDArray[np.bool_]:
    touched = np.zeros(length, bool)
    if isinstance(axis, Axis):
        for start, count in zip(axis.start, axis.count, strict=True):
            touched[start : start + count] = True
    else:
        touched[axis.first] = touched[axis.second] = True
    return touched


def _here(name: str, call: Call, *modules: str) -> dict[str, Call]:
    return {name: call} if all(util.find_spec(module) for module in modules) else {}


def _normalised(picture: Any) -> NDArray[np.float32]:
    mean, std = np.asarray(MEAN, np.float32), np.asarray(STD, np.float32)
    scaled = picture.astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(((scaled - mean) / std).transpose(2, 0, 1))


def _pillow(frame: Any) -> NDArray[np.float32]:
    from PIL import Image

    width = 224 * WIDTH // HEIGHT
    small = Image.fromarray(frame).resize((width, 224), Image.Resampling.BICUBIC)
    left = (width - 224) // 2
    return _normalised(np.asarray(small)[:, left : left + 224])


def _opencv(frame: Bytes) -> NDArray[np.float32]:
    import cv2

    return _normalised(cv2.resize(frame, (224, 224), interpolation=cv2.INTER_LINEAR))


def _opencv_letterbox(frame: Bytes) -> NDArray[np.float32]:
    import cv2

    small = cv2.resize(frame, (640, 360), interpolation=cv2.INTER_LINEAR)
    boxed = cv2.copyMakeBorder(small, 140, 140, 0, 0, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return np.ascontiguousarray(boxed.transpose(2, 0, 1).astype(np.float32) / np.float32(255))


def _colours(frame: Bytes) -> Any:
    import cv2

    return cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_NV12)


def _clip(frames: Iterator[Bytes]) -> dict[str, Callable[[], object]]:
    """The processor that transformers takes where torchvision is not: Pillow and NumPy."""
    if util.find_spec("transformers") is None:
        return {}
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil()
    return {CLIP_PEER: lambda: processor(next(frames))}
