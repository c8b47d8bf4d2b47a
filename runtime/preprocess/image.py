"""Camera frame → the tensor of an image encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels import KernelError, image_to_tensor
from ..errors import InputError
from ..manifest import ImageModality
from ..values import Array
from ._checks import as_array, described, output

__all__ = ["image_tensor"]


def image_tensor(image: Any, modality: ImageModality, *, out: Array | None = None) -> Array:
    """uint8 RGB (H, W, 3) → float32 (1, 3, height, width), resized, cropped and normalised as the manifest says.

    Any strides are fine (a mirrored or cropped view is not copied). `out`: where to write, of the same shape.

    Raises:
        InputError: not uint8 RGB, no pixels, or a picture that the manifest's crop does not fit in.
    """
    pixels = as_array(modality.name, image, "uint8 RGB of shape (H, W, 3)")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise _refusal(modality.name, pixels)
    out = output(out, (1, 3, modality.height, modality.width), np.float32)
    try:
        image_to_tensor(
            pixels,
            modality.height,
            modality.width,
            filter=modality.filter,
            resize=modality.resize,
            crop=modality.crop,
            edge=modality.edge,
            scale=modality.scale,
            mean=modality.mean,
            std=modality.std,
            out=out[0],
        )
    except KernelError as error:
        raise InputError(
            f"{modality.name}: cannot be brought to {modality.height} × {modality.width} ({error.argument})",
            found=error.found,
            expected=error.expected,
        ) from error
    return out


def _refusal(name: str, pixels: Array) -> InputError:
    """The error for pixels that are not uint8 RGB, with the conversion that would help."""
    if pixels.size == 0:
        return InputError(f"{name} has no pixels", found=described(pixels), expected="at least one")
    return InputError(
        f"{name} is not a colour picture of bytes",
        found=described(pixels),
        expected="uint8 RGB of shape (H, W, 3)",
        fix=_conversion(pixels),
    )


def _conversion(pixels: Array) -> str | None:
    if pixels.ndim == 4 and pixels.shape[0] == 1:
        return "It has a batch axis: hand in image[0]"
    if pixels.ndim == 2:
        return "It is grey: hand in np.repeat(image[:, :, None], 3, axis=2)"
    if pixels.ndim != 3:
        return None
    if pixels.shape[2] == 1:
        return "It is grey: hand in np.repeat(image, 3, axis=2)"
    if pixels.shape[2] == 4:
        return "It has an alpha channel: hand in image[:, :, :3]"
    if pixels.shape[0] == 3 and pixels.shape[2] != 3:
        return "The channels come first: hand in image.transpose(1, 2, 0)"
    if pixels.shape[2] == 3 and pixels.dtype.kind == "f":
        return "For values in [0, 1] hand in (image * 255).round().astype(np.uint8)"
    if pixels.shape[2] == 3:
        return "Scale the values to 0..255 and hand in image.astype(np.uint8)"
    return None
