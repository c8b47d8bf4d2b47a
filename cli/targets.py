"""`chiasm targets`: the devices that are known, and which of them this one is."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import JsonOption, emit_json, stdout

if TYPE_CHECKING:
    from ..targets import Target
    from ..targets.detect import Detected


class Action(str, Enum):
    """What can be asked about targets."""

    show = "show"


def command(
    action: Annotated[Action | None, typer.Argument(help="show: everything about one.", metavar="[show]")] = None,
    name: Annotated[str | None, typer.Argument(help="A target's name, or 'here'.", metavar="[NAME]")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the devices that chiasm knows, and mark the one that this is.

    Rates are dense, in 10^12 operations a second. `show NAME` gives every figure with its source, and what is missing.

    Example: chiasm targets show jetson-orin-nano-4gb
    """
    from ..runtime.errors import InputError
    from ..targets.detect import detect

    found = detect()
    if action is None:
        _list(found, as_json)
        return
    if name is None:
        raise InputError("show needs a target", expected="chiasm targets show NAME", fix="See: chiasm targets")
    target = _named(name, found)
    if as_json:
        emit_json(_facts(target))
    else:
        _show(target, found)


def _named(name: str, found: Detected) -> Target:
    from ..runtime.errors import InputError
    from ..runtime.planning.plan import target_named

    if name != "here":
        return target_named(name)
    if found.target is None:
        raise InputError("No target describes this machine", found=found.why, fix="See: chiasm targets")
    return found.target


def _facts(target: Target) -> dict[str, Any]:
    import msgspec

    from ..targets import releases_of

    facts: dict[str, Any] = msgspec.to_builtins(target)
    facts["usable_mib"] = target.usable_mib
    facts["releases"] = msgspec.to_builtins(releases_of(target))
    return facts


def _list(found: Detected, as_json: bool) -> None:
    from rich.table import Table

    from ..targets import targets

    here = found.target.name if found.target is not None else None
    if as_json:
        emit_json({"here": here, "why": found.why, "targets": [_facts(target) for target in targets().values()]})
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("target", no_wrap=True)
    for column in ("SM", "GiB", "ours", "GB/s", "FP16", "INT8", "FP8", "DLA"):
        table.add_column(column, justify="right", no_wrap=True)
    for target in targets().values():
        star = "[bold green]*[/]" if target.name == here else " "
        table.add_row(f"{star} {target.name}", *_row(target))
    out = stdout()
    out.print(table)
    out.print(f"* this machine: {found.why}" if here else f"This machine is none of them: {found.why}.", soft_wrap=True)
    out.print("ours: what the system leaves, without desktop; FP16, INT8, FP8: dense, 10^12 operations a second.")


def _row(target: Target) -> tuple[str, ...]:
    memory, rates = target.memory, target.rates
    size = "" if memory.size_mib is None else f"{memory.size_mib.value / 1024:.0f}"
    share = "" if target.usable_mib is None else f"{target.usable_mib / 1024:.1f}"
    speeds = (_rate(rates.fp16), _rate(rates.int8), _rate(rates.fp8))
    dla = "" if target.dla is None else f"{target.dla.engines.value:.0f}"
    return str(target.sm or ""), size, share, f"{memory.bandwidth_gbs.value:.0f}", *speeds, dla


def _rate(figure: Any) -> str:
    if figure is None:
        return ""
    return f"{figure.value:.0f}" if figure.value >= 100 else f"{figure.value:.3g}"


_NAMES = {
    "compute_capability": ("compute capability", ""),
    "tensorrt_rtx": ("TensorRT-RTX", "SM"),
    "runtime_mib": ("CUDA and TensorRT", "MiB"),
    "memory.size_mib": ("memory", "MiB"),
    "memory.bandwidth_gbs": ("bandwidth", "GB/s"),
    "memory.reserved_mib": ("firmware, kernel", "MiB"),
    "memory.system_mib": ("system", "MiB"),
    "memory.trimmed_mib": ("system, trimmed", "MiB"),
    "memory.desktop_mib": ("desktop", "MiB"),
    "memory.cache_mib": ("cache", "MiB"),
    "dla.engines": ("DLA engines", ""),
    "dla.int8": ("DLA INT8", "TOPS"),
}


def _show(target: Target, found: Detected) -> None:
    from rich.table import Table

    from ..targets import releases_of
    from ..targets.catalogue import figures
    from ..targets.schema import Mode

    out = stdout()
    here = " [green](this machine)[/]" if found.target is not None and found.target.name == target.name else ""
    out.print(f"[bold]{target.name}[/]: {target.title}{here}\n{target.about}\n")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("what", "figure", "source"):
        table.add_column(column, overflow="fold" if column == "source" else "ellipsis", no_wrap=column != "source")
    for where, figure in figures(target):
        source = target.sources[figure.source]
        if isinstance(figure, Mode):
            table.add_row(f"mode {figure.name}", "" if figure.watts is None else f"{figure.watts:g} W", source)
            continue
        what, unit = _NAMES.get(where, (where.rpartition(".")[2].upper(), "x 10^12/s"))
        value = figure.value if isinstance(figure.value, str) else f"{figure.value:,g}"
        table.add_row(what, f"{value} {unit}".strip(), f"{source}\n{figure.note}" if figure.note else source)
    out.print(table)
    if target.usable_mib is not None:
        out.print(f"\nours: {target.usable_mib:,.0f} MiB, without desktop")
    for words in target.missing:
        out.print(f"missing: {words}", soft_wrap=True)
    if releases := releases_of(target):
        out.print(_releases(releases))


def _releases(releases: Any) -> Any:
    from rich.table import Table

    table = Table(title="\nJetPack", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in ("JetPack", "L4T", "TensorRT", "CUDA", "source"):
        table.add_column(column, no_wrap=column != "source", overflow="fold")
    for release in releases:
        table.add_row(release.jetpack, release.l4t, release.tensorrt or "", release.cuda or "", release.source)
    return table
