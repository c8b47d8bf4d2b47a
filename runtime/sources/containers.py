"""Media containers through PyAV: opening, choosing a stream, decoding with the container's own timestamps."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, SourceError
from ..frame import VideoFrame

__all__ = ["decode", "have_pyav", "open_container", "picture_of", "resampled", "rgb", "start_s", "stream_of"]

BAD_PACKETS = 64
"""Undecodable packets in a row after which a file counts as broken."""


def have_pyav() -> bool:
    """Whether PyAV can be imported."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def _pyav(purpose: str) -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtraError("av", "camera", purpose) from None
    # FFmpeg would write its own lines to stderr; errors reach the user as one line of ours.
    av.logging.set_level(av.logging.PANIC)
    return av


def open_container(uri: str, *, timeout_s: float | None = None, **options: str) -> Any:
    """An opened input container. Raises `SourceError` (unreadable) or `MissingExtraError` (no PyAV)."""
    av = _pyav(f"reading {uri}")
    try:
        return av.open(uri, timeout=timeout_s, options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SourceError(
            f"{uri} cannot be read as video or sound",
            found=getattr(error, "strerror", None) or str(error) or type(error).__name__,
            expected="a media file or stream that FFmpeg understands",
            fix="Check that it plays elsewhere and is not cut short.",
        ) from error


def stream_of(container: Any, kind: str, uri: str) -> Any:
    """The first stream of `kind` ("video", "audio"); without one, closes the container and raises `SourceError`."""
    for stream in container.streams:
        if stream.type == kind and stream.codec_context is not None:
            return stream
    found = ", ".join(sorted({stream.type for stream in container.streams})) or "no streams"
    container.close()
    name = "sound track" if kind == "audio" else "video stream"
    raise SourceError(
        f"{uri} has no {name}", found=f"streams: {found}", expected=f"a {name}", fix="Choose another file."
    )


def start_s(container: Any) -> float:
    """The container's start time: streams of one file share it as their zero."""
    return (container.start_time or 0) / 1e6


def decode(container: Any, stream: Any, uri: str) -> Iterator[Any]:
    """Decoded frames of a stream. Damaged packets are skipped; a file that gives no frame at all is an error."""
    av = _pyav(f"reading {uri}")
    frames, bad, complaint = 0, 0, "no frames"
    packets = container.demux(stream)
    while bad < BAD_PACKETS:
        try:
            decoded = next(packets).decode()
        except StopIteration:
            break
        except av.error.EOFError:
            break
        except (av.error.FFmpegError, OSError) as error:
            bad, complaint = bad + 1, str(error)
            continue
        bad = 0
        frames += len(decoded)
        yield from decoded
    if frames == 0:
        raise SourceError(
            f"{uri} holds nothing that can be decoded",
            found=complaint,
            expected=f"{stream.type} frames",
            fix="The file is probably cut short or damaged.",
        )


_MATRICES = {1: "bt709", 2: "bt601", 5: "bt601", 6: "bt601"}
"""FFmpeg's AVColorSpace; what is not said (2) is taken for BT.601, as FFmpeg does when it converts."""
_FULL_RANGE = 2
"""FFmpeg's AVCOL_RANGE_JPEG."""


def picture_of(frame: Any) -> VideoFrame | NDArray[np.uint8]:
    """A decoded frame as its decoder made it, without a copy; turned, of odd size or in a rarer format, as RGB."""
    name, matrix = frame.format.name, _MATRICES.get(int(frame.colorspace))
    known = name in ("yuv420p", "yuvj420p", "nv12")
    if not known or matrix is None or frame.width % 2 or frame.height % 2 or _quarter_turns(frame):
        return rgb(frame)
    planes = [np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size) for plane in frame.planes]
    luma, *rest = planes
    rows, half = luma[:, : frame.width], frame.width // 2
    full = name == "yuvj420p" or int(frame.color_range) == _FULL_RANGE
    if name == "nv12":
        both = rest[0][:, : frame.width].reshape(len(rest[0]), half, 2)
        return VideoFrame((rows, both), "nv12", matrix, full)
    return VideoFrame((rows, *(plane[:, :half] for plane in rest)), "i420", matrix, full)


def rgb(frame: Any) -> NDArray[np.uint8]:
    """A video frame as uint8 RGB (H, W, 3), turned as the file's display matrix says."""
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    turns = _quarter_turns(frame)
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _quarter_turns(frame: Any) -> int:
    return round(getattr(frame, "rotation", 0) / 90) % 4


def resampled(
    frames: Iterator[Any], sample_rate: int, zero_s: float
) -> Iterator[tuple[float | None, NDArray[np.float32]]]:
    """Sound frames as float32 mono at `sample_rate` Hz: (start time or None, samples (n,))."""
    av = _pyav("resampling sound")
    # The channels are averaged here: FFmpeg's own mix to mono is louder than either channel and may clip.
    resampler = av.AudioResampler(format="fltp", rate=sample_rate)
    for frame in itertools.chain(frames, [None]):
        with contextlib.suppress(av.error.EOFError):
            for part in resampler.resample(frame):
                when = None if part.pts is None else float(part.pts * part.time_base) - zero_s
                yield when, part.to_ndarray().mean(axis=0, dtype=np.float32)
