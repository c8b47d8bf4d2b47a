"""Engines that a vendor made of graphs: what each was made of and for, and the folder that keeps them.

    engines/
      <key>/engine.bin     the vendor's bytes
      <key>/engine.json    what it is: see `Facts`; written last, so that a folder without it is no engine
      <key>.lock           held while somebody builds that engine; an empty file
      .<key>.<pid>.new/    being written (.old: being replaced); what a killed builder leaves is swept by the next

A key is the hash of everything that an engine depends on: graph, weights, part and precision, vendor and version,
compute capabilities, flags. An engine is served only under the very key that is asked for, with the bytes that were
written. Everything here may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from .errors import EngineError

__all__ = ["LIMIT", "Engine", "EngineStore", "Facts", "Key", "engine_folder"]

LIMIT = 8 * 2**30
"""Bytes that a folder of engines may take unless it is told otherwise."""
_FORMAT = 1


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an engine depends on. `graph`: SHA-256 of the graph and its weights; `capabilities`: "8.6", …, sorted;
    `flags`: the builder's settings by name. `shapes`: the profile, input → its only shape."""

    part: str
    precision: str
    graph: str
    vendor: str
    version: str
    capabilities: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]
    flags: dict[str, str]

    @property
    def digest(self) -> str:
        """The name of its folder."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:32]

    def serves(self, wanted: Key) -> bool:
        """Whether an engine of this key does what `wanted` asks, on every capability that it names.

        Wanted flags of {} are any.
        """
        flags = wanted.flags or self.flags
        alike = msgspec.structs.replace(wanted, capabilities=self.capabilities, flags=flags)
        return self == alike and set(wanted.capabilities) <= set(self.capabilities)


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """engine.json. `seconds` and `peak_mib` are of the build; `sha256`, `bytes` and `written_ns` of engine.bin."""

    format: int
    key: Key
    sha256: str
    bytes: int
    written_ns: int
    seconds: float
    peak_mib: float
    built: str


class Engine(msgspec.Struct, frozen=True):
    """An engine that is there, its bytes checked."""

    facts: Facts
    data: bytes


def engine_folder(bundle: Path) -> Path:
    """Where the engines of a bundle lie: beside its parts, or where CHIASM_ENGINES says, in a folder of its name."""
    elsewhere = os.environ.get("CHIASM_ENGINES")
    return Path(elsewhere) / bundle.resolve().name if elsewhere else bundle / "engines"


class EngineStore:
    """A folder of engines with at most `limit` bytes; where more are put in, the ones unused for longest go.

    Several processes may use a folder at once.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder = folder
        self.limit = limit

    def holds(self, key: Key) -> Facts | None:
        """The facts of exactly that engine if it is there, marked as used now. Its bytes are read only where somebody
        has written the file since, or copied it; `find` always reads them."""
        place = self.folder / key.digest
        facts, file = _facts(place), place / "engine.bin"
        if facts is None or facts.key != key or _size(file) != facts.bytes:
            return None
        if file.stat().st_mtime_ns != facts.written_ns and _sha256(file) != facts.sha256:
            return None
        _touch(place)
        return facts

    def find(self, key: Key) -> Engine | None:
        """The engine of exactly that key, marked as used now; None where there is none, or a damaged one."""
        place = self.folder / key.digest
        facts = _facts(place)
        if facts is None or facts.key != key:
            return None
        try:
            data = (place / "engine.bin").read_bytes()
        except OSError:
            return None
        if len(data) != facts.bytes or hashlib.sha256(data).hexdigest() != facts.sha256:
            return None
        _touch(place)
        return Engine(facts, data)

    def serve(self, wanted: Key) -> Engine | None:
        """The newest engine that can stand for `wanted` on one device: of the same graph and maker, for that compute
        capability among others, whatever the builder's flags were."""
        able = [facts for facts in self.all() if facts.key.serves(wanted)]
        found = (self.find(facts.key) for facts in sorted(able, key=lambda each: each.built, reverse=True))
        return next((engine for engine in found if engine is not None), None)

    def why_not(self, key: Key) -> str:
        """Why there is no such engine: the nearest one of that part and what differs, in words."""
        if (self.folder / key.digest / "engine.bin").exists() and _facts(self.folder / key.digest) is None:
            return "its engine.json cannot be read: the engine is damaged"
        others = [facts for facts in self.all() if facts.key.part == key.part]
        for facts in others:
            if facts.key.serves(key):
                size = _size(self.folder / facts.key.digest / "engine.bin")
                cut = f"its engine is cut off: {size} of {facts.bytes} bytes"
                return cut if size != facts.bytes else "its engine's bytes are not those that were built: it is damaged"
        said = [_differences(facts.key, key) for facts in others]
        return min(said, key=lambda words: words.count(";")) if said else "none was built"

    def all(self) -> list[Facts]:
        """What is there, damaged ones left out, by part and precision."""
        found = [facts for place in self._places() if (facts := _facts(place)) is not None]
        return sorted(found, key=lambda each: (each.key.part, each.key.precision, each.built))

    def put(self, key: Key, data: bytes, seconds: float, peak_mib: float) -> Facts:
        """Write an engine in one piece, in place of whatever is there. `EngineError` leaves nothing behind."""
        place = self.folder / key.digest
        new, old = (self.folder / f".{key.digest}.{os.getpid()}.{word}" for word in ("new", "old"))
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            _write(new / "engine.bin", data)
            facts = Facts(
                format=_FORMAT, key=key, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), seconds=seconds,
                peak_mib=peak_mib, written_ns=(new / "engine.bin").stat().st_mtime_ns,
                built=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            )  # fmt: skip
            _write(new / "engine.json", msgspec.json.format(msgspec.json.encode(facts)))
            if place.exists():
                place.rename(old)
            new.rename(place)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            raise _unwritable(self.folder, error) from error
        self._evict(key.digest)
        return facts

    @contextmanager
    def building(self, key: Key) -> Iterator[None]:
        """Hold the right to build that engine; others wait here. It ends with the process that holds it, however that
        ends. What killed builders left is swept. Raises `EngineError` where nothing can be written."""
        import fcntl

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.folder / f"{key.digest}.lock", "ab")  # noqa: SIM115 - closed below, on every way out
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._sweep()
            yield
        finally:
            lock.close()

    def _places(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [each for each in self.folder.iterdir() if each.is_dir() and not each.name.startswith(".")]

    def _sweep(self) -> None:
        """Remove what processes that are gone were writing or replacing."""
        for path in self.folder.glob(".*.*.*"):
            pid = path.name.split(".")[2]
            if not pid.isdigit() or not _alive(int(pid)):
                shutil.rmtree(path, ignore_errors=True)

    def _evict(self, kept: str) -> None:
        sizes = {place: sum(file.stat().st_size for file in place.iterdir()) for place in self._places()}
        total = sum(sizes.values())
        for place in sorted(sizes, key=lambda each: each.stat().st_mtime):
            if total <= self.limit:
                return
            if place.name != kept:
                shutil.rmtree(place, ignore_errors=True)
                (self.folder / f"{place.name}.lock").unlink(missing_ok=True)
                total -= sizes[place]


def _facts(place: Path) -> Facts | None:
    try:
        facts = msgspec.json.decode((place / "engine.json").read_bytes(), type=Facts)
    except (OSError, msgspec.MsgspecError):
        return None
    return facts if facts.format == _FORMAT else None


def _differences(found: Key, wanted: Key) -> str:
    """What sets two keys of one part apart, in the words of a person."""
    said = []
    for name, what in (("vendor", "vendor"), ("version", "version"), ("precision", "precision")):
        mine, asked = getattr(found, name), getattr(wanted, name)
        if mine != asked:
            said.append(f"{what} {mine}, here {asked}")
    if found.capabilities != wanted.capabilities:
        said.append(f"compute capability {', '.join(found.capabilities)}, here {', '.join(wanted.capabilities)}")
    if found.graph != wanted.graph:
        said.append("another graph")
    said += [
        f"{name} {found.flags.get(name, 'unset')}, here {wanted.flags.get(name, 'unset')}"
        for name in sorted({*found.flags, *wanted.flags} if wanted.flags else ())
        if found.flags.get(name) != wanted.flags.get(name)
    ]
    if found.shapes != wanted.shapes:
        said.append(f"shapes {found.shapes}, here {wanted.shapes}")
    return "the nearest was built for " + "; ".join(said)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _touch(place: Path) -> None:
    try:
        os.utime(place)
    except OSError:  # a bundle on a read-only disk: nothing is evicted there either
        return


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _unwritable(folder: Path, error: OSError) -> EngineError:
    return EngineError(
        "An engine cannot be kept", found=f"{error.strerror or error} at {folder}", expected="a folder with room",
        fix="Make room, or name another folder: CHIASM_ENGINES=/some/folder, or --engines.",
    )  # fmt: skip
