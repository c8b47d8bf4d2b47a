"""Pictures on a GPU: from frames to tensors, one frame or many of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import KernelError
from ..frames import Frame, frame_of
from ..geometry import Plan, plan_image
from ..image import apart, wanted_spec
from ..plan import Axis
from ..spec import ImageSpec
from ..tables import element_table, margin_elements
from .arrays import address
from .image_structs import (
    DeviceFrames,
    DevicePlane,
    DeviceTarget,
    DirectArguments,
    MarginArguments,
    Matrix,
    TiledArguments,
)
from .launching import BLOCK, Call, grid_for, opened
from .tiling import Grouped, grouped, tiling

__all__ = ["image_to_tensor", "image_to_tensors"]

ANYHOW, LUMA_AND_PAIRS, RED_FIRST, BLUE_FIRST = range(4)
MOST_Z = 65535


def image_to_tensor(
    image: Any,
    height: int | None = None,
    width: int | None = None,
    *,
    spec: ImageSpec | None = None,
    format: str = "rgb",
    matrix: str = "bt601",
    full_range: bool = False,
    batch: bool = False,
    out: Any = None,
    stream: Any = None,
    **settings: Any,
) -> Any:
    """A frame → the tensor that an encoder wants, as `chiasm.kernels.image_to_tensor`, bit for bit.

    `batch`: the array (or each array of a tuple) has one more axis before the others, over frames, and so has `out`.

    Raises:
        KernelError: an argument that cannot be used: which one, what was found, what was expected.
        CudaError: no GPU that can be used, or the driver refuses.
    """
    spec = wanted_spec(spec, height, width, settings)
    return _convert(image, [spec], [out], ["out"], (format, matrix, full_range), batch, stream)[0]


def image_to_tensors(
    image: Any,
    specs: Sequence[ImageSpec],
    *,
    format: str = "rgb",
    matrix: str = "bt601",
    full_range: bool = False,
    batch: bool = False,
    outs: Sequence[Any] | None = None,
    stream: Any = None,
) -> tuple[Any, ...]:
    """One frame (or batch) → a tensor for each of several encoders, as `chiasm.kernels.image_to_tensors`.

    A launch for each: what they share is the frame in the second-level cache.

    Raises:
        KernelError, CudaError: as `image_to_tensor`.
    """
    for index, spec in enumerate(specs):
        if not isinstance(spec, ImageSpec):
            raise KernelError(f"specs[{index}]", found=type(spec).__name__, expected="an ImageSpec")
    places = [None] * len(specs) if outs is None else list(outs)
    if len(places) != len(specs):
        raise KernelError("outs", found=f"{len(places)} arrays", expected=f"{len(specs)}, one for each spec")
    names = [f"outs[{index}]" for index in range(len(specs))]
    return tuple(_convert(image, specs, places, names, (format, matrix, full_range), batch, stream))


def _convert(
    image: Any, specs: Sequence[ImageSpec], places: Sequence[Any], names: Sequence[str], words: tuple[Any, ...], batch:
    bool, stream: Any,
) -> list[Any]:  # fmt: skip
    with opened(stream) as call:
        several = isinstance(image, tuple)
        arrays = [call.view("image", each) for each in (image if several else (image,))]
        count, steps = _batch(arrays, batch)
        whole = [array[0] if batch else array for array in arrays]
        frame = frame_of(tuple(whole) if several else whole[0], *words)
        plans = [plan_image(spec, frame.size) for spec in specs]
        taken = [("image", array) for array in arrays]
        answers = []
        targets = []
        for place, spec, name in zip(places, specs, names, strict=True):
            shape = (count, *spec.shape) if batch else spec.shape
            answer, out = call.output(name, place, shape, spec.dtype)
            if place is not None:
                apart(name, out, taken)
                taken.append((name, out))
            answers.append(answer)
            targets.append(out)
        frames, packing = _frames(frame, count, steps)
        for plan, out in zip(plans, targets, strict=True):
            _launch(call, plan, frames, packing, _target(call, plan, out))
        return answers


def _batch(arrays: Sequence[NDArray[Any]], batch: bool) -> tuple[int, list[int]]:
    """The number of frames, and the bytes from one to the next in each array."""
    if not batch:
        return 1, [0] * len(arrays)
    lengths = {array.shape[0] if array.ndim else 0 for array in arrays}
    if len(lengths) != 1 or not 0 < min(lengths) < 1 << 31:
        raise KernelError(
            "image", found=f"{sorted(lengths)} frames", expected="one or more frames along the first axis"
        )
    return lengths.pop(), [array.strides[0] for array in arrays]


def _frames(frame: Frame, count: int, steps: Sequence[int]) -> tuple[DeviceFrames, int]:
    """The frames as the kernels take them, and how their rows lie."""
    height, width = frame.size
    colours = frame.matrix is None
    parts = [frame.planes[0][:, :, c] for c in range(3)] if colours else list(frame.planes)
    # Planes 1 and 2 of a tuple of two arrays are both of the second.
    source = [steps[min(i, len(steps) - 1)] for i in range(3)]
    planes = (DevicePlane * 3)(
        *(DevicePlane(address(part), step, *part.strides) for part, step in zip(parts, source, strict=True))
    )
    tall = 1 if colours else height // parts[1].shape[0]
    return DeviceFrames(planes, count, height, width, colours, tall, Matrix(*(frame.matrix or ()))), _packing(
        frame, planes
    )


def _packing(frame: Frame, planes: Any) -> int:
    """Whether sixteen pixels of a row can be read at once."""
    first, second, third = planes
    apart = (second.data or 0) - (first.data or 0)
    if frame.matrix is None:
        same = first.column_stride == 3 and (third.data or 0) - (second.data or 0) == apart
        found = {1: RED_FIRST, -1: BLUE_FIRST}.get(apart, ANYHOW) if same else ANYHOW
        used = [third if found == BLUE_FIRST else first]
    else:
        pairs = second.column_stride == third.column_stride == 2 and third.data == (second.data or 0) + 1
        found = LUMA_AND_PAIRS if pairs and first.column_stride == 1 else ANYHOW
        used = [first, second]
    fits = all((plane.data or 0) % 16 == plane.row_stride % 16 == plane.next % 16 == 0 for plane in used)
    return found if fits else ANYHOW


def _target(call: Call, plan: Plan, out: NDArray[Any]) -> DeviceTarget:
    spec = plan.spec

    def tables() -> list[NDArray[Any]]:
        margin = margin_elements(spec)
        return [element_table(spec), np.zeros(3, np.uint8) if margin is None else margin]

    table, margin = call.driver.kept(("elements", spec), tables)
    rows, columns = _lengths(plan)
    channel, row, column = (1, 3 * spec.width, 3) if spec.layout == "hwc" else (spec.height * spec.width, spec.width, 1)
    return DeviceTarget(
        address(out), table, margin if margin_elements(spec) is not None else None, 3 * spec.height * spec.width,
        channel, row, column, spec.height, spec.width, *plan.corner, rows, columns, out.dtype.itemsize, spec.channels
        == "bgr",
    )  # fmt: skip


def _lengths(plan: Plan) -> tuple[int, int]:
    """(rows, columns) of the picture in the target."""
    return len(plan.rows.weight), len(plan.columns.weight)


def _launch(call: Call, plan: Plan, frames: DeviceFrames, packing: int, target: DeviceTarget) -> None:
    rows, columns = plan.rows, plan.columns
    if (target.rows, target.columns) != (target.height, target.width):
        pixels = frames.count * target.height * target.width
        call.launch("chiasm_image_margin", grid_for(pixels, BLOCK), MarginArguments(target, frames.count))
    if plan.kind == "across" and isinstance(rows, Axis) and isinstance(columns, Axis):
        groups = (grouped(rows), grouped(columns))
        if _launch_tiled(call, plan, groups, frames, packing, target):
            return
    arguments = DirectArguments(
        frames, target, *call.driver.kept(("direct", plan.spec, plan.source), lambda: _plain(plan))
    )
    arguments.row_taps, arguments.column_taps = rows.weight.shape[1], columns.weight.shape[1]
    arguments.across = plan.kind == "across"
    kernel = "chiasm_image_sampled" if plan.kind == "sampled" else "chiasm_image_weighed"
    call.launch(kernel, grid_for(frames.count * target.rows * target.columns, BLOCK), arguments)


def _plain(plan: Plan) -> list[NDArray[Any]]:
    arrays: list[NDArray[Any]] = []
    for axis in (plan.rows, plan.columns):
        pair = (axis.start, axis.count) if isinstance(axis, Axis) else (axis.first, axis.second)
        arrays += [*pair, axis.weight]
    return arrays


def _launch_tiled(
    call: Call, plan: Plan, groups: tuple[Grouped, Grouped], frames: DeviceFrames, packing: int, target: DeviceTarget
) -> bool:
    """False when no tile fits into shared memory."""
    rows, columns = groups
    tile = tiling(rows, columns, frames.count, call.driver.multiprocessors)
    if tile is None:
        return False
    kept = call.driver.kept(
        ("tiled", plan.spec, plan.source), lambda: [rows.first, rows.quads, columns.first, columns.quads]
    )
    arguments = TiledArguments(
        frames, target, *kept, rows.groups, columns.groups, tile.rows, tile.columns, tile.staged_width,
        tile.narrow_groups, packing,
    )  # fmt: skip
    grid = (-(-target.columns // tile.columns), -(-target.rows // tile.rows), min(frames.count, MOST_Z))
    call.launch("chiasm_image_tiled", grid, arguments, shared=tile.shared)
    return True
