"""A picture in the bytes of the camera or decoder that made it; encoders take it as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import KernelError, image_to_tensor
from ..kernels.frames import Frame, frame_of, yuv_matrix
from .errors import InputError

__all__ = ["VideoFrame", "is_picture"]


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class VideoFrame:
    """A picture whose bytes are not RGB. An encoder's tensor is made from them in one pass, which reads only what it
    needs; a picture in RGB is never made, unless somebody wants to see it.

    `pixels`, uint8 with any strides, not copied, by `format`:

    - "bgr" (H, W, 3), as OpenCV gives pictures; "rgb"; "rgba", "bgra" (H, W, 4), whose alpha is ignored; "gray" (H, W);
    - "nv12" (3·H/2, W), or a tuple of luma (H, W) and differences (H/2, W/2, 2), as camera drivers and hardware
      decoders give it;
    - "i420" (3·H/2, W), or a tuple of luma (H, W), blue and red difference (H/2, W/2), as most software decoders do;
    - "yuyv" (H, W, 2), as many USB cameras do.

    `matrix`, "bt601" or "bt709", and `full_range` say how luma and differences become colours; `np.asarray(frame)` and
    `rgb()` make them. Bytes that change while a pipeline still keeps the frame change what it keeps.

    Raises:
        InputError: pixels that are not of this format.
    """

    pixels: Any
    format: str
    matrix: str = "bt601"
    full_range: bool = False
    planes: Frame = field(init=False)
    """The same bytes as the kernels take them, checked once."""

    def __post_init__(self) -> None:
        try:
            yuv_matrix(self.matrix, bool(self.full_range))
            planes = frame_of(self.pixels, self.format, self.matrix, self.full_range)
        except KernelError as error:
            name = "pixels" if error.argument == "image" else error.argument
            raw = isinstance(self.pixels, (bytes, bytearray, memoryview))
            fix = "For raw bytes: np.frombuffer(data, np.uint8).reshape(...)" if raw and name == "pixels" else None
            raise InputError(
                f"Not a video frame ({name})", found=error.found, expected=error.expected, fix=fix
            ) from error
        object.__setattr__(self, "planes", planes)

    def __repr__(self) -> str:
        height, width, _ = self.shape
        return (
            f"VideoFrame({width} × {height}, {self.format}, {self.matrix}, {'full' if self.full_range else 'limited'})"
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), of the picture in RGB."""
        return *self.planes.size, 3

    def rgb(self) -> NDArray[np.uint8]:
        """uint8 RGB (H, W, 3): a new array."""
        return image_to_tensor(self.planes, *self.planes.size, resize="none", scale=1.0, dtype="uint8", layout="hwc")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """What `np.asarray` takes."""
        if copy is False:
            raise ValueError("A video frame becomes an array only by converting its colours: copy=False cannot be")
        return self.rgb() if dtype is None else self.rgb().astype(dtype, copy=False)


def is_picture(data: object) -> bool:
    """Whether the data of a packet is a picture, which `np.asarray` gives as uint8 RGB (H, W, 3)."""
    if isinstance(data, np.ndarray):
        return data.ndim == 3 and data.dtype == np.uint8 and data.size > 0
    return isinstance(data, VideoFrame)
