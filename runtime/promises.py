"""How the rules of a manifest say what they expect: each of these raises ManifestError when it does not hold."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import ManifestError
from .schema import Manifest, Part
from .values import TensorSpec

__all__ = [
    "MAX_ELEMENTS",
    "NAME",
    "Promise",
    "Promises",
    "distinct",
    "has_only",
    "has_tensors",
    "must",
    "part_of",
    "positive",
    "shown",
    "spoken",
]

Promise = tuple[str, tuple[int, ...]]
"""dtype and shape of a tensor."""
Promises = dict[str, Promise]
"""Tensor name → what it must be."""

MAX_ELEMENTS = 2**28
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""A name that works as an argument of a function, and of a command."""


def must(holds: bool, where: str, found: object, expected: object) -> None:
    """`where` is the field in question."""
    if not holds:
        words = ascii(found) if isinstance(found, str) else str(found)
        raise ManifestError(f"manifest.json, {shown(where)}", found=shown(words), expected=expected)


def shown(text: str) -> str:
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 160 else text[:160] + "…"


def distinct(names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        must(name not in seen, where, f"{name!r} twice", "each once")
        seen.add(name)


def part_of(name: str, where: str, manifest: Manifest) -> Part:
    must(name in manifest.parts, where, name, f"a part: {', '.join(manifest.parts) or 'there is none'}")
    return manifest.parts[name]


def has_tensors(where: str, found: tuple[TensorSpec, ...], expected: Promises) -> None:
    """The tensors named in `expected` are there with that dtype and shape; for inputs the caller counts the others."""
    specs = {spec.name: (spec.dtype, spec.shape) for spec in found}
    for name, promise in expected.items():
        must(name in specs, where, f"no tensor {name!r} among {', '.join(specs)}", f"{name!r} {spoken(promise)}")
        must(specs[name] == promise, f"{where}, tensor {name!r}", spoken(specs[name]), spoken(promise))


def has_only(where: str, found: tuple[TensorSpec, ...], expected: Promises) -> None:
    """As `has_tensors`, and nothing else is there."""
    has_tensors(where, found, expected)
    extra = [spec.name for spec in found if spec.name not in expected]
    must(not extra, where, f"also {', '.join(extra)}", f"only {', '.join(expected)}")


def spoken(promise: Promise) -> str:
    """A dtype and shape for a person."""
    return f"{promise[0]} ({', '.join(map(str, promise[1]))})"


def positive(where: str, **numbers: float) -> None:
    for field, value in numbers.items():
        must(0 < value <= MAX_ELEMENTS, f"{where}, {field}", value, f"more than zero, at most {MAX_ELEMENTS}")
