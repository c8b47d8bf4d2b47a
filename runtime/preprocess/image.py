"""A picture → the tensor of an image encoder: the sizes are reckoned here, the pixels are the kernel's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import ImageConverter, ImageSpec, KernelError, image_to_tensor
from ...kernels.frames import Frame
from ..errors import InputError
from ..frame import VideoFrame
from ..manifest import ImageModality
from ..values import Array
from ._checks import as_array, described, output

__all__ = ["LARGE", "Pictures", "grey", "image_tensor", "image_tensors", "scaled_size"]

Size = tuple[int, int]
LARGE = 1 << 19
"""Pixels from which on several threads prepare a picture in less time than one (640 × 360: no, 1280 × 720: yes)."""


def image_tensor(image: Any, modality: ImageModality, *, out: Array | None = None, threads: int = 1) -> Array:
    """A picture → float32 (1, channels, height, width), resized, cropped and normalised as the manifest says.

    `image`: uint8 RGB (H, W, 3), whose strides may be any (a mirrored or cropped view is not copied), or a
    `VideoFrame`, which is converted on the way. With one channel a grey picture (H, W) is taken as it is. `out`: where
    to write, of the same shape. `threads`: at most so many, for a large picture.

    Raises:
        InputError: not uint8 RGB, no pixels, or a picture that the manifest has no way to bring to the encoder's size.
    """
    if modality.channels == 3:
        return image_tensors(image, [modality], [out], threads=threads)[0]
    pixels = as_array(modality.name, image, "uint8 RGB of shape (H, W, 3)")
    flat = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1)
    if pixels.dtype != np.uint8 or pixels.size == 0 or not (flat or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise _refusal(modality.name, pixels)
    out = output(out, (1, 1, modality.height, modality.width), np.float32)
    spec = _spec(modality, (pixels.shape[0], pixels.shape[1]))
    try:
        out[0, 0] = image_to_tensor(pixels if flat else grey(pixels), spec=spec, format="gray")[0]
    except KernelError as error:
        raise _unreachable([modality], error) from error
    return out


def image_tensors(
    image: Any, modalities: Sequence[ImageModality], outs: Sequence[Array | None], *, threads: int = 1
) -> list[Array]:
    """One picture for several encoders of three channels: read, and of a `VideoFrame` converted, once for all of them.

    Each tensor is, bit for bit, what `image_tensor` gives. Raises InputError as it does.
    """
    places = [
        output(out, (1, 3, modality.height, modality.width), np.float32)
        for out, modality in zip(outs, modalities, strict=True)
    ]
    Pictures(modalities, places, threads=threads)(image)
    return places


class Pictures:
    """`image_tensors` for pictures that come one after the other, always into the same `outs`.

    What a size of picture asks for is looked up when one of another size comes.
    """

    __slots__ = ("_convert", "_outs", "_threads", "modalities")

    def __init__(self, modalities: Sequence[ImageModality], outs: Sequence[Array], *, threads: int = 1) -> None:
        self.modalities = modalities
        self._outs, self._threads = [out[0] for out in outs], threads
        self._convert: ImageConverter | None = None

    def __call__(self, image: Any) -> None:
        """Fill the tensors. Raises InputError as `image_tensor` does."""
        picture = image.planes if isinstance(image, VideoFrame) else image
        try:
            if self._convert is None or not self._convert.fill(picture):
                picture, self._convert = self._fit(picture)
                self._convert(picture)
        except KernelError as error:
            raise _unreachable(self.modalities, error) from error

    def _fit(self, picture: Any) -> tuple[Any, ImageConverter]:
        """The picture as the kernels take it, and what converts all of its size."""
        if isinstance(picture, Frame):
            size = picture.size
        else:
            name = self.modalities[0].name
            picture = as_array(name, picture, "uint8 RGB of shape (H, W, 3), or a VideoFrame")
            if picture.dtype != np.uint8 or picture.size == 0 or picture.ndim != 3 or picture.shape[2] != 3:
                raise _refusal(name, picture)
            size = picture.shape[0], picture.shape[1]
        specs = [_spec(modality, size) for modality in self.modalities]
        threads = self._threads if size[0] * size[1] >= LARGE else 1
        return picture, ImageConverter(specs, size, self._outs, threads=threads)


def grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB (H, W, 3) → luma (H, W): ITU-R BT.601 in 16 bits, as Pillow's mode L."""
    red, green, blue = (pixels[:, :, channel].astype(np.uint32) for channel in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)


def scaled_size(modality: ImageModality, source: Size) -> Size:
    """(height, width) of a picture of size `source` after the resize; what follows from another edge rounds down.

    Where transformers reckons in floating point (`fit`), so does this: the product may fall just short of a pixel.
    """
    height, width = source
    if modality.resize == "none":
        return source
    target = modality.resized or (modality.height, modality.width)
    if modality.resize == "exact":
        return target
    if modality.resize == "fit":
        factor = min(target[0] / height, target[1] / width)
        return int(height * factor), int(width * factor)
    if modality.edge is not None:
        edge = modality.edge
        return (edge, edge * width // height) if height <= width else (edge * height // width, edge)
    if target[0] * width >= target[1] * height:
        return target[0], max(target[1], target[0] * width // height)
    return max(target[0], target[1] * height // width), target[1]


@lru_cache(maxsize=64)
def _spec(modality: ImageModality, source: Size) -> ImageSpec:
    """What the kernel is to do with pictures of that size."""
    target, scaled = (modality.height, modality.width), scaled_size(modality, source)
    spare = (scaled[0] - target[0], scaled[1] - target[1])
    centred = modality.crop == "centre"
    fits = centred or spare == (0, 0) or (modality.pad == "end" and max(spare) <= 0)
    if min(scaled) < 1 or not fits:
        raise InputError(
            f"{modality.name}: cannot be brought to {target[0]} × {target[1]}",
            found=f"{source[0]} × {source[1]}" + (f", scaled to {scaled[0]} × {scaled[1]}" if scaled != source else ""),
            expected="one that is no larger" if modality.pad == "end" else "a picture of that size",
            fix="Resize it first; this bundle does not" if modality.resize == "none" else None,
        )
    return ImageSpec(
        *target, resize="exact", scaled=scaled, crop=(spare[0] // 2, spare[1] // 2) if centred else (0, 0),
        filter=modality.filter, order=modality.order, pad=0 if centred else None,
        fill=0.0 if modality.pad == "end" else None, scale=modality.scale, mean=_three(modality.mean),
        std=_three(modality.std),
    )  # fmt: skip


def _unreachable(modalities: Sequence[ImageModality], error: KernelError) -> InputError:
    names = ", ".join(each.name for each in modalities)
    sizes = " and ".join(f"{each.height} × {each.width}" for each in modalities)
    return InputError(
        f"{names}: cannot be brought to {sizes} ({error.argument})", found=error.found, expected=error.expected
    )


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    """The kernel's channels are three; of a grey picture they are equal, and the first is taken."""
    first, *others = values
    return (first, others[0], others[1]) if others else (first, first, first)


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
