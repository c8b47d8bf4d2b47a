"""Pictures: one pass from a camera's bytes to the tensors of encoders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import output, thread_count
from ._select import kernels
from .errors import KernelError
from .frames import Frame, frame_of
from .geometry import plan_image
from .spec import ImageSpec

__all__ = ["apart", "image_to_tensor", "image_to_tensors", "wanted_spec"]

Tensor = NDArray[Any]


def image_to_tensor(
    image: Any,
    height: int | None = None,
    width: int | None = None,
    *,
    spec: ImageSpec | None = None,
    format: str = "rgb",
    matrix: str = "bt601",
    full_range: bool = False,
    out: Tensor | None = None,
    threads: int = 1,
    **settings: Any,
) -> Tensor:
    """A frame as a camera gives it → the tensor that an encoder wants: crop, resize, normalise, cast in one pass.

    What is wanted is `spec`, or `height`, `width` and any fields of an `ImageSpec` as keywords; its docstring says what
    they mean. Only the source pixels that matter are read, where they lie: strides may be any (a mirrored or cropped
    view is not copied).

    Args:
        image: uint8, in one of these formats:
            "rgb", "bgr" (H, W, 3); "rgba", "bgra" (H, W, 4), of which alpha is ignored; "gray" (H, W) or (H, W, 1),
            which gives three equal channels; "yuyv" (H, W, 2), W even; "nv12" (3·H/2, W), or a tuple of luma (H, W) and
            differences (H/2, W/2, 2); "i420" (3·H/2, W), C-contiguous, or a tuple of (H, W), (H/2, W/2), (H/2, W/2).
            A colour difference counts for all the pixels that it lies on. Or a `frames.Frame`, whose format is known.
        matrix, full_range: of the formats in luma and colour difference: "bt601" or "bt709"; limited or full range.
            `frames.yuv_matrix` has the formula.
        out: where to write, C-contiguous, of the spec's shape and dtype.
        threads: how many work on it; the answer is the same for every number.

    Raises:
        KernelError: an argument that cannot be used: which one, what was found, what was expected.
    """
    spec = wanted_spec(spec, height, width, settings)
    frame = frame_of(image, format, matrix, full_range)
    return _convert(frame, [spec], [out], ["out"], thread_count(threads))[0]


def wanted_spec(spec: ImageSpec | None, height: Any, width: Any, settings: dict[str, Any]) -> ImageSpec:
    """The spec, or one of the keywords.

    Raises:
        KernelError: both, neither, or a setting that no picture could be made by.
    """
    if spec is None:
        if height is None or width is None:
            raise KernelError("height, width", found=f"{height} and {width}", expected="both, or spec")
        return ImageSpec.of(height, width, settings)
    if settings or height is not None or width is not None:
        raise KernelError("spec", found="a spec and its fields as well", expected="one of the two")
    return spec


def image_to_tensors(
    image: Any,
    specs: Sequence[ImageSpec],
    *,
    format: str = "rgb",
    matrix: str = "bt601",
    full_range: bool = False,
    outs: Sequence[Tensor | None] | None = None,
    threads: int = 1,
) -> tuple[Tensor, ...]:
    """One frame → a tensor for each of several encoders, bit for bit as `image_to_tensor` gives them one by one.

    The frame goes through the cache once: its colours are converted and its rows are laid out once for all the outputs
    that read them. That holds for the antialiased filters in their usual order; nearest and opencv-linear read little,
    each for itself.

    Raises:
        KernelError: as `image_to_tensor`; "outs[1]" is the second output.
    """
    for index, spec in enumerate(specs):
        if not isinstance(spec, ImageSpec):
            raise KernelError(f"specs[{index}]", found=type(spec).__name__, expected="an ImageSpec")
    places: Sequence[Tensor | None] = [None] * len(specs) if outs is None else outs
    if len(places) != len(specs):
        raise KernelError("outs", found=f"{len(places)} arrays", expected=f"{len(specs)}, one for each spec")
    frame = frame_of(image, format, matrix, full_range)
    names = [f"outs[{index}]" for index in range(len(specs))]
    return tuple(_convert(frame, specs, places, names, thread_count(threads)))


def _convert(
    frame: Frame, specs: Sequence[ImageSpec], places: Sequence[Tensor | None], names: Sequence[str], threads: int
) -> list[Tensor]:
    plans = [_prepared(spec, frame.size) for spec in specs]
    outs = [output(out, spec.shape, spec.dtype, name) for out, spec, name in zip(places, specs, names, strict=True)]
    taken = [("image", plane) for plane in frame.planes]
    for place, out, name in zip(places, outs, names, strict=True):
        if place is not None:
            apart(name, out, taken)
            taken.append((name, out))
    kernels.image_to_tensors(frame.planes, frame.matrix, plans, outs, threads)
    return outs


def apart(name: str, out: Tensor, taken: Sequence[tuple[str, Tensor]]) -> None:
    """What is written lies apart from what is read, and from what else is written."""
    for other, array in taken:
        if np.may_share_memory(out, array):
            raise KernelError(name, found=f"memory that it shares with {other}", expected="memory of its own")


@lru_cache(maxsize=64)
def _prepared(spec: ImageSpec, source: tuple[int, int]) -> Any:
    """The plan in the form of the kernels in use."""
    return kernels.ImagePlan(*plan_image(spec, source).arguments())
