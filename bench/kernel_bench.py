"""Every kernel against its bound and its peers, interleaved: in each round each of them has a turn.

A turn is a batch of calls that lasts at least `BATCH_S`, so that the clock is no part of the figure, after one that is
not counted: it finds the caches, and the other core's threads still spinning, as the one before left them. What is
said is the median of the rounds, and of peers the median of the ratios to ours in the same round: a machine that is
slow for a while is slow for both. The bound is the time that the bytes of a case take at the copy bandwidth, which is
measured at the beginning and at the end of the same run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..runtime.errors import InputError
from ..targets import machine, packages
from .kernel_cases import Call, Case, cases, subjects
from .settings import Progress, silent

__all__ = ["copy_bandwidth", "run_kernel_bench"]

BATCH_S = 0.002
ROUNDS = 7
"""At least so many rounds, however long they take."""


def run_kernel_bench(
    only: Sequence[str] = (), seconds: float = 2.0, progress: Progress | None = None
) -> dict[str, Any]:
    """The report, in plain types ready for JSON: `only` these subjects, about `seconds` of measuring for each case.

    Raises:
        InputError: there is no such subject, or seconds is not above zero.
    """
    known = subjects()
    for name in only:
        if name not in known:
            raise InputError("there is no such kernel subject", found=name, expected=", ".join(known) or "none yet")
    if not 0 < seconds < 1e6:
        raise InputError("seconds cannot be used", found=seconds, expected="a number above zero")
    todo = [(subject, case) for subject in (only or known) for case in cases(subject)]
    before = copy_bandwidth()
    figures = []
    for index, (subject, case) in enumerate(todo):
        (progress or silent)(case.name, index / len(todo))
        figures.append({"subject": subject, **_measure(case, seconds)})
    bandwidth = float(np.median([before, copy_bandwidth()]))
    for figure in figures:
        figure["bound_ms"] = 1000 * figure["bytes_moved"] / bandwidth
        figure["share_of_bound"] = figure["bound_ms"] / figure["ours_ms"]
    return {
        "format": "chiasm-bench-kernels",
        "version": 1,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine().to_dict(),
        "packages": packages(),
        "kernels": _kernels(),
        "copy_bandwidth_gb_s": bandwidth / 1e9,
        "seconds": seconds,
        "cases": figures,
    }


def _kernels() -> dict[str, str | None]:
    from .. import kernels
    from ..kernels import _select

    compiled = _select.compiled
    return {
        "backend": kernels.BACKEND,
        "instructions": None if compiled is None else compiled.instructions(),
        "why_not": kernels.why_not(),
    }


def copy_bandwidth(mebibytes: int = 64) -> float:
    """Bytes a second, read and written, of a copy by one thread between arrays larger than the caches: best of 9."""
    source = np.ones(mebibytes << 20, np.uint8)
    target = np.zeros_like(source)
    return 2 * source.nbytes / min(_seconds(lambda: np.copyto(target, source), 1) for _ in range(9))


def _seconds(call: Call, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - start


def _batch(call: Call) -> int:
    """How many calls last `BATCH_S`, after a warm-up."""
    call()
    return max(1, round(BATCH_S / max(min(_seconds(call, 1) for _ in range(3)), 1e-7)))


def _measure(case: Case, seconds: float) -> dict[str, Any]:
    calls: dict[str, Call] = {"": case.ours, **case.peers}
    batches = {name: _batch(call) for name, call in calls.items()}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    begun = time.perf_counter()
    while len(taken[""]) < ROUNDS or time.perf_counter() - begun < seconds:
        for name, call in calls.items():
            _seconds(call, batches[name])
            taken[name].append(_seconds(call, batches[name]) / batches[name])
    ours = np.asarray(taken.pop(""))
    return {
        "name": case.name,
        "note": case.note,
        "rounds": len(ours),
        "bytes_moved": case.bytes_moved,
        "ours_ms": 1000 * float(np.median(ours)),
        "peers": {name: _peer(ours, np.asarray(theirs), case.wanted.get(name)) for name, theirs in taken.items()},
        "absent": dict(case.absent),
    }


def _peer(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any], wanted: float | None) -> dict[str, Any]:
    ratio = float(np.median(theirs / ours))
    met = None if wanted is None else ratio >= wanted
    return {"ms": 1000 * float(np.median(theirs)), "times_as_fast": ratio, "wanted": wanted, "met": met}
