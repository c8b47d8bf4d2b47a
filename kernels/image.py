"""Pictures: one pass from a camera's bytes to the tensors of encoders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import described, output, thread_count
from ._select import kernels
from .errors import KernelError
from .frames import Frame, frame_of
from .geometry import plan_image
from .spec import ImageSpec

__all__ = ["ImageConverter", "apart", "image_to_tensor", "image_to_tensors", "wanted_spec"]

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
    plans, outs = _fitted([spec], frame.size, [out], ["out"])
    _write(frame, plans, outs, ["out"], thread_count(threads))
    return outs[0]


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
    frame = frame_of(image, format, matrix, full_range)
    converter = ImageConverter(specs, frame.size, outs, threads=threads)
    converter(frame)
    return converter.outs


class ImageConverter:
    """`image_to_tensors` for frames of one size, one after the other, always into the same `outs`.

    What stays the same is looked up and checked once, here: for a small picture that takes a fifth of the time of a
    call. `size`: (height, width) of the frames.

    Raises:
        KernelError: as `image_to_tensors`.
    """

    def __init__(
        self,
        specs: Sequence[ImageSpec],
        size: tuple[int, int],
        outs: Sequence[Tensor | None] | None = None,
        *,
        threads: int = 1,
    ) -> None:
        for index, spec in enumerate(specs):
            if not isinstance(spec, ImageSpec):
                raise KernelError(f"specs[{index}]", found=type(spec).__name__, expected="an ImageSpec")
        places: Sequence[Tensor | None] = [None] * len(specs) if outs is None else outs
        if len(places) != len(specs):
            raise KernelError("outs", found=f"{len(places)} arrays", expected=f"{len(specs)}, one for each spec")
        self._names = [f"outs[{index}]" for index in range(len(specs))]
        self._plans, found = _fitted(specs, size, places, self._names)
        self.outs = tuple(found)
        self._size, self._shape, self._threads = size, (*size, 3), thread_count(threads)

    def takes(self, image: object) -> bool:
        """Whether it is an RGB array or a `frames.Frame` of that size: all that a call takes."""
        if type(image) is np.ndarray:
            return image.shape == self._shape and bool(image.dtype == np.uint8)
        return isinstance(image, Frame) and image.size == self._size

    def fill(self, image: Any) -> bool:
        """Fill `outs`; False, and nothing is written, for what it does not take.

        Raises:
            KernelError: an image that shares memory with an output.
        """
        if not self.takes(image):
            return False
        frame = image if isinstance(image, Frame) else Frame((image,), None)
        _write(frame, self._plans, self.outs, self._names, self._threads)
        return True

    def __call__(self, image: Any) -> None:
        """`fill`, which raises KernelError for what it does not take, too."""
        if not self.fill(image):
            raise KernelError(
                "image", found=described(image), expected=f"uint8 of shape {self._shape}, or such a Frame"
            )


def _fitted(
    specs: Sequence[ImageSpec], size: tuple[int, int], places: Sequence[Tensor | None], names: Sequence[str]
) -> tuple[list[Any], list[Tensor]]:
    """The plans for frames of that size, and the outputs, which lie apart from each other."""
    plans = [_prepared(spec, size) for spec in specs]
    outs = [output(out, spec.shape, spec.dtype, name) for out, spec, name in zip(places, specs, names, strict=True)]
    for index, out in enumerate(outs):
        apart(names[index], out, list(zip(names[:index], outs[:index], strict=True)))
    return plans, outs


def _write(frame: Frame, plans: Sequence[Any], outs: Sequence[Tensor], names: Sequence[str], threads: int) -> None:
    taken = [("image", plane) for plane in frame.planes]
    for name, out in zip(names, outs, strict=True):
        apart(name, out, taken)
    kernels.image_to_tensors(frame.planes, frame.matrix, plans, outs, threads)


def apart(name: str, out: Tensor, taken: Sequence[tuple[str, Tensor]]) -> None:
    """What is written lies apart from what is read, and from what else is written."""
    for other, array in taken:
        if np.may_share_memory(out, array):
            raise KernelError(name, found=f"memory that it shares with {other}", expected="memory of its own")


@lru_cache(maxsize=64)
def _prepared(spec: ImageSpec, source: tuple[int, int]) -> Any:
    """The plan in the form of the kernels in use."""
    return kernels.ImagePlan(*plan_image(spec, source).arguments())
