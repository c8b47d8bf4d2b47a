"""Pictures and masks that a generation starts from → tensors of its own size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .manifest import ImageModality, PictureInput
from .preprocess.image import image_tensor
from .values import Array

__all__ = ["mask_tensors", "prepared_picture", "start_picture"]

_FULL = {"resize": "exact", "filter": "lanczos", "crop": "none", "scale": 1.0 / 255.0}


def prepared_picture(image: Any, source: PictureInput) -> Array:
    """uint8 RGB (H, W, 3) → float32 (1, 3, height, width), as the manifest says. Raises InputError."""
    constants = {field: getattr(source, field) for field in PictureInput.__struct_fields__}
    return image_tensor(image, _frame("image", **constants))


def start_picture(image: Any, size: tuple[int, int]) -> Array:
    """uint8 RGB (H, W, 3) → float32 (1, 3, height, width) in [-1, 1], stretched to the size by Lanczos."""
    half = (0.5, 0.5, 0.5)
    return image_tensor(image, _frame("image", height=size[0], width=size[1], mean=half, std=half, **_FULL))


def mask_tensors(mask: Any, size: tuple[int, int], cells: tuple[int, int]) -> tuple[Array, Array]:
    """Where the picture may change → float32 of 0 and 1: (1, 1, *size) for pixels, (1, 1, *cells) for latents.

    `mask`: bool or uint8, (H, W) or (H, W, 3); True, or brighter than half, may change. It is stretched as the picture
    is; a latent cell takes the first of its pixels, as diffusers' inpainting does.
    """
    grey = _grey(mask)
    zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    frame = _frame("mask", height=size[0], width=size[1], mean=zero, std=one, **_FULL)
    wide = image_tensor(np.repeat(grey[:, :, None], 3, axis=2), frame)
    pixels = (wide[:, :1] >= 0.5).astype(np.float32)
    rows = np.arange(cells[0]) * size[0] // cells[0]
    columns = np.arange(cells[1]) * size[1] // cells[1]
    return pixels, np.ascontiguousarray(pixels[:, :, rows][:, :, :, columns])


def _grey(mask: Any) -> NDArray[np.uint8]:
    array = np.asarray(mask)
    colour = array.ndim == 3 and array.shape[2] == 3
    if array.dtype not in (np.uint8, np.bool_) or not (array.ndim == 2 or colour) or array.size == 0:
        raise InputError(
            "mask is not a black-and-white picture",
            found=f"{array.dtype} of shape {array.shape}",
            expected="bool or uint8 of shape (H, W) or (H, W, 3): white may change",
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if not colour:
        return np.asarray(array, np.uint8)
    luma = array.astype(np.uint32) @ np.array([299, 587, 114], np.uint32)  # ITU-R BT.601
    return np.asarray((luma + 500) // 1000, np.uint8)


def _frame(name: str, **constants: Any) -> ImageModality:
    """The constants as those of a modality, which is what the preprocessing takes."""
    return ImageModality(name=name, part=name, rate_hz=1.0, max_age_s=None, tokens=(1, 1), **constants)
