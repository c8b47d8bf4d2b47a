"""Races of the named workloads, and one report of them."""

from __future__ import annotations

import gc
import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ...runtime.errors import InputError
from ...targets import machine
from ..zoo import Size
from .fresh import first_results
from .installed import WAYS, installed_mib
from .loop import frame_age
from .parts import HEAD, graph, int8_graph
from .race import Pace, agreement, race, ratio
from .racer import AbsentError, Racer
from .works import WORKS, Work, captures, made

__all__ = ["PEERS", "Progress", "chosen", "chosen_peers", "race_work", "run_races", "versions"]

PEERS = (
    "ours", "ours_fp32", "eager", "compiled", "plain_ort", "plain_ort_int8", "with_openvino", "with_openvino_int8",
)  # fmt: skip
"""Files of this folder, in the order of the table; `eager` is the truth."""
DRAWERS = ("ours", "ours_fp32", "with_diffusers")
"""Those that draw; `with_diffusers` is the truth."""
_TRUTHS = ("transformers eager", "diffusers eager")
_ALWAYS = ("ours", "ours_fp32", "eager")
_FRESH = ("vit-b32", "fused")
"""Workloads whose first result in a fresh process is measured, with its peak memory."""
_SLOW_TO_START = ("compiled",)
"""It compiles for minutes in every fresh process: no race that tells anything."""
_GRAPHS = {"plain_ort": graph, "plain_ort_int8": int8_graph, "with_openvino": graph}
_RING = 8
_PACKAGES = (
    "chiasm", "numpy", "onnxruntime", "torch", "torchvision", "transformers", "tokenizers", "pillow", "openvino",
    "nncf", "diffusers", "opencv-python", "opencv-python-headless", "mlcommons-loadgen",
)  # fmt: skip

Progress = Callable[[str, float], None]


def versions() -> dict[str, str | None]:
    """Package → its version here, None where it is not installed."""
    from importlib.metadata import distributions

    here = {each.name.lower().replace("_", "-"): each.version for each in distributions() if each.name}
    return {name: here.get(name) for name in _PACKAGES}


def chosen(names: Sequence[str]) -> list[Work]:
    """The named workloads, all when none is named. Raises `InputError`."""
    for name in names:
        if name not in WORKS:
            raise InputError("There is no such workload", found=name, expected=", ".join(WORKS))
    return [WORKS[name] for name in (dict.fromkeys(names) or WORKS)]


def chosen_peers(names: Sequence[str]) -> tuple[str, ...]:
    """The named files, with ours and the truth; all when none is named. Raises `InputError`."""
    for name in names:
        if name not in PEERS:
            raise InputError("There is no such peer", found=name, expected=", ".join(PEERS))
    return tuple(each for each in PEERS if not names or each in names or each in _ALWAYS)


def run_races(
    names: Sequence[str], folder: Path, pace: Pace, *, threads: int | None = None, size: Size = "real",
    peers: Sequence[str] = PEERS, repeats: int = 5, progress: Progress = lambda title, share: None,
) -> dict[str, Any]:  # fmt: skip
    """The report, in plain types ready for JSON. What is missing in the work folder is made first: minutes a model."""
    works, count = chosen(names), threads or os.cpu_count() or 1
    for work in works:
        made(work, folder, size, lambda words: progress(words, 0.0))
    beyond = _beyond(works, folder, count, size, peers, repeats, pace, progress)
    races = {work.name: race_work(work, folder, pace, count, size, peers, progress) for work in works}
    return {
        "format": "chiasm-peers",
        "version": 1,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine().to_dict(),
        "load": list(os.getloadavg()),
        "versions": versions(),
        "threads": count,
        "size": size,
        "pace": {"seconds": pace.seconds, "samples": pace.samples, "quick": pace.seconds < 60},
        "races": races,
        **beyond,
    }


