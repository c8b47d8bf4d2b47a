"""Graphs of a bundle → engines of TensorRT or TensorRT-RTX, kept beside the graphs. Needs neither torch nor onnx.

What is to be built is known before anything is: which variant of each part, for which devices, whether it is there
already, and about how long it will take and how much memory it will need. Each engine is then built in a process of its
own (`runtime/backends/_builder.py`), under a lock, and kept whole or not at all (`runtime/engines.py`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence

import msgspec

from ..runtime.backends._builder import Maker, build_apart, ensure
from ..runtime.backends._nvinfer import VENDORS, Order, Told, load_vendor
from ..runtime.bundle import Bundle
from ..runtime.engines import EngineStore, Facts, Key
from ..runtime.errors import EngineError, InputError
from ..runtime.manifest import Manifest
from ..targets.catalogue import find_target
from ..targets.detect import detect
from ..targets.machine import version_of
from ..targets.readiness import RTX_CAPABILITIES
from ..targets.schema import Target, TargetError

__all__ = ["Job", "Line", "Meant", "Wish", "compile_engines", "meant_for", "plan_engines", "vendor_version"]

_VARIANTS = {"fp32": ("fp32",), "fp16": ("fp16", "fp32"), "int8": ("int8-trt", "fp16", "fp32")}
"""What is asked for → variants, the first that a part has. The INT8 of CPUs is none of them: TensorRT refuses it."""

_START_S, _PER_MIB_S, _PER_CAPABILITY = 0.7, 0.02, 0.25
_START_MIB, _PER_MIB = 220.0, 4.0
"""Coarse, from builds of 0.1 to 1,700 MB with TensorRT-RTX 1.7 on two cores; an earlier build of the same graph counts
for more."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How engines are to be built. `precision`: fp32, fp16 or int8, or part → one of them; `parts` empty: all.

    `level` 0 to 5, `workspace` in bytes and `strip`: see `Order`; None is the vendor's own.
    """

    vendor: str = "tensorrt_rtx"
    capabilities: tuple[str, ...] = ()
    precision: str = "fp16"
    parts: tuple[str, ...] = ()
    level: int | None = None
    workspace: int | None = None
    strip: bool = False


class Meant(msgspec.Struct, frozen=True):
    """What engines are for: capabilities, the vendor that builds for all of them, and scratch that fits (bytes)."""

    capabilities: tuple[str, ...]
    vendor: str
    workspace: int | None


def meant_for(names: Sequence[str], capabilities: Sequence[str]) -> Meant:
    """Targets by name ("here": this machine, which none at all means too) and capabilities, together.

    On a board whose memory CPU and GPU share, scratch is held to a quarter of what is ours: builders take what they
    see, and are killed for it. Raises `InputError`.
    """
    asked = names or (() if capabilities else ("here",))
    devices = [_device(name) for name in asked]
    known = [each.compute_capability.value for each in devices if each.compute_capability is not None]
    both = tuple(dict.fromkeys((*known, *capabilities)))
    shared = [each.usable_mib for each in devices if each.memory.shared and each.usable_mib is not None]
    everywhere = all(each in RTX_CAPABILITIES for each in both)
    vendor = "tensorrt_rtx" if everywhere else "tensorrt"
    return Meant(both, vendor, int(min(shared) / 4 * 2**20) if shared else None)


def _device(name: str) -> Target:
    """A target that engines can be built for."""
    if name == "here":
        found = detect()
        if found.target is None or found.target.compute_capability is None:
            raise InputError(
                "This machine takes no engines", found=found.why, expected="an NVIDIA GPU",
                fix="Name the device that they are for: --target NAME; chiasm targets lists them.",
            )  # fmt: skip
        return found.target
    try:
        target = find_target(name)
    except TargetError as error:
        raise InputError(str(error)) from error
    if target.compute_capability is None:
        raise InputError("Engines are for NVIDIA GPUs", found=f"the target {target.name}, which has none",
                         fix="Its CPU runs the ONNX graphs as they are.")  # fmt: skip
    return target


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One engine to be: what it would be kept under, whether it is there, and what building it is expected to cost."""

    key: Key
    graph_bytes: int
    there: bool
    expected_s: float
    expected_mib: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One engine that is there now. `cached`: it was before."""

    part: str
    precision: str
    capabilities: tuple[str, ...]
    bytes: int
    seconds: float
    peak_mib: float
    cached: bool
    key: str


def vendor_version(vendor: str) -> str:
    """The version that would build, found without importing it where that can be. Raises `EngineError`."""
    if vendor not in VENDORS:
        raise EngineError("No such vendor of engines", found=vendor, expected=" or ".join(VENDORS))
    there = importlib.util.find_spec(VENDORS[vendor].module) is not None
    # JetPack's own has no metadata in a virtual environment: then the module is asked.
    return (version_of(vendor) if there else None) or str(load_vendor(vendor).__version__)


def plan_engines(bundle: Bundle, wish: Wish, store: EngineStore) -> list[Job]:
    """What there is to do, in the order of the parts. Raises `InputError`, `EngineError`: the wish cannot be."""
    if not wish.capabilities:
        raise InputError("Engines are built for a device", found="no compute capability", expected="8.9, say",
                         fix="Give --target NAME (chiasm targets lists them) or --capability 8.9.")  # fmt: skip
    if wish.precision not in _VARIANTS:
        raise InputError("No such precision of engines", found=wish.precision, expected=", ".join(_VARIANTS))
    manifest, version, earlier = bundle.manifest, vendor_version(wish.vendor), store.all()
    return [_job(manifest, part, wish, version, store, earlier) for part in _asked(manifest, wish.parts)]


def _asked(manifest: Manifest, parts: Sequence[str]) -> Iterable[str]:
    unknown = [name for name in parts if name not in manifest.parts]
    if unknown:
        raise InputError("No such part", found=", ".join(unknown), expected=f"some of {', '.join(manifest.parts)}")
    return parts or manifest.parts


def key_of(manifest: Manifest, part: str, precision: str, wish: Wish, version: str) -> Key:
    """The key of one variant."""
    spec = manifest.parts[part]
    variant = next(each for each in spec.variants if each.precision == precision)
    flags = {name: str(value) for name in ("level", "workspace") if (value := getattr(wish, name)) is not None}
    flags |= {"strip": "true"} if wish.strip else {}
    return Key(
        part=part, precision=precision, graph=variant.digest,
        vendor=wish.vendor, version=version, capabilities=tuple(sorted(wish.capabilities, key=_number)),
        shapes={each.name: each.shape for each in spec.inputs}, flags=flags,
    )  # fmt: skip


def _number(capability: str) -> tuple[int, ...]:
    """ "12.0" comes after "8.9"."""
    try:
        major, minor = capability.split(".")
        return int(major), int(minor)
    except ValueError as error:
        raise InputError("Not a compute capability", found=capability, expected="two numbers, as in 8.9") from error


def _job(
    manifest: Manifest, part: str, wish: Wish, version: str, store: EngineStore, earlier: Sequence[Facts]
) -> Job:  # fmt: skip
    spec = manifest.parts[part]
    variants = {each.precision: each for each in spec.variants}
    precision = next((each for each in _VARIANTS[wish.precision] if each in variants), None)
    if precision is None:
        raise EngineError(
            f"Part {part} has no variant that becomes an engine", found=", ".join(variants),
            expected=" or ".join(_VARIANTS[wish.precision]), fix="Export the bundle with --precision fp16.",
        )  # fmt: skip
    key = key_of(manifest, part, precision, wish, version)
    size = variants[precision].nbytes
    seconds, mib = _expected(key, size, earlier)
    there = store.holds(key) is not None
    return Job(key=key, graph_bytes=size, there=there, expected_s=seconds, expected_mib=mib)


def _expected(key: Key, size: int, earlier: Sequence[Facts]) -> tuple[float, float]:
    """Seconds and MiB: of an earlier build of the same graph for as many devices, else from its size."""
    known = [each for each in earlier if (each.key.graph, each.key.vendor) == (key.graph, key.vendor)]
    if known:
        last = max(known, key=lambda each: each.built)
        return last.seconds * len(key.capabilities) / len(last.key.capabilities), last.peak_mib
    weights = size / 2**20
    more = 1 + _PER_CAPABILITY * (len(key.capabilities) - 1)
    return _START_S + _PER_MIB_S * weights * more, _START_MIB + _PER_MIB * weights


def compile_engines(
    bundle: Bundle,
    jobs: Sequence[Job],
    wish: Wish,
    store: EngineStore,
    *,
    progress: Told = lambda words, share: None,
    maker: Maker = build_apart,
) -> list[Line]:
    """Build what is not there. Whoever builds the same engine at the same time is waited for, and its engine taken.

    Raises `EngineError`; engines that were finished before stay.
    """
    whole = sum(job.expected_s for job in jobs if not job.there) or 1.0
    done, lines = 0.0, []
    for job in jobs:
        part, share = job.key.part, (0.0 if job.there else job.expected_s / whole)
        progress(f"{part} {job.key.precision}", done)
        told = _within(progress, part, done, share)
        lines.append(_one(bundle, job, wish, store, told, maker))
        done += share
    return lines


def _within(progress: Told, part: str, done: float, share: float) -> Told:
    return lambda words, own: progress(f"{part}: {words}", done + share * own)


def _one(bundle: Bundle, job: Job, wish: Wish, store: EngineStore, told: Told, maker: Maker) -> Line:
    key, facts = job.key, store.holds(job.key)
    if facts is not None:
        return _line(facts, cached=True)
    graph = bundle.graph(key.part, key.precision)
    order = Order(key.part, graph, key.capabilities, wish.level, wish.workspace, strip=wish.strip)
    facts, built = ensure(store, key, order, told, maker)
    return _line(facts, cached=not built)


def _line(facts: Facts, *, cached: bool) -> Line:
    key = facts.key
    return Line(
        part=key.part, precision=key.precision, capabilities=key.capabilities, bytes=facts.bytes, seconds=facts.seconds,
        peak_mib=facts.peak_mib, cached=cached, key=key.digest,
    )  # fmt: skip
