"""Search in a folder: what a bundle's encoder makes of every picture, sound or line of text, nearest first.

    with load("clip.chiasm") as pipeline:
        index_folder(pipeline, "holiday", "holiday.index")
        for hit in Index.open("holiday.index", pipeline).search(pipeline, text="a red bus in the rain", top=5):
            print(hit.file, hit.cosine)

An index file is a line of text with its format, the length of a JSON header, the header, and the vectors as usearch
writes them. The header says which bundle they were made by; another one is refused, because its vectors mean other
things.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import InputError, MissingExtraError, SourceError
from .manifest import AudioModality, ImageModality, Manifest, Modality, TextModality
from .sinks import check_output, write_file
from .sources import MEDIA_SUFFIXES, open_source
from .sources.pictures import SUFFIXES
from .spaces import digest, space_of, unit

if TYPE_CHECKING:
    from .pipeline import Pipeline

__all__ = ["EXACT", "Header", "Hit", "Index", "files_of", "index_folder", "open_usearch"]

_MAGIC = b"chiasm index 1\n"
_MAX_HEADER = 2**30
EXACT = 50_000
"""Up to so many entries a search compares with every one; above, usearch's graph finds nearly all of the nearest."""
_AGAIN = "Make the index again: chiasm index"


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """A capture: its file, relative to the folder, and where in it: second of a sound, line of a text, else None."""

    file: str
    at: float | None = None


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an index says of itself. `bundle`: digest of the manifest that it was made with."""

    model: str
    version: str
    bundle: str
    modality: str
    folder: str
    width: int
    sha256: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Hit:
    """One capture that was found: its file, where in it, and its cosine with the query, the greatest first."""

    file: Path
    at: float | None
    cosine: float


def open_usearch() -> Any:
    """The library, after ONNX Runtime: importing that one second ends the process (usearch 2.26, onnxruntime 1.32)."""
    with suppress(ImportError):
        importlib.import_module("onnxruntime")
    try:
        from usearch import index
    except ImportError as error:
        raise MissingExtraError("usearch", "search", "Searching") from error
    return index


class Index:
    """An opened index of one bundle."""

    def __init__(self, header: Header, vectors: Any) -> None:
        self.header = header
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self.header.entries)

    @classmethod
    def open(cls, path: str | Path, pipeline: Pipeline) -> Index:
        """Read an index file. Raises InputError when it is damaged, or of another bundle; MissingExtraError."""
        library = open_usearch()
        header, blob = _parted(Path(path))
        model, mine = pipeline.manifest.model, digest(pipeline.manifest)
        if header.bundle != mine:
            raise InputError(
                f"{path} was made with another bundle", found=f"{header.model} {header.version}, {header.bundle[:12]}",
                expected=f"{model.name} {model.version}, {mine[:12]}", fix=_AGAIN,
            )  # fmt: skip
        vectors = library.Index(ndim=header.width, metric="cos", dtype="f32")
        try:
            vectors.load(blob)
        except Exception as error:  # the library raises several kinds
            raise InputError(f"{path} is damaged", found=str(error), fix=_AGAIN) from error
        if (len(vectors), vectors.ndim) != (len(header.entries), header.width):
            raise InputError(
                f"{path} is damaged", found=f"{len(vectors)} vectors of {vectors.ndim} numbers",
                expected=f"{len(header.entries)} of {header.width}", fix=_AGAIN,
            )  # fmt: skip
        return cls(header, vectors)

    def search(self, pipeline: Pipeline, *, top: int = 5, **packet: Any) -> list[Hit]:
        """The `top` nearest captures to one query, given by the name of its modality as to a pipeline.

        The query is of the indexed modality, or of one that shares a space with it. Raises InputError.
        """
        given = [name for name, value in packet.items() if value is not None]
        if len(given) != 1 or top < 1:
            found = f"{', '.join(given) or 'none'}, top {top}"
            raise InputError("A search takes one query", found=found, expected="one modality, and at least one hit")
        if given[0] != self.header.modality:
            space_of(pipeline.manifest, given[0], self.header.modality)
        vector = unit(pipeline.encode(**packet)[given[0]])
        found = self._vectors.search(vector, min(top, len(self)), exact=len(self) <= EXACT)
        folder = Path(self.header.folder)
        return [
            Hit(folder / self.header.entries[int(key)].file, self.header.entries[int(key)].at, 1.0 - float(distance))
            for key, distance in zip(found.keys, found.distances, strict=True)
        ]


def _parted(path: Path) -> tuple[Header, bytes]:
    """Header and vectors of an index file, checked."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"The index {path} cannot be read", found=error.strerror or str(error)) from None
    start = len(_MAGIC) + 8
    size = int.from_bytes(data[len(_MAGIC) : start], "little")
    if not data.startswith(_MAGIC) or size > min(_MAX_HEADER, len(data) - start):
        raise InputError(f"{path} is no index of chiasm's", found=ascii(data[:15]), expected=ascii(_MAGIC), fix=_AGAIN)
    try:
        header = msgspec.json.decode(data[start : start + size], type=Header)
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is damaged", found=str(error), fix=_AGAIN) from None
    blob = data[start + size :]
    if hashlib.sha256(blob).hexdigest() != header.sha256 or header.width < 1:
        raise InputError(f"{path} is damaged", found="other vectors than were written", fix=_AGAIN)
    return header, blob