def _beyond(
    works: Sequence[Work], folder: Path, threads: int, size: Size, peers: Sequence[str], repeats: int, pace: Pace,
    progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """What is measured beside the races, and before them, while this process is small: fresh processes, the age of
    frames, installed bytes."""
    found: dict[str, Any] = {"fresh": {}, "installed_mib": {way: installed_mib(each) for way, each in WAYS.items()}}
    for name in _FRESH:
        work = WORKS[name]
        if work not in works or not repeats:
            continue
        progress(f"{name}: fresh processes", 0.0)
        files = {import_module(f".{each}", __package__): each for each in peers if each not in _SLOW_TO_START}
        here = {module.NAME: each for module, each in files.items() if _lacking(module.NEEDS) is None}
        for module, each in files.items():  # graphs that peers run are made before, not in the first process
            if module.NAME in here and _GRAPHS.get(each) is not None:
                _prepare(work, folder, _GRAPHS[each])
        found["fresh"][name] = first_results(work, here, folder, threads, size, repeats)
    if WORKS["vit-b32"] in works:
        progress("frame age", 0.0)
        try:
            found["frame_age"] = frame_age(WORKS["vit-b32"], folder, threads, min(20.0, pace.seconds))
        except AbsentError as error:
            found["frame_age"] = {"absent": str(error)}
    return found


def _prepare(work: Work, folder: Path, make: Callable[..., Any]) -> None:
    for part in [*(each.modality for each in work.encoders), *([HEAD] if work.fused else [])]:
        make(work, part, folder)


def race_work(
    work: Work, folder: Path, pace: Pace, threads: int, size: Size, peers: Sequence[str], progress: Progress
) -> dict[str, Any]:
    """One workload: who is absent and why, who was refused, everyone's figures, and their ratios to ours."""
    absent: dict[str, str] = {}
    racers: list[Racer] = []
    peers = DRAWERS if work.pipeline else peers
    pace = replace(pace, turn=2, warm_up=1) if work.pipeline else pace
    for index, name in enumerate(peers):
        progress(f"{work.name}: opening {name}", index / len(peers))
        module: Any = import_module(f".{name}", __package__)
        try:
            if (lacking := _lacking(module.NEEDS)) is not None:
                raise AbsentError(f"{lacking} is not installed")
            racers.append(module.open_racer(work, folder, threads))
        except AbsentError as error:
            absent[module.NAME] = str(error)
    made_up = captures(work, _RING, size)
    truth = next((racer for racer in racers if racer.name in _TRUTHS), None)
    if truth is None:
        raise InputError("There is nothing to compare with", found="no torch with transformers or diffusers")
    progress(f"{work.name}: comparing answers", 0.0)
    agreed = agreement(racers, made_up[:3], truth)
    fit = [racer for racer in racers if agreed[racer.name]["agrees"]]
    figures = race(
        fit, made_up, pace, network=work.network, advance=lambda share: progress(f"{work.name}: racing", share)
    )
    rows = [_row(racer, agreed[racer.name], figures.get(racer.name), figures.get(racers[0].name)) for racer in racers]
    for racer in racers:
        racer.close()
    racers.clear()
    gc.collect()
    return {"says": work.says, "load": list(os.getloadavg()), "rows": rows, "absent": absent}


def _lacking(packages: Sequence[str]) -> str | None:
    return next((name for name in packages if importlib.util.find_spec(name) is None), None)


def _row(
    racer: Racer, agreed: Mapping[str, Any], figures: Mapping[str, Any] | None, ours: Mapping[str, Any] | None
) -> dict[str, Any]:
    row = {"name": racer.name, "precision": racer.precision, "notes": dict(racer.notes), **agreed}
    if figures is None:
        return row | {"refused": f"cosine {agreed['cosine']:.4f}, at least {agreed['limit']} is needed"}
    times = ratio(figures["turns_ms"], ours["turns_ms"]) if ours is not None else None
    return row | dict(figures) | {"times_ours": times}
