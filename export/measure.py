"""Differences between two runs, and times of graphs taken in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from ..runtime.errors import ExportError
from ..runtime.values import Array, OnnxGraph
from .sessions import Runner

__all__ = ["Difference", "compare", "interleaved", "same_choice", "timed", "worst"]

_TOGETHER = 2**30
"""Bytes of graphs that are opened at the same time."""


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One output tensor over all feeds: the largest max|a − b| / max|a|, the lowest and the mean cosine."""

    max_relative_error: float
    cosine: float
    mean_cosine: float


def compare(reference: Sequence[Mapping[str, Array]], other: Sequence[Mapping[str, Array]]) -> dict[str, Difference]:
    """Differences by output. Values that are not finite count as cosine −1 and infinite error."""
    if not reference or len(reference) != len(other):
        raise ExportError(
            "Nothing to compare", found=f"{len(reference)} and {len(other)} runs", expected="as many, at least one"
        )
    found = {}
    for name in reference[0]:
        pairs = [
            _pair(np.asarray(a[name], np.float64), np.asarray(b[name], np.float64))
            for a, b in zip(reference, other, strict=True)
        ]
        errors, cosines = np.array(pairs).T
        found[name] = Difference(float(errors.max()), float(cosines.min()), float(cosines.mean()))
    return found


def _pair(a: Array, b: Array) -> tuple[float, float]:
    if a.shape != b.shape:
        raise ExportError(
            "These are not the same model", found=f"an output of shape {b.shape}", expected=a.shape,
            fix="Give the checkpoint that the bundle was made from.",
        )  # fmt: skip
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf"), -1.0
    error = float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12))
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    if lengths < 1e-24:
        return error, 1.0 if error == 0.0 else 0.0
    return error, min(1.0, float((a * b).sum()) / lengths)


def same_choice(
    reference: Sequence[Mapping[str, Array]], other: Sequence[Mapping[str, Array]], output: str = "logits"
) -> float | None:
    """Share of runs in which the largest value of `output` is at the same place; None for a part without it.

    The step of a captioner has logits: where the same token is likeliest, a greedy caption goes on in the same way.
    """
    if not reference or output not in reference[0]:
        return None
    same = [a[output].argmax() == b[output].argmax() for a, b in zip(reference, other, strict=True)]
    return float(np.mean(same))


def worst(differences: Mapping[str, Difference], *, by: str) -> tuple[str, float]:
    """The output with the lowest `cosine`, or the highest `max_relative_error`, and that figure."""
    if by == "cosine":
        name = min(differences, key=lambda each: differences[each].cosine)
        return name, differences[name].cosine
    name = max(differences, key=lambda each: differences[each].max_relative_error)
    return name, differences[name].max_relative_error


def timed(graphs: Sequence[OnnxGraph], feeds: Sequence[Mapping[str, Array]], rounds: int) -> list[float]:
    """Seconds of one run of each graph on one thread: taking turns, or one after the other where memory would be short.

    Large graphs share no cache that would matter, and what else the machine does is not in a thread's CPU time.
    """
    warm = min(5, rounds)
    if sum(each.nbytes for each in graphs) <= _TOGETHER:
        return interleaved([Runner(each, threads=1) for each in graphs], feeds, rounds, warm)
    return [interleaved([Runner(each, threads=1)], feeds, rounds, 1)[0] for each in graphs]


def interleaved(
    runners: Sequence[Runner],
    feeds: Sequence[Mapping[str, Array]],
    rounds: int,
    warm: int = 5,
    clock: Callable[[], float] = time.thread_time,
) -> list[float]:
    """Seconds of one run of each graph: the median over rounds in which all take turns on the same feed.

    A session with one thread runs in the caller's, so the clock is this thread's CPU time: what else the machine is
    doing does not count, and taking turns shares out what it does to the caches and to the clock rate.
    """
    for runner in runners:
        for index in range(warm):
            runner(feeds[index % len(feeds)])
    taken: list[list[float]] = [[] for _ in runners]
    for index in range(rounds):
        feed = feeds[index % len(feeds)]
        for shift in range(len(runners)):
            which = (index + shift) % len(runners)
            start = clock()
            runners[which](feed)
            taken[which].append(clock() - start)
    return [float(np.median(each)) for each in taken]
