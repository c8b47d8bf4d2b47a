"""Cameras and network streams as live sources."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import MissingExtraError, SourceError
from ..frame import VideoFrame
from ..manifest import AudioModality
from ..values import Packet
from .base import WindowCutter, quiet
from .containers import decode, have_pyav, open_container, picture_of, resampled, stream_of
from .live import Grabber, Live

__all__ = ["camera", "network_sound", "network_video"]

READ_TIMEOUT_S = 5.0
"""A network stream that is silent for longer is lost."""


def camera(modality: str, index: int, *, timeout_s: float) -> Live:
    """The camera with this index, through OpenCV."""
    return Live(
        modality, lambda: _OpenCvGrabber(modality, index), timeout_s=timeout_s, name=f"camera {index}", capacity=2
    )


def network_video(modality: str, url: str, *, timeout_s: float) -> Live:
    """The video of an RTSP, HTTP or other URL: PyAV where it is installed, else OpenCV."""

    def opened() -> Grabber:
        return _StreamGrabber(modality, url) if have_pyav() else _OpenCvGrabber(modality, url)

    return Live(modality, opened, timeout_s=timeout_s, name=f"stream {url}", capacity=2)


def network_sound(modality: AudioModality, url: str, rate_hz: float, *, timeout_s: float) -> Live:
    """The sound of an RTSP, HTTP or other URL, through PyAV."""
    return Live(
        modality.name,
        lambda: _SoundGrabber(modality, url, rate_hz),
        timeout_s=timeout_s,
        name=f"stream {url}",
        capacity=2,
    )


class _OpenCvGrabber:
    """Frames stamped right after `grab`, before the slower conversion to pixels."""

    def __init__(self, modality: str, device: int | str) -> None:
        try:
            import cv2
        except ImportError:
            raise MissingExtraError("opencv-python", "camera", f"reading {device}") from None
        self._cv2, self._modality = cv2, modality
        self._capture = _capture(cv2, device)
        if not self._capture.isOpened():
            self._capture.release()
            where = f"camera {device}" if isinstance(device, int) else str(device)
            raise SourceError(
                f"{where} cannot be opened",
                found="no such device, or one that is in use",
                expected="a camera index such as 0, or a stream URL",
                fix="List the cameras with: ls /dev/video*" if isinstance(device, int) else "Check the address.",
            )

    def read(self) -> Packet | None:
        """The next frame; None when the device is gone."""
        if not self._capture.grab():
            return None
        now = time.monotonic()
        good, picture = self._capture.retrieve()
        if not good:
            return None
        return Packet(self._modality, VideoFrame(picture, "bgr"), now)

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


def _capture(cv2: Any, device: int | str) -> Any:
    quiet(cv2)
    if isinstance(device, int):
        capture = cv2.VideoCapture(device)
        # The driver's own queue would age the frames; ask for the shortest.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
    limit = int(READ_TIMEOUT_S * 1e3)
    options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    return cv2.VideoCapture(device, cv2.CAP_FFMPEG, options)


def _open_live(url: str) -> Any:
    options = {"fflags": "nobuffer", "flags": "low_delay"}
    if url.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    return open_container(url, timeout_s=READ_TIMEOUT_S, **options)


class _StreamGrabber:
    """Video frames of a container that never ends, stamped when they were decoded."""

    def __init__(self, modality: str, url: str) -> None:
        self._modality = modality
        self._container = _open_live(url)
        stream = stream_of(self._container, "video", url)
        self._frames: Iterator[Any] = decode(self._container, stream, url)

    def read(self) -> Packet | None:
        """The next frame; None when the stream ended."""
        frame = next(self._frames, None)
        now = time.monotonic()
        return None if frame is None else Packet(self._modality, picture_of(frame), now)

    def close(self) -> None:
        """Close the connection."""
        self._container.close()


class _SoundGrabber:
    """Sound windows of a container that never ends; the first block sets the clock, the samples count on from it."""

    def __init__(self, modality: AudioModality, url: str, rate_hz: float) -> None:
        self._spec = modality
        self._container = _open_live(url)
        stream = stream_of(self._container, "audio", url)
        self._packets = self._windows(decode(self._container, stream, url), rate_hz)

    def _windows(self, frames: Iterator[Any], rate_hz: float) -> Iterator[Packet]:
        rate = self._spec.sample_rate
        cutter = WindowCutter(self._spec.samples, rate, rate_hz, gap_s=0.5)
        for _, samples in resampled(frames, rate, 0.0):
            for end_s, window in cutter.push(samples, time.monotonic() - len(samples) / rate):
                yield Packet(self._spec.name, np.clip(window, -1.0, 1.0), end_s, rate)

    def read(self) -> Packet | None:
        """The next window; None when the stream ended."""
        return next(self._packets, None)

    def close(self) -> None:
        """Close the connection."""
        self._container.close()
