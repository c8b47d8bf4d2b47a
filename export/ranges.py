"""What activations are like on the feeds: ranges for static INT8, and how far they go.

Per tensor, a histogram of its values; then of a few candidate ranges, from the full one inwards, the one with the
smallest mean squared error after rounding to 256 levels and clipping (as in Sung et al. 2015 and TensorRT's MSE
calibrator). Of a large tensor the graph itself gives the extremes and a sample of evenly spaced values, so that nothing
but the samples is ever held.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import ExportError
from ..runtime.values import Array
from .graphs import FLOAT, Graph, output_info
from .model import Model, infer
from .sessions import Runner
from .shelf import Shelf

__all__ = ["Observed", "best_range", "observe", "peaks", "survey"]

_BINS = 2048
_KEPT = np.linspace(1.0, 0.3, 29)
"""Shares of the full range that are tried."""
_MOST, _FEWEST = 2**18, 2**14
"""Values of one tensor that are looked at on one feed."""
_HELD = 2**28
"""Bytes of values that are held at a time."""


class Observed(NamedTuple):
    """A tensor over all feeds: its best range on 256 levels (low ≤ 0 ≤ high), the mean squared error `noise` of
    rounding
    to that range, and `dynamic`, that of rounding to the full one.

    `channels`: the mean square of each index of an axis, where that was asked for.
    """

    low: float
    high: float
    noise: float
    dynamic: float
    channels: Array | None = None


def observe(
    model: Any, names: Iterable[str], feeds: Sequence[Mapping[str, Array]], shelf: Shelf | None = None
) -> dict[str, tuple[float, float]]:
    """Range of each named FP32 tensor over all feeds; see `survey`."""
    return {name: (each.low, each.high) for name, each in survey(model, names, feeds, shelf).items()}


def survey(
    model: Any,
    names: Iterable[str],
    feeds: Sequence[Mapping[str, Array]],
    shelf: Shelf | None = None,
    axes: Mapping[str, int] | None = None,
) -> dict[str, Observed]:
    """Each named FP32 tensor over all feeds; of those in `axes` also the channels. `ExportError`: one is not finite.

    The extremes come first, then histograms between them: from the values that were held, or by running once more.
    """
    wanted = list(dict.fromkeys(names))
    watch = _Watch(model, wanted, shelf or Shelf(), axes or {})
    extremes: dict[str, tuple[float, float]] = dict.fromkeys(wanted, (0.0, 0.0))
    squares: dict[str, Any] = dict.fromkeys(watch.axes, 0.0)
    held: list[dict[str, Array]] = []
    for feed in feeds:
        seen = watch(feed)
        for name, each in seen.items():
            extremes[name] = _further(name, extremes[name], each)
        squares = {name: total + seen[name].squares / len(feeds) for name, total in squares.items()}
        if watch.bytes * len(feeds) <= _HELD:
            held.append({name: each.values for name, each in seen.items()})
    counts = {name: np.zeros(_BINS) for name in wanted}
    for values in held or ({name: each.values for name, each in watch(feed).items()} for feed in feeds):
        for name in wanted:
            counts[name] += np.histogram(values[name], _BINS, _wide(extremes[name]))[0]
    return {name: _observed(counts[name], *_wide(extremes[name]), squares.get(name)) for name in wanted}


def _further(name: str, known: tuple[float, float], seen: _Seen) -> tuple[float, float]:
    if not (math.isfinite(seen.low) and math.isfinite(seen.high)):
        raise ExportError(f"Tensor {name!r} is not finite on a calibration capture", fix="Look at them.")
    return min(known[0], seen.low), max(known[1], seen.high)


def peaks(model: Any, feeds: Sequence[Mapping[str, Array]], shelf: Shelf | None = None) -> dict[str, float]:
    """The largest magnitude of every FP32 tensor that a node makes, over all feeds; infinite where it overflows."""
    graph = Graph(model)
    types = graph.types()
    names = [name for node in graph.nodes for name in node.output if types.get(name) == FLOAT]
    watched = {name: _extremes(graph, name) for name in names}
    made = _save(graph, [name for pair in watched.values() for name in pair])
    runner = Runner((shelf or Shelf()).keep(made), in_order=True)
    found = dict.fromkeys(names, 0.0)
    for feed in feeds:
        run = runner(feed)
        for name, pair in watched.items():
            far = max(abs(float(run[each])) for each in pair)
            found[name] = max(found[name], far if math.isfinite(far) else math.inf)
    return found


class _Seen(NamedTuple):
    """A tensor on one feed: its extremes, values or a sample of them, and the mean square of each channel."""

    low: float
    high: float
    values: Array
    squares: Any


@dataclass
class _Watch:
    """A model that also gives what is asked of some of its tensors; `bytes`: of the values of one feed."""

    model: Any
    names: Sequence[str]
    shelf: Shelf
    axes: Mapping[str, int]

    def __post_init__(self) -> None:
        graph, makers = Graph(self.model), Graph(self.model).makers()
        shapes = {name: shape for name, (_, shape) in infer(self.model, strict=False).items()}
        most = max(_FEWEST, min(_MOST, _HELD // 4 // max(1, len(self.names))))
        self._given: dict[str, tuple[str, ...]] = {}
        self.bytes = 0
        for name in self.names:
            size = math.prod(shapes[name])
            self.bytes += 4 * min(size, most)
            if name in makers and size > most:
                squares = _squares(graph, name, shapes[name], self.axes.get(name))
                self._given[name] = (_sample(graph, name, size, most), *_extremes(graph, name), *squares)
            elif name in makers:
                self._given[name] = (name,)
        asked = [each for given in self._given.values() for each in given]
        self._run = Runner(self.shelf.keep(_save(graph, asked)), in_order=True)

    def __call__(self, feed: Mapping[str, Array]) -> dict[str, _Seen]:
        made = {**feed, **self._run(feed)}
        return {name: self._seen(name, made) for name in self.names}

    def _seen(self, name: str, made: Mapping[str, Array]) -> _Seen:
        values, *more = (made[each] for each in self._given.get(name, (name,)))
        if more:
            high, low, *squares = more
            return _Seen(float(low), float(high), values, squares[0] if squares else None)
        squared = None
        if name in self.axes:
            others = tuple(axis for axis in range(values.ndim) if axis != self.axes[name] % values.ndim)
            squared = np.square(values).mean(axis=others)
        return _Seen(float(values.min()), float(values.max()), values, squared)


def _extremes(graph: Graph, name: str) -> tuple[str, str]:
    """Add two nodes: the largest and the smallest value of a tensor."""
    made = [graph.node(kind, [name], f"{name}.{kind.lower()}", keepdims=0) for kind in ("ReduceMax", "ReduceMin")]
    graph.nodes += made
    return made[0].output[0], made[1].output[0]


def _squares(graph: Graph, name: str, shape: tuple[int, ...], axis: int | None) -> list[str]:
    """Add nodes that take the mean square over all axes but one; none where no axis is asked for."""
    if axis is None:
        return []
    rest = [each for each in range(len(shape)) if each != axis % len(shape)]
    others = graph.constant(f"{name}.others", np.array(rest))
    square = graph.node("Mul", [name, name], f"{name}.square")
    mean = graph.node("ReduceMean", [square.output[0], others], f"{name}.channels", keepdims=0)
    graph.nodes += [square, mean]
    return [str(mean.output[0])]


def _sample(graph: Graph, name: str, size: int, most: int) -> str:
    """Add nodes that take evenly spaced values of a tensor; a prime distance meets all its channels alike."""
    ends = [graph.constant(f"{name}.{word}", np.array([at])) for word, at in (("from", 0), ("to", size), ("axis", 0))]
    step = graph.constant(f"{name}.step", np.array([_prime(-(-size // most))]))
    flat = graph.node("Reshape", [name, graph.constant(f"{name}.flat", np.array([-1]))], f"{name}.values")
    taken = graph.node("Slice", [flat.output[0], *ends, step], f"{name}.sample")
    graph.nodes += [flat, taken]
    return str(taken.output[0])


def _prime(least: int) -> int:
    """The smallest prime of at least that size."""
    while any(least % each == 0 for each in range(2, math.isqrt(least) + 1)):
        least += 1
    return max(2, least)


def _save(graph: Graph, names: Sequence[str]) -> Model:
    """The model with those tensors as further outputs."""
    new = [name for name in names if name not in graph.outputs]
    graph.outputs += new
    graph.proto.graph.output.extend(output_info(name) for name in new)
    return graph.save()


def _wide(extremes: tuple[float, float]) -> tuple[float, float]:
    low, high = extremes
    return (low, high) if high - low > 1e-8 else (low, low + 1e-8)


def _observed(counts: NDArray[np.float64], low: float, high: float, squares: Array | None) -> Observed:
    bottom, top = best_range(counts, low, high)
    middles = _middles(counts, low, high)
    noise, dynamic = (_cost(counts, middles, *each) / counts.sum() for each in ((bottom, top), (low, high)))
    return Observed(bottom, top, noise, dynamic, squares)


def best_range(counts: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """The range inside [low, high] with the least squared error on 256 levels; `counts` are of even bins."""
    middles = _middles(counts, low, high)
    best, least = (low, high), np.inf
    for share in _KEPT:
        bottom, top = low * share, high * share
        cost = _cost(counts, middles, bottom, top)
        if cost < least:
            best, least = (bottom, top), cost
    return best


def _middles(counts: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    edges = np.linspace(low, high, len(counts) + 1)
    middles: NDArray[np.float64] = (edges[1:] + edges[:-1]) / 2
    return middles


def _cost(counts: NDArray[np.float64], middles: NDArray[np.float64], bottom: float, top: float) -> float:
    """Squared error of rounding to 256 levels between `bottom` and `top`, and of clipping to them."""
    step = (top - bottom) / 255
    inside = (middles >= bottom) & (middles <= top)
    beyond = np.where(middles > top, middles - top, bottom - middles)
    return float((counts * np.where(inside, step * step / 12, beyond * beyond)).sum())
