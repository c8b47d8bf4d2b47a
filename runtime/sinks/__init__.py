"""Where results go: JSON lines, an annotated video, a window, the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import SinkError
from .base import Closing, PendingFile, Sink, check_output, write_file
from .dashboard import Dashboard
from .film import FORMATS, AnnotatedVideo, VideoWriter
from .lines import JsonLines, Print, one_line
from .window import Window

__all__ = [
    "AnnotatedVideo",
    "Closing",
    "Dashboard",
    "JsonLines",
    "PendingFile",
    "Print",
    "Sink",
    "VideoWriter",
    "Window",
    "check_output",
    "one_line",
    "open_sink",
    "write_file",
]

JSON_SUFFIXES = (".jsonl", ".ndjson")


def open_sink(
    uri: str,
    *,
    modalities: Sequence[str] = (),
    title: str = "",
    fps: float = 30.0,
    sound: str | Path | None = None,
    embedding: bool = False,
    live: bool = False,
) -> Sink:
    """The sink of a URI: `-` (JSON lines on standard output), `print`, `window`, `*.jsonl`, `*.mp4` (`.mkv`, `.mov`).

    `modalities`, `title`, `fps` and `sound` are for pictures, `embedding` is for JSON; of a `live` stream, whose clock
    is `time.monotonic()`, `print` counts from the first result. Raises `SinkError`, `MissingExtraError`.
    """
    suffix = Path(uri).suffix.lower()
    if uri == "-":
        return JsonLines(embedding=embedding)
    if uri == "print":
        return Print(from_first=live)
    if uri == "window":
        return Window(title or "chiasm", modalities=modalities)
    if suffix in JSON_SUFFIXES:
        return JsonLines(uri, embedding=embedding)
    if suffix in FORMATS:
        return AnnotatedVideo(uri, fps=fps, modalities=modalities, title=title, sound=sound)
    raise SinkError(
        "no sink has this name",
        found=uri or "an empty name",
        expected="-, print, window, a file ending in " + ", ".join((*JSON_SUFFIXES, *FORMATS)),
        fix="Use - for JSON lines on standard output.",
    )
