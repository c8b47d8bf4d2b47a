"""What TensorRT and TensorRT-RTX share: reading a graph and building an engine. The vendor's module is passed in.

Both read precision from the graph (strongly typed networks), so there are no switches for it here. TensorRT-RTX builds
for compute capabilities that are named, without a GPU; TensorRT builds for the GPU that is there.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import EngineError
from ..values import OnnxGraph

__all__ = ["VENDORS", "Order", "Vendor", "build", "load_vendor"]

_NO_STRIPPING = "Build without --strip, or where there is an NVIDIA GPU: TensorRT-RTX 1.7 strips nothing without."

Told = Callable[[str, float], object]
"""Told what the builder does and which share of it is done; a false answer stops it."""


class Vendor(msgspec.Struct, frozen=True):
    """`module`: what is imported; `named`: whether it builds for named capabilities; `command`: what installs it."""

    name: str
    module: str
    named: bool
    command: str


VENDORS = {
    each.name: each
    for each in (
        Vendor("tensorrt_rtx", "tensorrt_rtx", True, "pip install 'chiasm[rtx]'"),
        Vendor("tensorrt", "tensorrt", False, "build on the device, with TensorRT 10.3 or newer (JetPack brings it)"),
    )
}


@dataclass(frozen=True)
class Order:
    """What is to be built. `workspace`: bytes of scratch that the builder may plan with, None: its own limit;
    `level`: 0 to 5, how long it may search; `timing`: what it remembers of earlier searches, if it keeps that;
    `strip`: leave the weights out, which come from the same graph when the engine is opened."""

    part: str
    graph: OnnxGraph
    capabilities: tuple[str, ...] = ()
    level: int | None = None
    workspace: int | None = None
    timing: bytes | None = None
    strip: bool = False


def load_vendor(name: str) -> Any:
    """The vendor's module. Raises `EngineError` saying what would bring it."""
    if name not in VENDORS:
        raise EngineError("No such vendor of engines", found=name, expected=" or ".join(VENDORS))
    vendor = VENDORS[name]
    try:
        return importlib.import_module(vendor.module)
    except (ImportError, OSError) as error:  # OSError: its libraries are not there
        raise EngineError(
            f"Building engines needs {vendor.module}, which cannot be imported", found=str(error) or None,
            fix=f"Run: {vendor.command}" if vendor.named else f"{vendor.command[0].upper()}{vendor.command[1:]}.",
        ) from error  # fmt: skip


def build(sdk: Any, vendor: Vendor, order: Order, told: Told) -> tuple[bytes, bytes | None]:
    """(the engine, what the builder remembers for the next time or None).

    Raises `EngineError`: the parser refuses a node, an unknown capability, the builder fails.
    """
    logger = _Log(sdk)
    builder = sdk.Builder(logger.of_vendor)
    network = builder.create_network(_strongly_typed(sdk))
    _parse(sdk, network, logger, order)
    config = builder.create_builder_config()
    cache = _configure(sdk, vendor, config, order, told)
    made = builder.build_serialized_network(network, config)
    if made is None:
        raise EngineError(
            f"{vendor.name} {sdk.__version__} built no engine of part {order.part}", found=logger.said() or "no reason",
            fix=_NO_STRIPPING if order.strip else "Try a smaller --workspace or another --precision.",
        )  # fmt: skip
    return bytes(made), None if cache is None else bytes(cache.serialize())


def _strongly_typed(sdk: Any) -> int:
    """The flag where it is still one: newer versions know no other networks."""
    flag = getattr(sdk.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(sdk: Any, network: Any, logger: _Log, order: Order) -> None:
    """Raises `EngineError` naming the node, its operator and the part."""
    parser = sdk.OnnxParser(network, logger.of_vendor)
    folder = order.graph.folder
    given = (order.graph.proto,) if folder is None else (order.graph.proto, os.fspath(folder / "graph.onnx"))
    if parser.parse(*given):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    if not errors:
        raise EngineError(f"Part {order.part} cannot be read", found=logger.said() or "no reason")
    first = errors[0]
    node, operator = (_asked(first, name) for name in ("node_name", "node_operator"))
    more = f"; {len(errors) - 1} more nodes" if len(errors) > 1 else ""
    raise EngineError(
        f"Part {order.part} has a node that {sdk.__name__} {sdk.__version__} does not take",
        found=f"{operator or 'an operator'} {node or first.node()!r}: {first.desc()}{more}",
        fix="Take another --precision (int8-cpu graphs are for CPUs), or export the part without that operator.",
    )


def _asked(error: Any, name: str) -> str:
    """What an error of the parser says of its node; the oldest versions have no such method."""
    ask = getattr(error, name, None)
    return str(ask()) if ask is not None else ""


def _configure(sdk: Any, vendor: Vendor, config: Any, order: Order, told: Told) -> Any:
    """Apply the order; the timing cache where the vendor keeps one."""
    if vendor.named:
        _capabilities(sdk, config, order.capabilities)
    if order.level is not None:
        config.builder_optimization_level = order.level
    if order.workspace is not None:
        config.set_memory_pool_limit(sdk.MemoryPoolType.WORKSPACE, order.workspace)
    if order.strip:
        _strip(sdk, config)
    config.progress_monitor = _monitor(sdk, told)
    if vendor.named:
        return None
    cache = config.create_timing_cache(order.timing or b"")
    config.set_timing_cache(cache, False)
    return cache


def _strip(sdk: Any, config: Any) -> None:
    """Leave out what can be refitted. REFIT_IDENTICAL promises the same weights again, so that the builder may optimise
    with what it sees of them."""
    flags = [getattr(sdk.BuilderFlag, name, None) for name in ("STRIP_PLAN", "REFIT_IDENTICAL")]
    if None in flags:
        raise EngineError(f"{sdk.__name__} {sdk.__version__} cannot strip engines", fix="Build without --strip.")
    for flag in flags:
        config.set_flag(flag)


def _capabilities(sdk: Any, config: Any, capabilities: Sequence[str]) -> None:
    known = {name: getattr(sdk.ComputeCapability, name) for name in dir(sdk.ComputeCapability) if name.startswith("SM")}
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        name = "SM" + capability.replace(".", "")
        if name not in known:
            raise EngineError(
                f"{sdk.__name__} {sdk.__version__} builds no engines for compute capability {capability}",
                expected=", ".join(_dotted(each) for each in known),
                fix="On such a device TensorRT itself builds them: run chiasm compile there.",
            )
        config.set_compute_capability(known[name], index)


def _dotted(name: str) -> str:
    return f"{name[2:-1]}.{name[-1]}"


def _monitor(sdk: Any, told: Told) -> Any:
    """The vendor's progress monitor. Phases nest; the outermost one that has steps is the whole."""

    class Monitor(sdk.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.phases: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            whole = next(iter(self.phases), phase_name)
            if phase_name == whole:
                told(phase_name, min(1.0, (step + 1) / max(1, self.phases[whole])))
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

    return Monitor()


class _Log:
    """The vendor's logger: keeps what was an error, prints nothing."""

    def __init__(self, sdk: Any) -> None:
        self.errors: list[str] = []
        kept = self.errors
        bad = (sdk.ILogger.Severity.INTERNAL_ERROR, sdk.ILogger.Severity.ERROR)

        class Logger(sdk.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()

            def log(self, severity: Any, msg: str) -> None:
                if severity in bad:
                    kept.append(msg)

        self.of_vendor = Logger()

    def said(self) -> str:
        """The first errors, in one line."""
        return "; ".join(dict.fromkeys(" ".join(each.split()) for each in self.errors[:3]))
