"""What `chiasm doctor` finds: one finding each, and those that are about the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

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
    from ..runtime.backends import available
    from ..targets.detect import detect, release_of
    from ..targets.readiness import readiness

    found = detect()
    release = release_of(found.host, found.target) if found.target is not None else None
    words = found.why + (f"; JetPack {release.jetpack}" if release is not None else "")
    if found.target is None:
        yield Check("target", "absent", words, "See which are known: chiasm targets")
    else:
        yield Check("target", "ok", f"{found.target.name}: {words}")
    there = available()
    for each in readiness(found, _installed()):
        if each.name == "ort, CPU":
            continue  # the backend ort is checked for itself
        if each.why_not is not None:
            words = f"{each.why_not} ({each.found})" if each.found else each.why_not
            yield Check(each.name, "absent", words, each.fix)
        elif each.name in there:
            yield Check(each.name, "ok" if there[each.name] is None else "absent", there[each.name] or each.found)
        else:
            yield Check(each.name, "absent", f"{each.found}: ready, but this chiasm does not use it yet")


def _installed() -> dict[str, str]:
    from ..targets.readiness import LIBRARIES

    versions = {}
    for package in LIBRARIES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


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
