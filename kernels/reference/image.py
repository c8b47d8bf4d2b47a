"""Frames to tensors in NumPy: convert the colours, resize, look every byte up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import YUV_BITS
from ..plan import LERP_BITS, PRECISION

__all__ = ["ImagePlan", "image_to_tensors", "yuv_to_rgb"]

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int32]


class ImagePlan:
    """The numbers of a conversion; `geometry.Plan.arguments` gives them."""

    def __init__(
        self, source_height: int, source_width: int, kind: str, row_start: Ints, row_count: Ints, row_weight: Ints,
        column_start: Ints, column_count: Ints, column_weight: Ints, height: int, width: int, top: int, left: int,
        bgr: bool, hwc: bool, table: NDArray[Any], margin: NDArray[Any] | None,
    ) -> None:  # fmt: skip
        self.source = (source_height, source_width)
        self.kind = kind
        self.rows = (row_start, row_count, row_weight)
        self.columns = (column_start, column_count, column_weight)
        self.size = (height, width)
        self.corner = (top, left)
        self.bgr, self.hwc = bgr, hwc
        self.table, self.margin = table, margin


def image_to_tensors(
    planes: tuple[Bytes, ...],
    matrix: tuple[int, ...] | None,
    plans: Sequence[ImagePlan],
    outs: Sequence[NDArray[Any]],
    threads: int,
) -> None:
    """One frame to every `out`, by the plan at the same place. `threads` is for the compiled twin."""
    image = planes[0] if matrix is None else yuv_to_rgb(planes, matrix)
    for plan, out in zip(plans, outs, strict=True):
        _tensor(_resized(image, plan), plan, out)


def yuv_to_rgb(planes: tuple[Bytes, ...], matrix: tuple[int, ...]) -> Bytes:
    """Luma (H, W) and differences of half the width → (H, W, 3). A difference counts for all pixels that it lies on.

    The formula is that of `frames.yuv_matrix`.
    """
    black, luma, red_v, green_u, green_v, blue_u = matrix
    y = planes[0].astype(np.int32)
    tall = y.shape[0] // planes[1].shape[0]
    u, v = (plane.repeat(tall, axis=0).repeat(2, axis=1).astype(np.int32) - 128 for plane in planes[1:])
    grey = luma * (y - black) + (1 << (YUV_BITS - 1))
    colours = np.stack([grey + red_v * v, grey + green_u * u + green_v * v, grey + blue_u * u], axis=-1)
    picture: Bytes = np.clip(colours >> YUV_BITS, 0, 255).astype(np.uint8)
    return picture


def _resized(image: Bytes, plan: ImagePlan) -> Bytes:
    """The part of the target that the picture covers, in bytes, red first."""
    if plan.kind == "sampled":
        return _sampled(image, plan)
    if plan.kind == "across":
        top, bottom = int(plan.rows[0].min()), int((plan.rows[0] + plan.rows[1]).max())
        narrow = _weighed(image[top:bottom].swapaxes(0, 1), *plan.columns)
        return _weighed(narrow.swapaxes(0, 1), plan.rows[0] - top, *plan.rows[1:])
    left, right = int(plan.columns[0].min()), int((plan.columns[0] + plan.columns[1]).max())
    flat = _weighed(image[:, left:right], *plan.rows)
    small: Bytes = _weighed(flat.swapaxes(0, 1), plan.columns[0] - left, *plan.columns[1:]).swapaxes(0, 1)
    return small


def _weighed(source: Bytes, start: Ints, count: Ints, weight: Ints) -> Bytes:
    """The first axis of `source` (N, …) resampled: round to nearest, halves up, and clamp to a byte, as Pillow does."""
    shape = (-1,) + (1,) * (source.ndim - 1)
    total = np.full((len(start), *source.shape[1:]), 1 << (PRECISION - 1), np.int64)
    for tap in range(weight.shape[1]):
        index = np.minimum(start + tap, source.shape[0] - 1)
        total += source[index].astype(np.int64) * weight[:, tap].astype(np.int64).reshape(shape)
    grey: Bytes = np.clip(total >> PRECISION, 0, 255).astype(np.uint8)
    return grey


def _sampled(image: Bytes, plan: ImagePlan) -> Bytes:
    """Two neighbours along each axis, in the fixed point of OpenCV's `resize`, where each row's share is rounded."""
    first, second, weight = plan.columns
    share = weight.astype(np.int32)[:, :, None]
    upper, lower, part = plan.rows
    line = image[np.concatenate([upper, lower])].astype(np.int32)
    line = (line[:, first] * share[:, 0] + line[:, second] * share[:, 1]) >> 4
    above, below = np.split(line, 2)
    down = part.astype(np.int32)[:, :, None, None]
    grey = ((above * down[:, 0]) >> 16) + ((below * down[:, 1]) >> 16) + 2
    assert LERP_BITS == 11  # 8 bits of pixel and 11 of weight, less 4; 11 more, less 16: 2 are left
    return (grey >> 2).astype(np.uint8)


def _tensor(picture: Bytes, plan: ImagePlan, out: NDArray[Any]) -> None:
    target = out.transpose(2, 0, 1) if plan.hwc else out
    top, left = plan.corner
    height, width = picture.shape[:2]
    for channel in range(3):
        source = picture[:, :, 2 - channel if plan.bgr else channel]
        if plan.margin is not None:
            target[channel] = plan.margin[channel]
        target[channel, top : top + height, left : left + width] = plan.table[channel][source]
