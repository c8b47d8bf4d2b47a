"""Annotated video: H.264 in MP4 (or MKV, MOV), pixels and order of the file such that a browser plays it at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, SinkError
from ..values import Result
from .base import Closing, PendingFile
from .dashboard import Dashboard
from .painting import Canvas

__all__ = ["AnnotatedVideo", "VideoWriter"]

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
ENCODERS = ("libx264", "libopenh264")
"""H.264 encoders that run anywhere; the first that this FFmpeg has is taken."""
AAC_BLOCK = 1024
"""Samples in one AAC frame."""
Sound = tuple[NDArray[np.float32], int]
CLOCK = 90_000
"""Ticks a second of the video's timestamps."""
_BT709 = 1


def _pyav() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtraError("av", "camera", "writing a video") from None
    av.logging.set_level(av.logging.PANIC)
    return av


def _encoder(av: Any) -> str:
    for name in ENCODERS:
        with contextlib.suppress(ValueError):
            return str(av.codec.Codec(name, "w").name)
    raise SinkError(
        "a video cannot be written",
        found="an FFmpeg without an H.264 encoder",
        expected=" or ".join(ENCODERS),
        fix="Install PyAV from PyPI, whose wheels bring one: pip install --force-reinstall av",
    )


class VideoWriter(Closing):
    """RGB frames with their times → H.264, yuv420p, BT.709, index at the front; copies a sound track beside them.

    The file appears under its name on `close`. `sound`: a media file whose first sound track goes in unchanged, its
    clock being the frames' clock; or (float32 mono samples (n,), their rate in Hz), from 0 s on, which becomes AAC.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        *,
        fps: float = 30.0,
        sound: str | Path | Sound | None = None,
        crf: int = 21,
    ) -> None:
        av = _pyav()
        container = FORMATS.get(Path(path).suffix.lower())
        if container is None:
            raise SinkError(
                f"{path} cannot be written",
                found=f"suffix {Path(path).suffix!r}",
                expected="one of " + ", ".join(FORMATS),
            )
        encoder = _encoder(av)
        self._av, self._size = av, size
        self._sound: Iterator[Any] = iter(())
        self._pending = PendingFile(path)
        try:
            self._open(container, encoder, fps, crf)
            if isinstance(sound, tuple):
                self._sound = self._encoded(*sound)
            elif sound is not None:
                self._sound = self._copied(str(sound))
            self._waiting: Any = next(self._sound, None)
        except BaseException:
            self._pending.discard()
            raise
        self._last = -1
        self._open_for_writing = True

    def _open(self, container: str, encoder: str, fps: float, crf: int) -> None:
        flags = {"movflags": "+faststart"} if container != "matroska" else {}
        self._out: Any = self._av.open(str(self._pending.temporary), "w", format=container, options=flags)
        quality = {"preset": "veryfast", "crf": str(crf)} if encoder == "libx264" else {}
        stream = self._out.add_stream(encoder, rate=Fraction(fps).limit_denominator(1001), options=quality)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, CLOCK)
        for name in ("colorspace", "color_primaries", "color_trc"):
            setattr(stream.codec_context, name, _BT709)
        self._video: Any = stream

    def _copied(self, sound: str) -> Iterator[Any]:
        """Packets of a file's sound track, for a track of our own."""
        try:
            with self._av.open(sound) as heard:
                source = heard.streams.audio[0]
                track = self._out.add_stream_from_template(source)
                for packet in heard.demux(source):
                    if packet.dts is not None:
                        packet.stream = track
                        yield packet
        except (self._av.error.FFmpegError, IndexError, OSError) as error:
            raise SinkError(
                f"the sound of {sound} cannot be copied", found=error, expected="a file with a sound track"
            ) from error

    def _encoded(self, samples: NDArray[np.float32], rate: int) -> Iterator[Any]:
        """AAC packets of mono samples."""
        track = self._out.add_stream("aac", rate=rate)
        track.layout = "mono"
        for first in range(0, len(samples), AAC_BLOCK):
            block = np.ascontiguousarray(samples[None, first : first + AAC_BLOCK], dtype=np.float32)
            frame = self._av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
            yield from track.encode(frame)
        yield from track.encode(None)

    def add(self, frame: Canvas, time_s: float) -> None:
        """Add an RGB frame (height, width, 3) at a time; one that is not later than the last is left out."""
        if not self._open_for_writing:
            raise SinkError(f"{self._pending.path} is closed", expected="an open sink")
        pts = round(time_s * CLOCK)
        if pts <= self._last:
            return
        self._last = pts
        picture = self._av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
        picture.pts, picture.time_base = pts, Fraction(1, CLOCK)
        try:
            self._mux_sound(time_s)
            self._out.mux(self._video.encode(picture))
        except (self._av.error.FFmpegError, OSError) as error:
            self.abort()
            raise SinkError(
                f"{self._pending.path} cannot be written", found=error.strerror or error, expected="space on the disk"
            ) from error

    def close(self) -> None:
        """Finish the file and give it its name. Without a single frame nothing is left behind."""
        if not self._open_for_writing:
            return
        if self._last < 0:
            self.abort()
            return
        try:
            self._out.mux(self._video.encode(None))
            self._mux_sound(float("inf"))
            self._shut()
        except (self._av.error.FFmpegError, OSError) as error:
            self.abort()
            raise SinkError(
                f"{self._pending.path} cannot be finished", found=error.strerror or error, expected="space on the disk"
            ) from error
        self._pending.commit()

    def abort(self) -> None:
        """Throw the unfinished file away."""
        if self._open_for_writing:
            # It is thrown away, so it need not be whole.
            with contextlib.suppress(self._av.error.FFmpegError, OSError):
                self._shut()
        self._pending.discard()

    def _shut(self) -> None:
        self._open_for_writing = False
        self._sound = iter(())
        self._out.close()

    def _mux_sound(self, until_s: float) -> None:
        """Interleave: sound that starts before `until_s` goes in first."""
        while self._waiting is not None:
            if float(self._waiting.dts * self._waiting.time_base) > until_s:
                return
            # First the next one, so that Ctrl-C in between loses a packet and never writes one twice.
            packet, self._waiting = self._waiting, next(self._sound, None)
            self._out.mux(packet)


class AnnotatedVideo(Closing):
    """A video of `Dashboard` frames, one a result, at the results' own times.

    `size` is (width, height). `sound` is copied in; then the results' clock must be that file's clock. Otherwise the
    video begins with the first result.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int] = (1280, 640),
        fps: float = 30.0,
        *,
        modalities: Sequence[str] = (),
        title: str = "",
        sound: str | Path | None = None,
    ) -> None:
        self._dashboard = Dashboard(size, modalities=modalities, title=title)
        self._writer = VideoWriter(path, size, fps=fps, sound=sound)
        self._zero: float | None = None if sound is None else 0.0

    def write(self, result: Result) -> None:
        """Draw and add one frame."""
        if self._zero is None:
            self._zero = result.time_s
        self._writer.add(self._dashboard.draw(result), result.time_s - self._zero)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()

    def abort(self) -> None:
        """Throw the unfinished file away."""
        self._writer.abort()
