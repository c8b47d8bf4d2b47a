"""Ranges of activations for static INT8: the clipping that costs least over the calibration feeds.

Per tensor, a histogram of all its values; then of a few candidate ranges, from the full one inwards, the one with the
smallest mean squared error after rounding to 256 levels and clipping (as in Sung et al. 2015 and TensorRT's MSE
calibrator).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import ExportError
from ..runtime.values import Array
from .graphs import Graph, output_info, serialise
from .sessions import Runner

__all__ = ["best_range", "observe"]

_BINS = 2048
_KEPT = np.linspace(1.0, 0.3, 29)
"""Shares of the full range that are tried."""


def observe(
    model: object, names: Iterable[str], feeds: Sequence[Mapping[str, Array]]
) -> dict[str, tuple[float, float]]:
    """Range (low ≤ 0 ≤ high) of each named FP32 tensor over all feeds.

    Two passes: the extremes, then histograms between them. Raises `ExportError` when a tensor is never finite.
    """
    wanted = list(dict.fromkeys(names))
    runner = Runner(_with_outputs(model, wanted))
    extremes: dict[str, tuple[float, float]] = dict.fromkeys(wanted, (0.0, 0.0))
    for feed in feeds:
        made = {**feed, **runner(feed)}
        for name in wanted:
            if not np.isfinite(made[name]).all():
                raise ExportError(f"Tensor {name!r} is not finite on a calibration capture", fix="Look at them.")
            low, high = extremes[name]
            extremes[name] = (min(low, float(made[name].min())), max(high, float(made[name].max())))
    counts = {name: np.zeros(_BINS) for name in wanted}
    for feed in feeds:
        made = {**feed, **runner(feed)}
        for name in wanted:
            counts[name] += np.histogram(made[name], _BINS, _wide(extremes[name]))[0]
    return {name: best_range(counts[name], *_wide(extremes[name])) for name in wanted}


def _wide(extremes: tuple[float, float]) -> tuple[float, float]:
    low, high = extremes
    return (low, high) if high - low > 1e-8 else (low, low + 1e-8)


def _with_outputs(model: object, names: Sequence[str]) -> bytes:
    """The model with more tensors as outputs (inputs of the graph need none)."""
    graph = Graph(model)
    makers = graph.makers()
    graph.outputs += [name for name in names if name in makers and name not in graph.outputs]
    saved = graph.save()
    given = {each.name for each in saved.graph.output}
    for name in graph.outputs:
        if name not in given:
            saved.graph.output.append(output_info(name))
    return serialise(saved)


def best_range(counts: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """The range inside [low, high] with the least squared error on 256 levels; `counts` are of even bins."""
    edges = np.linspace(low, high, len(counts) + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    best, least = (low, high), np.inf
    for share in _KEPT:
        bottom, top = low * share, high * share
        step = (top - bottom) / 255
        inside = (middles >= bottom) & (middles <= top)
        beyond = np.where(middles > top, middles - top, bottom - middles)
        cost = float((counts * np.where(inside, step * step / 12, beyond * beyond)).sum())
        if cost < least:
            best, least = (bottom, top), cost
    return best
