"""What `chiasm doctor` finds: one finding each, and those that are about the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ..targets.readiness import Readiness

__all__ = ["Check", "State", "device", "gpu_variants", "room"]

State = Literal["ok", "absent", "broken"]


@dataclass(frozen=True)
class Check:
    """One finding. `absent`: optional and not there; `broken`: something needed does not work. `fix` mends it."""

    name: str
    state: State
    found: str
    fix: str | None = None


def device() -> Iterator[Check]:
    """Which target this machine is, and what each inference library lacks on it."""
    from ..runtime.backends import available, devices
    from ..targets.detect import detect, release_of
    from ..targets.readiness import readiness

    found = detect()
    release = release_of(found.host, found.target) if found.target is not None else None
    words = found.why + (f"; JetPack {release.jetpack}" if release is not None else "")
    if found.target is None:
        yield Check("target", "absent", words, "See which are known: chiasm targets")
    else:
        yield Check("target", "ok", f"{found.target.name}: {words}")
    there = available() | {"ort, CUDA": devices()["ort:cuda"]}
    for each in readiness(found, _installed()):
        if each.name != "ort, CPU":  # the backend ort is checked for itself
            yield _library(each, there)


def _library(each: Readiness, there: Mapping[str, str | None]) -> Check:
    """A library is of use once chiasm has a backend of it: until then nobody is told to install it."""
    unused = "" if each.name in there else "; this chiasm does not use it yet"
    if each.why_not is not None:
        words = f"{each.why_not} ({each.found})" if each.found else each.why_not
        fix = None if unused and (each.fix or "").startswith("pip") else each.fix
        return Check(each.name, "absent", words + unused, fix)
    reason = there.get(each.name)
    return Check(each.name, "absent" if unused or reason else "ok", (reason or each.found) + unused)


def _installed() -> dict[str, str]:
    from ..targets.machine import version_of
    from ..targets.readiness import LIBRARIES

    return {package: version for package in LIBRARIES if (version := version_of(package)) is not None}


def gpu_variants(path: Path) -> dict[str, str]:
    """part → what it has for a GPU, in words."""
    from ..runtime.bundle import open_bundle

    found = {}
    for name, part in open_bundle(path).manifest.parts.items():
        there = [variant.precision for variant in part.variants]
        ready = [precision for precision in ("fp16", "int8-trt", "fp32") if precision in there]
        lacking = "" if "fp16" in there else ", no fp16: export it again with that precision"
        found[name] = f"for a GPU {' and '.join(ready) or 'nothing'}{lacking}"
    return found


def room(path: Path) -> Check:
    """Whether the bundle has room on this machine as it is now."""
    from ..runtime.bundle import open_bundle
    from ..runtime.errors import ChiasmError
    from ..runtime.planning.plan import plan
    from ..targets.detect import detect

    found = detect()
    if found.target is None:
        return Check("memory", "absent", "not counted: no target describes this machine")
    free = found.host.available_mib if found.target.memory.shared else None
    try:
        made = plan(open_bundle(path), found.target, available_mib=free)
    except ChiasmError as error:
        return Check("memory", "absent", f"not counted: {error}")
    words = f"{made.need_mib:,.0f} MiB needed"
    if made.have_mib is None:
        return Check("memory", "ok", f"{words}; how much is free is not known")
    words += f" of {made.have_mib:,.0f} MiB that are ours"
    ready = made.verdict == "fits"
    return Check("memory", "ok" if ready else "absent", words, None if ready else f"chiasm plan {path} --target here")
