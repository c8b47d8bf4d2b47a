"""Video files, frame by frame with the timestamps of the container."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ..errors import MissingExtraError, SourceError
from ..frame import VideoFrame
from ..values import Packet
from .base import FileSource
from .containers import decode, have_pyav, open_container, picture_of, start_s, stream_of

__all__ = ["OpenCvVideo", "PyAvVideo", "video_file"]


def video_file(modality: str, uri: str) -> FileSource:
    """A video file: PyAV where it is installed (exact timestamps), else OpenCV."""
    if have_pyav():
        return PyAvVideo(modality, uri)
    try:
        import cv2  # noqa: F401
    except ImportError:
        raise MissingExtraError("av", "camera", f"reading the video {uri}") from None
    return OpenCvVideo(modality, uri)


class PyAvVideo(FileSource):
    """Every frame, stamped with its presentation time minus the container's start time."""

    def __init__(self, modality: str, uri: str) -> None:
        super().__init__(modality)
        self._uri = uri
        container = open_container(uri)
        stream = stream_of(container, "video", uri)
        self.fps = float(stream.average_rate or stream.guessed_rate or 0) or 25.0
        container.close()

    def packets(self) -> Iterator[Packet]:
        """One packet a frame; a frame without a timestamp follows its predecessor by one average frame time."""
        container = open_container(self._uri)
        try:
            stream = stream_of(container, "video", self._uri)
            stream.thread_type = "AUTO"
            zero, last = start_s(container), -math.inf
            for frame in decode(container, stream, self._uri):
                time_s = float(frame.time) - zero if frame.time is not None else max(0.0, last + 1.0 / self.fps)
                if time_s <= last:
                    continue  # a repeated timestamp would be a second truth about one moment
                last = time_s
                yield Packet(self.modality, picture_of(frame), time_s)
        finally:
            container.close()


class OpenCvVideo(FileSource):
    """Every frame, stamped with OpenCV's position in the file."""

    def __init__(self, modality: str, uri: str) -> None:
        super().__init__(modality)
        self._uri = uri
        capture = self._open()
        self.fps = float(capture.get(5)) or 25.0  # cv2.CAP_PROP_FPS
        capture.release()

    def _open(self) -> Any:
        import cv2

        capture = cv2.VideoCapture(self._uri)
        if not capture.isOpened():
            raise SourceError(
                f"the video {self._uri} cannot be read",
                found="a file without a video stream that OpenCV can open",
                expected="a video file",
                fix="Check that it plays elsewhere, or run: pip install av",
            )
        return capture

    def packets(self) -> Iterator[Packet]:
        """One packet a frame."""
        import cv2

        capture, index, last = self._open(), 0, -1.0
        try:
            while capture.grab():
                position_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
                good, picture = capture.retrieve()
                # Some containers give no position: then the frame rate is all there is.
                time_s = position_s if position_s > last else index / self.fps
                index, last = index + 1, max(last, time_s)
                if good:
                    yield Packet(self.modality, VideoFrame(picture, "bgr"), time_s)
        finally:
            capture.release()
        if index == 0:
            raise SourceError(f"the video {self._uri} has no frames", expected="at least one frame")
