"""Choices measured on a host: what `chiasm tune` writes beside a bundle, and `load` follows where it still holds.

A choice holds for one CPU, its usable cores, the versions of what ran, and one manifest. Its file is named by a hash of
these. A file here is data like any other: it names variants and backends that are there, or it is not used.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

import msgspec

from .backends import SessionOptions
from .bundle import Bundle
from .errors import ChiasmError, InputError

__all__ = ["Basis", "Choice", "Tuned", "basis_of", "encode", "look_up", "tuned_folder"]

_VERSIONS = ("chiasm", "onnxruntime", "onnxruntime-gpu", "openvino")
_LARGEST = 4 * 2**20


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where and how one part runs: a variant, a backend, and the settings of its session."""

    precision: str
    backend: str
    threads: int | None = None
    spinning: bool = False
    arena: bool = True
    level: Literal["all", "extended", "basic"] = "all"
    own_products: bool = True

    @property
    def options(self) -> SessionOptions:
        """The settings alone."""
        return SessionOptions(self.threads, self.spinning, self.arena, self.level, self.own_products)


class Basis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a choice holds for. `cores`: usable ones; `versions`: of the packages that run graphs, as far as installed;
    `manifest`: SHA-256 of the bundle's manifest, which has the hashes of everything else."""

    cpu: str
    arch: str
    cores: int
    isa: tuple[str, ...]
    versions: dict[str, str]
    manifest: str

    @property
    def key(self) -> str:
        """16 hexadecimal digits that name it."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]

    def differences(self, now: Basis) -> str:
        """What has changed since, in words."""
        words = [
            f"{name} was {getattr(self, name)}, is {getattr(now, name)}"
            for name in ("cpu", "arch", "cores")
            if getattr(self, name) != getattr(now, name)
        ]
        if self.isa != now.isa:
            words.append(f"the CPU's vector extensions changed: {', '.join(sorted({*self.isa} ^ {*now.isa}))}")
        for name in sorted({*self.versions, *now.versions}):
            old, new = (each.get(name, "not installed") for each in (self.versions, now.versions))
            if old != new:
                words.append(f"{name} was {old}, is {new}")
        if self.manifest != now.manifest:
            words.append("the bundle was exported anew")
        return "; ".join(words)


class Tuned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole answer. `choices`: part → choice; other parts run as without it. `evidence`: all that was measured, for
    people; the runtime does not read it."""

    basis: Basis
    objective: str
    max_drop: float
    when: str
    choices: dict[str, Choice]
    evidence: msgspec.Raw = msgspec.Raw(b"{}")
    schema: Literal[1] = 1


def tuned_folder(bundle: Path) -> Path:
    """Where the choices for a bundle lie: beside its parts, or where CHIASM_TUNED says, in a folder of its name."""
    elsewhere = os.environ.get("CHIASM_TUNED")
    return Path(elsewhere) / bundle.resolve().name if elsewhere else bundle / "tuned"


def basis_of(bundle: Bundle) -> Basis:
    """This host, what is installed, and that bundle."""
    from ..targets.machine import machine, version_of  # only where a choice lies beside a bundle

    here = machine()
    versions = {name: version for name in _VERSIONS if (version := version_of(name)) is not None}
    raw = (bundle.path / "manifest.json").read_bytes()
    return Basis(here.cpu, here.arch, here.cores, here.isa, versions, hashlib.sha256(raw).hexdigest())


def encode(tuned: Tuned) -> bytes:
    """Readable JSON."""
    return msgspec.json.format(msgspec.json.encode(tuned), indent=1) + b"\n"


def look_up(bundle: Bundle) -> tuple[Tuned | None, str | None]:
    """(the choice that holds here, None), or (None, why one that is there is not used); (None, None) without any.

    Never raises: a bundle opens whatever lies in that folder.
    """
    folder = tuned_folder(bundle.path)
    try:
        files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return None, None
    files = [path for path in files if not path.name.endswith(".partial.json")]
    if not files:
        return None, None
    now = basis_of(bundle)
    for path in [path for path in files if path.stem == now.key] or files[:1]:
        try:
            found = _read(path, bundle)
        except (OSError, msgspec.MsgspecError, ChiasmError) as error:
            return None, f"{path} cannot be used: {error}; run chiasm tune again"
        if found.basis == now:
            return found, None
        words = found.basis.differences(now)
        return None, f"the choice measured on {found.when} is stale: {words}; run chiasm tune again"
    return None, None


def _read(path: Path, bundle: Bundle) -> Tuned:
    if path.stat().st_size > _LARGEST:
        raise InputError("too large a file", found=path.stat().st_size, expected=f"at most {_LARGEST} bytes")
    found = msgspec.json.decode(path.read_bytes(), type=Tuned)
    if found.basis.manifest == hashlib.sha256((bundle.path / "manifest.json").read_bytes()).hexdigest():
        for part, choice in found.choices.items():
            bundle.variant(part, choice.precision)  # InputError, or PrecisionError
            if choice.threads is not None and not 1 <= choice.threads <= 256:
                raise InputError("not a number of threads", found=choice.threads, expected="1 to 256")
    return found
