"""Where packets come from: a source is found by its URI.

| modality | URI |
|---|---|
| image | `picture.jpg` · `folder/` · `video.mp4` · `camera:0`, `0` or `/dev/video0` · `rtsp://…`, `http://…` |
| audio | `clip.wav` · `video.mp4` (its sound track) · `mic:` or `mic:NAME` · `rtsp://…`, `http://…` |
| text | `text:WORDS` · `notes.txt` (lines, optionally `12.5<TAB>words`) |
| series | `drive.npz` (`series` (N, C) and `times` (N,) or `sample_rate`) |

Optional packages are imported when a source that needs them is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import InputError, SourceError
from ..hints import unknown_modality
from ..manifest import AudioModality, ImageModality, Modality, SeriesModality, TextModality
from .base import LiveSource, Outage, Source, WindowCutter, existing_file
from .camera import camera, network_sound, network_video
from .live import Backoff, Grabber, Live
from .microphone import microphone
from .pictures import SUFFIXES, ImageFile, ImageFolder, read_picture
from .series import NpzSeries
from .sound import sound_file
from .video import video_file
from .words import TextFile, Words

__all__ = [
    "Backoff",
    "Grabber",
    "Live",
    "LiveSource",
    "Outage",
    "Source",
    "WindowCutter",
    "is_live",
    "open_source",
    "open_sources",
    "read_picture",
]

_DEVICE = re.compile(r"(?:camera:|/dev/video|)([0-9]{1,4})", re.ASCII)
MEDIA_SUFFIXES = (".avi", ".flac", ".m4a", ".m4v", ".mkv", ".mov", ".mp3", ".mp4", ".ogg", ".wav", ".webm")


def is_live(uri: str) -> bool:
    """Whether the URI names a camera, a microphone or a network stream. An HTTP address of a media file is a file."""
    if uri.startswith(("camera:", "mic:")) or _DEVICE.fullmatch(uri) is not None:
        return True
    return "://" in uri and not uri.lower().split("?")[0].endswith(MEDIA_SUFFIXES)


def open_source(
    modality: Modality, uri: str, *, fps: float | None = None, rate_hz: float | None = None, timeout_s: float = 10.0
) -> Source:
    """The source of a modality.

    `fps`: pictures a second of a folder; `rate_hz`: windows a second of sound and series (both default to the
    manifest's rate); `timeout_s`: how long a live source may take to give its first packet.
    Raises `SourceError` when it cannot be opened, `MissingExtraError` when a package is missing.
    """
    uri = uri.strip()
    rate = rate_hz or modality.rate_hz
    if not uri:
        raise SourceError(f"no source for {modality.name}", found="an empty URI", expected=_EXPECTED[type(modality)])
    if isinstance(modality, ImageModality):
        return _image(modality, uri, fps or rate, timeout_s)
    if isinstance(modality, AudioModality):
        return _audio(modality, uri, rate, timeout_s)
    if isinstance(modality, TextModality):
        return _text(modality, uri, rate)
    return _series(modality, uri, rate)


def open_sources(
    sources: Iterable[Source] | Mapping[str, Source | str | Path], modalities: Mapping[str, Modality]
) -> tuple[list[Source], dict[str, str]]:
    """(sources, modality → another one whose source it shares).

    Opened sources as they are; of modality → source, URI or path, all of them, or none is left open. Image modalities
    of one URI share its source: a camera cannot be opened twice, and a film need not be decoded twice. Raises
    SourceError, and InputError for what is no source.
    """
    if not isinstance(sources, Mapping):
        return _opened_ones(sources), {}
    opened: list[Source] = []
    shared: dict[str, str] = {}
    first: dict[tuple[str, float], str] = {}
    try:
        for name, source in sources.items():
            if name not in modalities:
                raise unknown_modality(name, tuple(modalities))
            modality = modalities[name]
            if isinstance(source, os.PathLike):
                source = os.fspath(source)
            if not isinstance(source, str):
                opened.append(_must_be_source(source, f"The source of {name}"))
                continue
            if isinstance(modality, ImageModality):
                paced = modality.rate_hz if os.path.isdir(source) else 0.0  # a folder is shown at a modality's rate
                other = first.setdefault((source.strip(), paced), name)
                if other != name:
                    shared[name] = other
                    continue
            opened.append(open_source(modality, source))
    except BaseException:
        for source in opened:
            source.close()
        raise
    return opened, shared


def _opened_ones(sources: Iterable[Source]) -> list[Source]:
    """The same in a list. A lone URI, which is iterable too, says nothing of the modality that it is for."""
    if isinstance(sources, str | os.PathLike):
        raise InputError("A stream needs to know whose source this is", found=sources, expected="modality → source",
                         fix=f'Write: {{"image": "{sources}"}}')  # fmt: skip
    return [_must_be_source(source, "A source") for source in sources]


def _must_be_source(source: Any, what: str) -> Source:
    if isinstance(getattr(source, "modality", None), str) and callable(getattr(source, "close", None)):
        return cast(Source, source)
    raise InputError(f"{what} cannot be used", found=type(source).__name__, expected="a source, a URI or a path",
                     fix="A program's own pictures go to the pipeline one by one: pipeline(image=frame)")  # fmt: skip


def _image(modality: ImageModality, uri: str, fps: float, timeout_s: float) -> Source:
    device = _DEVICE.fullmatch(uri)
    if device is not None:
        return camera(modality.name, int(device[1]), timeout_s=timeout_s)
    if is_live(uri):
        if "://" not in uri:
            raise _unknown(modality, uri)
        return network_video(modality.name, uri, timeout_s=timeout_s)
    if "://" in uri:
        return video_file(modality.name, uri)
    if os.path.isdir(uri):
        return ImageFolder(modality.name, uri, fps=fps)
    if Path(uri).suffix.lower() in SUFFIXES:
        return ImageFile(modality.name, uri)
    _not_another_kind(modality, uri)
    return video_file(modality.name, str(existing_file(uri, "the video file")))


def _audio(modality: AudioModality, uri: str, rate_hz: float, timeout_s: float) -> Source:
    if uri.startswith("mic:"):
        return microphone(modality, uri.removeprefix("mic:"), rate_hz, timeout_s=timeout_s)
    if is_live(uri):
        if "://" not in uri:
            raise _unknown(modality, uri)
        return network_sound(modality, uri, rate_hz, timeout_s=timeout_s)
    if "://" not in uri:
        _not_another_kind(modality, uri)
        existing_file(uri, "the sound file")
    return sound_file(modality, uri, rate_hz)


def _text(modality: TextModality, uri: str, rate_hz: float) -> Source:
    if uri.startswith("text:"):
        return Words(modality.name, uri.removeprefix("text:"))
    if not uri.lower().endswith(".txt") and not os.path.isfile(uri):
        raise _unknown(modality, uri)
    return TextFile(modality.name, uri, rate_hz=rate_hz)


def _series(modality: SeriesModality, uri: str, rate_hz: float) -> Source:
    if not uri.lower().endswith(".npz") or "://" in uri:
        raise _unknown(modality, uri)
    return NpzSeries(modality, uri, rate_hz)


def _not_another_kind(modality: Modality, uri: str) -> None:
    """A known suffix of another modality is refused by name, before a decoder makes nonsense of it."""
    if Path(uri).suffix.lower() in (".npz", ".npy", ".txt", ".json", ".onnx", ".csv"):
        raise _unknown(modality, uri)


_EXPECTED: dict[type, str] = {
    ImageModality: "a picture, a folder of pictures, a video file, camera:0, or an rtsp:// or http:// address",
    AudioModality: "a WAV file, a video with sound, mic:, or an rtsp:// or http:// address",
    TextModality: "text:WORDS, or a .txt file",
    SeriesModality: "an .npz file with the arrays `series` and `times`",
}


def _unknown(modality: Modality, uri: str) -> SourceError:
    fix = f"To give the words themselves, write: text:{uri[:40]}" if isinstance(modality, TextModality) else None
    return SourceError(
        f"{modality.name} cannot come from this source", found=uri, expected=_EXPECTED[type(modality)], fix=fix
    )