def files_of(modality: Modality, folder: Path) -> list[str]:
    """Files below a folder that a modality can read, in the order of their names; hidden ones are left out."""
    suffixes = {ImageModality: SUFFIXES, AudioModality: MEDIA_SUFFIXES, TextModality: (".txt",)}.get(type(modality), ())
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(place, name).relative_to(folder).as_posix()
            for name in sorted(names)
            if Path(name).suffix.lower() in suffixes and not name.startswith(".")
        ]
    return found


def _chosen(manifest: Manifest, folder: Path, name: str | None) -> tuple[Modality, list[str]]:
    """The modality and its files: the one asked for, else the first that the folder has files for, text last."""
    if not folder.is_dir():
        raise InputError(f"{folder} cannot be indexed", found="no such folder", expected="a folder of files")
    offered = sorted(manifest.modalities, key=lambda each: isinstance(each, TextModality))
    if name is not None:
        offered = [each for each in offered if each.name == name]
        if not offered:
            names = ", ".join(each.name for each in manifest.modalities)
            raise InputError("This bundle has no such modality", found=name, expected=f"one of {names}")
    for modality in offered:
        if files := files_of(modality, folder):
            return modality, files
    raise InputError(
        f"{folder} has nothing to index", found="no file of a known kind",
        expected=f"files for {', '.join(each.name for each in offered)}",
    )  # fmt: skip


def _captures(modality: Modality, path: Path) -> Iterator[tuple[float | None, Any]]:
    """The captures of one file: a picture, the windows of a sound side by side, the lines of a text."""
    rate = modality.sample_rate / modality.samples if isinstance(modality, AudioModality) else 1.0
    source = open_source(modality, str(path), rate_hz=rate)
    try:
        for count, packet in enumerate(source, 1):
            at: float | None = None
            if isinstance(modality, AudioModality):  # a packet is stamped with its end
                at = max(0.0, packet.time_s - len(packet.data) / modality.sample_rate)
            yield (count if isinstance(modality, TextModality) else at), packet
    finally:
        source.close()


def index_folder(
    pipeline: Pipeline,
    folder: str | Path,
    out: str | Path,
    *,
    modality: str | None = None,
    progress: Callable[[str, float], object] = lambda words, fraction: None,
) -> tuple[Header, dict[str, str]]:
    """Encode every file of a folder (and of the folders in it) into the index file `out`, which appears whole or not.

    `modality`: whose files; None: the first that there are files for. Returns the header, and file → complaint for the
    files that could not be read, which are left out. Raises InputError, SinkError, MissingExtraError.
    """
    library = open_usearch()
    folder = Path(folder)
    chosen, files = _chosen(pipeline.manifest, folder, modality)
    check_output(out)
    entries: list[Entry] = []
    rows: list[NDArray[np.float32]] = []
    refused: dict[str, str] = {}
    for index, file in enumerate(files):
        progress(file, index / len(files))
        try:
            for at, packet in _captures(chosen, folder / file):
                rows.append(unit(pipeline.encode(**{chosen.name: packet})[chosen.name]))
                entries.append(Entry(file, at))
        except (SourceError, InputError) as error:
            refused[file] = str(error)
    if not rows:
        name, complaint = next(iter(refused.items()))
        raise InputError(f"No file of {folder} could be indexed", found=f"{len(refused)}, first {name}: {complaint}")
    vectors = library.Index(ndim=len(rows[0]), metric="cos", dtype="f32")
    vectors.add(np.arange(len(rows)), np.stack(rows))
    blob = bytes(vectors.save())
    model = pipeline.manifest.model
    header = Header(
        model.name, model.version, digest(pipeline.manifest), chosen.name, str(folder.resolve()), len(rows[0]),
        hashlib.sha256(blob).hexdigest(), tuple(entries),
    )  # fmt: skip
    head = msgspec.json.encode(header)
    write_file(out, _MAGIC + len(head).to_bytes(8, "little") + head + blob)
    return header, refused
