"""Pictures: one pass from a camera's bytes to the tensor of an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ._checks import described, output
from ._select import kernels
from .errors import KernelError
from .plan import normalisation_table, plan_resize

__all__ = ["image_to_tensor"]

Floats = NDArray[np.float32]


def image_to_tensor(
    image: NDArray[np.uint8],
    height: int,
    width: int,
    *,
    filter: str = "bilinear",
    resize: str = "shortest-edge",
    crop: str = "centre",
    edge: int | None = None,
    scale: float = 1.0 / 255.0,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    out: Floats | None = None,
) -> Floats:
    """uint8 RGB (H, W, 3), any strides → resize → centre crop → (x·scale − mean) / std → float32 (3, height, width).

    `filter`: area, bilinear, bicubic or lanczos, antialiased: Pillow's box, bilinear, bicubic and lanczos bit for bit,
    across each row first, rounded to bytes, then down the columns. (That was Pillow's only order for years; its newest
    versions swap it where the height shrinks much more than the width.) Only source pixels that matter are read.
    `resize`: "exact" scales to (height, width); "shortest-edge" keeps the proportions and scales to cover (height,
    width), or until the shorter edge is `edge`. The longer edge and the crop's corner round down.
    `out`: where to write, C-contiguous.

    Raises:
        KernelError: wrong dtype or shape, an unknown word, a scaled picture that the crop does not fit in.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise KernelError("image", found=described(image), expected="uint8 RGB of shape (H, W, 3)")
    if image.size == 0:
        raise KernelError("image", found=described(image), expected="at least one pixel")
    source = (image.shape[0], image.shape[1])
    plan = plan_resize(source, (int(height), int(width)), filter, resize, crop, edge)
    table = normalisation_table(float(scale), tuple(map(float, mean)), tuple(map(float, std)))
    out = output(out, (3, int(height), int(width)), np.float32)
    rows, columns = plan.rows, plan.columns
    kernels.resample(
        image, rows.start, rows.count, rows.weight, columns.start, columns.count, columns.weight, table, out
    )
    return out
