"""How a picture of one size becomes a target of another: the part of a conversion that does not look at pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .errors import KernelError
from .plan import SAMPLED, Axis, Samples, frozen_ints, plan_axis, sample_axis
from .spec import ImageSpec
from .tables import element_table, margin_elements

__all__ = ["Plan", "plan_image", "scaled_size"]

Size = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """A conversion of frames of size `source` (height, width), in numbers.

    `kind`: "across" (weighed: along each row, then down the columns), "down" (the other way about) or "sampled". `rows`
    and `columns` count source pixels from the frame's corner. They make a picture that stands at `corner` (top, left)
    in the target, whose margins are the rest.
    """

    spec: ImageSpec
    source: Size
    kind: str
    rows: Axis | Samples
    columns: Axis | Samples
    corner: Size

    def arguments(self) -> tuple[Any, ...]:
        """As the kernels' `ImagePlan` takes it."""
        spec = self.spec
        return (
            *self.source, self.kind, *_arrays(self.rows), *_arrays(self.columns), spec.height, spec.width, *self.corner,
            spec.channels == "bgr", spec.layout == "hwc", element_table(spec), margin_elements(spec),
        )  # fmt: skip


def _arrays(axis: Axis | Samples) -> tuple[Any, Any, Any]:
    if isinstance(axis, Axis):
        return axis.start, axis.count, axis.weight
    return axis.first, axis.second, axis.weight


@lru_cache(maxsize=128)
def plan_image(spec: ImageSpec, source: Size) -> Plan:
    """The plan for frames of size `source`, (height, width).

    Raises:
        KernelError: a box that leaves the frame, or a scaled picture that does not go with the crop.
    """
    top, left, bottom, right = spec.box or (0, 0, *source)
    if bottom > source[0] or right > source[1]:
        raise KernelError("box", found=spec.box, expected=f"inside a frame of {source[0]} × {source[1]}")
    box = (bottom - top, right - left)
    scaled = scaled_size(spec, box)
    begin = _corner(spec, box, scaled)
    corner = (max(-begin[0], 0), max(-begin[1], 0))
    # Every filter leaves a picture of the same size as it is.
    kind = "nearest" if scaled == box else spec.filter
    rows = _axis(kind, (box[0], scaled[0]), (begin[0], spec.height), top, row=True)
    columns = _axis(kind, (box[1], scaled[1]), (begin[1], spec.width), left, row=False)
    return Plan(spec, source, "sampled" if kind in SAMPLED else _order(spec, box, scaled), rows, columns, corner)


def scaled_size(spec: ImageSpec, source: Size) -> Size:
    """(height, width) of the picture after scaling and before the crop; an edge is never less than a pixel."""
    if spec.resize == "none":
        return source
    if spec.resize == "exact":
        return spec.scaled or (spec.height, spec.width)
    height, width = source
    shortest = spec.resize == "shortest-edge"
    if spec.edge is not None:
        by_height = (height <= width) == shortest
        known = spec.edge
    else:
        by_height = (spec.height * width >= spec.width * height) == shortest
        known = spec.height if by_height else spec.width
    if by_height:
        return known, _follows(spec.rounding, known * width, height)
    return _follows(spec.rounding, known * height, width), known


def _follows(rounding: str, product: int, divisor: int) -> int:
    whole, rest = divmod(product, divisor)
    if rounding == "nearest" and (2 * rest > divisor or (2 * rest == divisor and whole % 2)):
        whole += 1
    return max(whole, 1)


def _corner(spec: ImageSpec, box: Size, scaled: Size) -> Size:
    """Where the target begins in the scaled picture."""
    target = (spec.height, spec.width)
    spare = (scaled[0] - target[0], scaled[1] - target[1])
    if isinstance(spec.crop, str):
        begin = tuple(room // 2 if room >= 0 else -(-room // 2) for room in spare)
    else:
        begin = spec.crop
    covered = all(at >= 0 and at + want <= have for at, want, have in zip(begin, target, scaled, strict=True))
    cropped = max(spare) > 0
    if (spec.crop == "none" and cropped) or not (covered or (spec.pad is not None or spec.fill is not None)):
        raise KernelError(
            "crop",
            found=f"{spec.crop!r} with a picture of {box[0]} × {box[1]} scaled to {scaled[0]} × {scaled[1]}",
            expected=f"one that covers {target[0]} × {target[1]} (height × width): crop='centre' with a larger one, "
            "resize='exact', or pad for the margin",
        )
    if any(at >= have or at + want <= 0 for at, want, have in zip(begin, target, scaled, strict=True)):
        found = f"{spec.crop!r} with a picture scaled to {scaled[0]} × {scaled[1]}"
        raise KernelError("crop", found=found, expected="a target that shows some of the picture")
    return begin[0], begin[1]


def _order(spec: ImageSpec, box: Size, scaled: Size) -> str:
    """Which axis is first: the rule of `ImagingResampleInner` in Pillow 13."""
    shrinks = (box[0] - scaled[0], box[1] - scaled[1])
    return "down" if spec.order == "pillow" and shrinks[0] > max(0, 2 * shrinks[1]) else "across"


def _axis(kind: str, sizes: Size, target: Size, first: int, *, row: bool) -> Axis | Samples:
    """One axis, from `sizes[0]` pixels to `sizes[1]`, of which `target` (its begin, its length) shows a part.

    Moved by `first`, where the box begins in the frame.
    """
    low, high = max(target[0], 0), min(sum(target), sizes[1])
    if kind in SAMPLED:
        samples = sample_axis(*sizes, low, high - low, kind, row=row)
        return Samples(frozen_ints(samples.first + first), frozen_ints(samples.second + first), samples.weight)
    axis = plan_axis(*sizes, low, high - low, kind)
    return Axis(frozen_ints(axis.start + first), axis.count, axis.weight)
