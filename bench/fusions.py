"""Every fusion kind of a bundle with every set of present modalities: accuracy, latency, work skipped, memory.

Accuracy is what the bundle's own verify.json found on held-out captures, in FP32. Latency is of a whole decision from
new captures, every encoder of a present modality running, all pairs of kind and set taking turns. Work skipped is the
share of a full decision's multiplications and additions that absent modalities spare, counted in the graphs. Memory is
the peak of a fresh process with every modality present: absent ones stay loaded, so that fewer need hardly less.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ..runtime.errors import InputError
from ..targets import machine, packages
from .inputs import Captures
from .percentiles import spread
from .settings import Progress, Settings, silent
from .single import RING

if TYPE_CHECKING:
    from rich.table import Table

    from ..runtime.bundle import Bundle
    from ..runtime.manifest import Manifest

__all__ = ["bench_fusions", "fusion_tables", "subsets"]

_LEAST = 5
"""Rounds, however short the bench."""


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every non-empty set of modalities, single ones first."""
    return [each for count in range(1, len(names) + 1) for each in combinations(names, count)]


def bench_fusions(settings: Settings, progress: Progress | None = None) -> dict[str, Any]:
    """The report, in plain types. Raises `InputError` for a bundle that has no fusion."""
    from ..runtime.bundle import open_bundle

    advance = progress or silent
    bundle = open_bundle(settings.bundle)
    manifest = bundle.manifest
    if manifest.fusion is None:
        raise InputError("This bundle does not decide", found=manifest.model.name, expected="a bundle with fusion")
    kinds = [settings.fusion] if settings.fusion else list(manifest.fusion.kinds)
    sets = subsets(manifest.fusion.order)
    latencies, precisions, seconds = _latencies(settings, kinds, sets, advance)
    accuracy = _accuracy(settings)
    memory = {kind: _peak(replace(settings, fusion=kind), advance) for kind in kinds}
    work = {kind: _work(bundle, manifest, precisions, kind, sets) for kind in kinds}
    rows = [
        {
            "fusion": kind, "present": list(one), "latency_ms": spread(latencies[kind, one]),
            "accuracy": accuracy.get(kind, {}).get("+".join(one)), "skipped": work[kind][one],
        }
        for kind in kinds for one in sets
    ]  # fmt: skip
    return {
        "format": "chiasm-fusions",
        "version": 1,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "bundle": {"name": manifest.model.name, "version": manifest.model.version},
        "machine": machine().to_dict(),
        "packages": packages(),
        "settings": settings.to_dict(),
        "seconds": seconds,
        "precisions": precisions,
        "peak_rss_mib": memory,
        "rows": rows,
    }


def _latencies(
    settings: Settings, kinds: Sequence[str], sets: Sequence[tuple[str, ...]], advance: Progress
) -> tuple[dict[tuple[str, tuple[str, ...]], list[float]], dict[str, str], float]:
    """(kind, set) → milliseconds; part → precision; seconds it took. The turns' order changes in every round."""
    found: dict[tuple[str, tuple[str, ...]], list[float]] = {(kind, one): [] for kind in kinds for one in sets}
    with ExitStack() as stack:
        pipelines = {kind: stack.enter_context(replace(settings, fusion=kind).open(cache=False)) for kind in kinds}
        captures = Captures(pipelines[kinds[0]].manifest.modalities, RING, settings.seed)
        shuffled, order, count = random.Random(settings.seed), list(found), 0
        start = time.perf_counter()
        while (elapsed := time.perf_counter() - start) < settings.seconds or count < _LEAST + 1:
            shuffled.shuffle(order)
            for kind, one in order:
                packets = {name: captures.packet(name, count, 0.1 * count) for name in one}
                begun = time.perf_counter()
                pipelines[kind](time_s=0.1 * count, **packets)
                if count:  # the first round warms up
                    found[kind, one].append(1000.0 * (time.perf_counter() - begun))
            count += 1
            advance("fusion", min(1.0, elapsed / settings.seconds))
        precisions = {part: each for pipeline in pipelines.values() for part, each in pipeline.precisions.items()}
    return found, precisions, elapsed


def _accuracy(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    """kind → set → head → share right, as `verify` found it in FP32; nothing where it measured none."""
    from ..export.report import FILE, decode

    path = settings.bundle / FILE
    if not path.exists():
        return {}  # a bundle of somebody else's making need not have one
    fused = decode(path.read_bytes()).fused
    return {} if fused is None else {kind: sets.get("fp32", {}) for kind, sets in fused.accuracy.items()}


def _peak(settings: Settings, advance: Progress) -> float:
    from .startup import fresh

    advance(f"fusion: memory of {settings.fusion}", 1.0)
    return float(fresh(settings)["peak_rss_mib"])


def _work(
    bundle: Bundle, manifest: Manifest, precisions: Mapping[str, str], kind: str, sets: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], float]:
    """Set → the share of a full decision's operations that it spares: those of the encoders that do not run."""
    from ..runtime.planning.count import count_graph

    def operations(part: str) -> int:
        return sum(count_graph(bundle.graph(part, precisions[part]).proto).operations.values())

    encoders = {each.name: operations(each.part) for each in manifest.modalities}
    always = operations(manifest.fused.kinds[kind]) + sum(
        operations(part) for part in {each.part for each in manifest.heads.values()}
    )
    whole = always + sum(encoders.values())
    return {one: sum(each for name, each in encoders.items() if name not in one) / whole for one in sets}


def fusion_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """Sets down, kinds across: milliseconds, then, where it is known, how often the first head is right."""
    memory = report["peak_rss_mib"]
    took = _table(report, "a decision, p50, ms", lambda row: f"{row['latency_ms']['p50']:.2f}")
    took.add_row("MiB, fresh process", "", *(f"{each:.0f}" for each in memory.values()))
    yield took
    if any(row["accuracy"] for row in report["rows"]):
        yield _table(report, "first head right, %", _right)


def _table(report: Mapping[str, Any], title: str, cell: Callable[[Mapping[str, Any]], str]) -> Table:
    from rich.table import Table

    kinds = list(report["peak_rss_mib"])
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("present", no_wrap=True)
    for name in ("skipped", *kinds):
        table.add_column(name, justify="right")
    for one in dict.fromkeys(tuple(row["present"]) for row in report["rows"]):
        mine = {row["fusion"]: row for row in report["rows"] if tuple(row["present"]) == one}
        skipped = f"{100 * next(iter(mine.values()))['skipped']:.0f} %"
        table.add_row("+".join(one), skipped, *(cell(mine[kind]) for kind in kinds))
    return table


def _right(row: Mapping[str, Any]) -> str:
    accuracy = row["accuracy"]
    return f"{100 * next(iter(accuracy.values())):.1f}" if accuracy else "-"
