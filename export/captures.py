"""Calibration sets from a person's own files, read by the runtime's own sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from ..runtime.errors import InputError, SourceError
from ..runtime.manifest import ImageModality, Modality
from ..runtime.sources import is_live, open_source
from ..runtime.values import Packet
from .calibrate import Calibration

__all__ = ["from_files"]


def from_files(modalities: Sequence[Modality], places: Mapping[str, str], count: int) -> Calibration:
    """Up to `count` captures per modality from `places`: modality → file, or folder of files.

    Raises `InputError` for an unknown or missing modality, `SourceError` for a place that gives no capture.
    """
    known = {each.name: each for each in modalities}
    for name in places:
        if name not in known:
            raise InputError("No such modality", found=name, expected=" or ".join(known))
    missing = [name for name in known if name not in places]
    if missing:
        raise InputError(
            "Calibration needs captures of every modality",
            found=f"none for {', '.join(missing)}",
            fix=f"Give: --calibration {missing[0]}=PATH",
        )
    return Calibration({name: _read(each, places[name], count) for name, each in known.items()})


def _read(modality: Modality, place: str, count: int) -> list[Packet]:
    if is_live(place):
        raise SourceError(f"Calibration of {modality.name} reads files", found=place, expected="a file or a folder")
    folder = Path(place)
    uris = [place]
    if folder.is_dir() and not isinstance(modality, ImageModality):
        uris = [str(path) for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    packets: list[Packet] = []
    for uri in uris:
        source = open_source(modality, uri)
        try:
            packets += islice(source, count - len(packets))
        finally:
            source.close()
        if len(packets) >= count:
            break
    if not packets:
        raise SourceError(f"{place} holds no capture of {modality.name}", expected="at least one file that can be read")
    return packets
