"""Every target there is: the TOML files of this folder, read strictly, once."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .schema import Figure, Label, Mode, Release, Target, TargetError

__all__ = ["figures", "find_target", "read_target", "releases", "releases_of", "targets"]

_FOLDER = Path(__file__).parent
_T = TypeVar("_T")


class _Releases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    release: tuple[Release, ...]


@cache
def targets() -> Mapping[str, Target]:
    """name → target, CPUs first, then Jetsons from the smallest, then cards from the smallest."""
    files = sorted(path for path in _FOLDER.glob("*.toml") if path.stem != "jetpack")
    found = [read_target(path) for path in files]
    return {target.name: target for target in sorted(found, key=_rank)}


def _rank(target: Target) -> tuple[int, float, float, str]:
    size = target.memory.size_mib
    fastest = target.rate("int8")
    kind = ("cpu", "jetson", "gpu").index(target.kind)
    return kind, size.value if size is not None else 0.0, fastest[0] if fastest is not None else 0.0, target.name


def find_target(name: str) -> Target:
    """The target of that name. Raises TargetError with the nearest names."""
    known = targets()
    if name in known:
        return known[name]
    asked = name.lower().replace(" ", "-").replace("_", "-")
    near = [each for each in known if asked and asked in each]
    near += difflib.get_close_matches(asked, known, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(dict.fromkeys(near[:3]))}? " if near else ""
    raise TargetError(f"No target is called {name!r}. {hint}See: chiasm targets")


@cache
def releases() -> tuple[Release, ...]:
    """Every JetPack that is known, the oldest first."""
    return _decode(_FOLDER / "jetpack.toml", _Releases).release


def releases_of(target: Target) -> tuple[Release, ...]:
    """The JetPacks that run on a target; empty for what is not a Jetson."""
    return tuple(release for release in releases() if target.soc in release.socs)


def read_target(path: Path) -> Target:
    """A target from its file; its name is the file's. Raises TargetError for anything that is not as it should be."""
    target = msgspec.structs.replace(_decode(path, Target), name=path.stem)
    _check(target, path)
    return target


def figures(target: Target) -> Iterator[tuple[str, Figure | Label | Mode]]:
    """(where, what) of everything in a target that has a source."""
    parts: dict[str, Any] = {"": target, "memory.": target.memory, "rates.": target.rates, "dla.": target.dla}
    for prefix, part in parts.items():
        if part is None:
            continue
        for field in type(part).__struct_fields__:
            value = getattr(part, field)
            if isinstance(value, Figure | Label):
                yield prefix + field, value
    yield from ((f"modes.{mode.name}", mode) for mode in target.modes)


def _check(target: Target, path: Path) -> None:
    def fail(words: str) -> None:
        raise TargetError(f"{path.name}: {words}")

    used = set()
    for where, figure in figures(target):
        if figure.source not in target.sources:
            fail(f"{where} names the source {figure.source!r}, which [sources] does not have")
        if isinstance(figure, Figure) and figure.value <= 0:
            fail(f"{where} is {figure.value:g}, expected more than 0")
        used.add(figure.source)
    if unused := sorted(set(target.sources) - used):
        fail(f"[sources] has {', '.join(unused)}, which nothing uses")
    if (target.kind == "cpu") != (target.compute_capability is None):
        fail("a GPU has a compute_capability, and a CPU has none")
    if (target.kind == "jetson") != (target.soc is not None):
        fail("a Jetson has a soc, and nothing else has one")
    if not (target.match.compatible or target.match.gpu or target.match.arch):
        fail("[match] says no way to recognise it")
    _check_share(target, path)


def _check_share(target: Target, path: Path) -> None:
    usable = target.usable_mib
    if usable is not None and usable <= 0:
        raise TargetError(f"{path.name}: the system's own need is all of the memory, {usable:g} MiB are left")


def _decode(path: Path, kind: type[_T]) -> _T:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        return msgspec.toml.decode(data, type=kind, strict=False)
    except msgspec.DecodeError as error:  # ValidationError among them
        raise TargetError(f"{path.name} is not a description of a target: {error}") from None
