"""Media containers through PyAV: opening, choosing a stream, decoding with the container's own timestamps."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, SourceError

__all__ = ["decode", "have_pyav", "open_container", "resampled", "rgb", "start_s", "stream_of"]

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


def rgb(frame: Any) -> NDArray[np.uint8]:
    """A video frame as uint8 RGB (H, W, 3), turned as the file's display matrix says."""
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns)) if quarter_turns else pixels


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
