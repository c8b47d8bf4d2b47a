"""Pictures: one file, or a folder of them shown at a steady rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, SourceError
from ..values import Packet
from .base import FileSource, existing_file, quiet
from .containers import decode, have_pyav, open_container, rgb, stream_of

__all__ = ["SUFFIXES", "ImageFile", "ImageFolder", "pictures_in", "read_picture"]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names; hidden files, which some systems strew, are left out."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    return sorted(file for file in files if file.is_file())


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture file as uint8 RGB (H, W, 3), by OpenCV or else PyAV. Raises `SourceError`, `MissingExtraError`."""
    existing_file(path, "the picture")
    try:
        import cv2
    except ImportError:
        if not have_pyav():
            raise MissingExtraError("opencv-python", "camera", f"reading {path}") from None
        return _by_pyav(path)
    # Decoding from bytes: OpenCV cannot open every path on every system, and it warns on stderr when it fails.
    quiet(cv2)
    try:
        raw = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise SourceError(f"the picture {path} cannot be read", found=error.strerror or str(error)) from error
    picture = cv2.imdecode(raw, cv2.IMREAD_COLOR) if raw.size else None
    if picture is None:
        raise SourceError(
            f"the picture {path} cannot be decoded",
            found=f"{raw.size} bytes that are no picture",
            expected="JPEG, PNG, BMP, TIFF or WebP",
            fix="Check that it opens elsewhere and is not cut short.",
        )
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _by_pyav(path: Path) -> NDArray[np.uint8]:
    container = open_container(str(path))
    try:
        return rgb(next(decode(container, stream_of(container, "video", str(path)), str(path))))
    finally:
        container.close()


class ImageFile(FileSource):
    """One picture at 0 s, read when the source is opened."""

    def __init__(self, modality: str, path: str | Path) -> None:
        super().__init__(modality)
        self._picture = read_picture(Path(path))

    def packets(self) -> Iterator[Packet]:
        """The one packet."""
        yield Packet(self.modality, self._picture, 0.0)


class ImageFolder(FileSource):
    """The pictures of a folder in the order of their names, `fps` a second, read one at a time."""

    def __init__(self, modality: str, path: str | Path, *, fps: float) -> None:
        super().__init__(modality)
        if not 0 < fps < float("inf"):
            raise SourceError(f"the folder {path} cannot be shown", found=f"fps {fps}", expected="a number above zero")
        self._fps = fps
        self._files = pictures_in(Path(path))
        if not self._files:
            raise SourceError(
                f"the folder {path} has no pictures",
                expected="files ending in " + ", ".join(sorted(SUFFIXES)),
                fix="Point to the folder that holds the pictures themselves.",
            )
        read_picture(self._files[0])

    def __len__(self) -> int:
        return len(self._files)

    def packets(self) -> Iterator[Packet]:
        """One packet a picture."""
        for index, file in enumerate(self._files):
            yield Packet(self.modality, read_picture(file), index / self._fps)
