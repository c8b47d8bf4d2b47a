"""Finds the INT8 graph of one part: which way, and which operators had better stay FP32. Everything by measurement.

For each way (dynamic, static, or static convolutions with dynamic products) all operators are quantised first. While
the worst output is outside the tolerance, the operators that cost the most go back to FP32. Of the ways that end inside
it, the fastest here is kept. For a large graph that would take hours: there the ways are tried in the order in which
they were measured to be faster on other models, the first one inside the tolerance is kept, operators are ranked within
a budget of time (`rank.py`), and as many go back at once as the ranking says are needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..runtime.values import Array, OnnxGraph
from .int8_trt import trt_candidates, trt_int8, trt_tensors
from .int8_weights import Memo
from .measure import Difference, compare, timed, worst
from .model import Model, as_model
from .noise import estimates, input_axes
from .precision import compress
from .quantise import candidates, dynamic_int8, static_int8, static_tensors
from .ranges import Observed, survey
from .rank import Ranking, rank
from .rewrite import without_padding
from .sessions import LARGE, Runner, run_all, runnable
from .shelf import Shelf

__all__ = ["Choice", "Refusal", "look", "quantise", "quantise_for_trt"]

_PROBES, _FEW_PROBES = 12, 2
"""Feeds that rank operators by what quantising them alone costs; of a large graph."""
_ATTEMPTS = 4
"""How often a large graph is quantised in one way."""
_MARGIN = 0.7
"""Of the error that the tolerance allows, what the operators that stay quantised may be thought to cost."""


@dataclass(frozen=True)
class Choice:
    """An INT8 graph inside its tolerance: how it was made, what stayed FP32, and its differences on the check feeds.

    `ranking`: how the operators that stayed FP32 were found; None where all are quantised. `seconds`: of one run.
    """

    graph: OnnxGraph
    method: str
    kept: tuple[str, ...]
    differences: Mapping[str, Difference]
    seconds: float
    ranking: str | None = None


@dataclass(frozen=True)
class Refusal:
    """No way led inside the tolerance: the worst tensor of the best attempt."""

    method: str
    tensor: str
    cosine: float


@dataclass
class _Part:
    """What every attempt needs: the FP32 model, feeds, its own outputs on the check feeds, what all tensors are like.

    `budget`: seconds of processor time for a ranking; `costs`: of the last graph that was made, and of one run of it.
    """

    model: Model
    checks: Sequence[Mapping[str, Array]]
    reference: Sequence[Mapping[str, Array]]
    seen: Mapping[str, Observed]
    shelf: Shelf
    budget: float
    precision: str = "int8-cpu"
    memo: Memo = field(default_factory=dict)
    costs: tuple[float, float] = (0.0, 0.0)

    @property
    def large(self) -> bool:
        return self.model.nbytes >= LARGE

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        return {name: (each.low, each.high) for name, each in self.seen.items()}

    def make(self, build: Build, nodes: Sequence[str], *, final: bool) -> OnnxGraph:
        """The graph with those nodes quantised; one that may be kept also stores what it can in half the space."""
        start = time.process_time()
        made = build(nodes)
        if self.precision == "int8-cpu":
            made, _ = without_padding(made)
        graph = self.shelf.keep(compress(made) if final else made)
        self.costs = (time.process_time() - start, 0.0)
        return graph

    def differences(self, graph: OnnxGraph, count: int | None = None) -> dict[str, Difference]:
        runner = Runner(runnable(graph, self.precision))
        made = [runner(each) for each in self.checks[:count]]
        self.costs = (self.costs[0] + runner.opened, runner.seconds)
        return compare(self.reference[:count], made)

    def rank(self, method: str, build: Build, nodes: Sequence[str]) -> Ranking:
        """Each node measured alone where the budget allows it, else groups within half of it."""
        probes = min(len(self.checks), _FEW_PROBES if self.large else _PROBES)
        cost = self.costs[0] + probes * self.costs[1]
        affordable = int(self.budget / max(cost, 1e-6))
        allowed = affordable if affordable >= len(nodes) else affordable // 2

        def loss(group: Sequence[str]) -> float:
            graph = self.make(build, group, final=False)
            found = worst(self.differences(graph, probes), by="cosine")[1]
            self.shelf.drop(graph)
            return 1 - found

        return rank(nodes, estimates(self.model, nodes, self.seen, method), loss, allowed)


Build = Callable[[Sequence[str]], Model]


def look(
    model: Any, feeds: Sequence[Mapping[str, Array]], shelf: Shelf, precision: str = "int8-cpu", *, static: bool = True
) -> dict[str, Observed]:
    """What those tensors of `model` are like that quantising it to `precision` asks about.

    `static` false: for `int8-cpu` only what needs no captures.
    """
    model = as_model(model)
    named = candidates(model, "static" if static else "dynamic")
    axes = input_axes(model, named) if model.nbytes >= LARGE else {}
    trt = precision == "int8-trt"
    tensors = trt_tensors(model, trt_candidates(model)) if trt else static_tensors(model, named)
    return survey(model, tensors, feeds, shelf, axes)


def quantise(
    model: Any,
    feeds: Sequence[Mapping[str, Array]],
    checks: Sequence[Mapping[str, Array]],
    tolerance: float,
    rounds: int = 40,
    *,
    reference: Sequence[Mapping[str, Array]] | None = None,
    shelf: Shelf | None = None,
    budget: float = 60.0,
    static: bool = True,
    seen: Mapping[str, Observed] | None = None,
) -> Choice | Refusal | None:
    """The best INT8 graph of `model`, or why there is none; None for a part that has nothing to quantise.

    `feeds` set the ranges; on `checks` every output must keep a cosine of at least `tolerance` with FP32 on every feed.
    `reference`: what FP32 gives on them, if that is known. `static` false: the feeds are no captures, so that only what
    needs no ranges is quantised. `seen`: what `look` found, if that is known.
    """
    model, shelf = as_model(model), shelf or Shelf()
    named = candidates(model, "static" if static else "dynamic")
    if not named:
        return None
    seen = look(model, feeds, shelf, static=static) if seen is None else seen
    known = run_all(shelf.keep(model), checks) if reference is None else reference
    part = _Part(model, checks, known, seen, shelf, budget)
    results: list[Choice | Refusal] = []
    for method, build, nodes in _ways(part, static):
        results.append(_attempt(part, method, build, nodes, tolerance))
        if part.large and isinstance(results[-1], Choice):
            break
    choices = [each for each in results if isinstance(each, Choice)]
    if not choices:
        refusals = [each for each in results if isinstance(each, Refusal)]
        return max(refusals, key=lambda each: each.cosine)
    return _fastest(choices, checks, rounds, shelf)


def quantise_for_trt(
    model: Any,
    checks: Sequence[Mapping[str, Array]],
    tolerance: float,
    *,
    reference: Sequence[Mapping[str, Array]],
    seen: Mapping[str, Observed],
    beyond: Collection[str] = (),
    shelf: Shelf | None = None,
    budget: float = 60.0,
) -> Choice | Refusal | None:
    """The INT8 graph that TensorRT takes, with what costs most left in FP16; see `quantise` and `int8_trt.py`."""
    model = as_model(model)
    nodes = trt_candidates(model, beyond)
    if not nodes:
        return None
    part = _Part(model, checks, reference, seen, shelf or Shelf(), budget, "int8-trt")
    ranges = part.ranges
    return _attempt(part, "symmetric", lambda chosen: trt_int8(model, chosen, ranges, beyond), nodes, tolerance)


def _fastest(choices: Sequence[Choice], checks: Sequence[Mapping[str, Array]], rounds: int, shelf: Shelf) -> Choice:
    if len(choices) == 1:
        return choices[0]
    times = timed([each.graph for each in choices], checks, rounds)
    best = min(range(len(choices)), key=lambda index: times[index])
    for index, each in enumerate(choices):
        if index != best:
            shelf.drop(each.graph)
    chosen = choices[best]
    return Choice(chosen.graph, chosen.method, chosen.kept, chosen.differences, times[best], chosen.ranking)


def _ways(part: _Part, static: bool) -> list[tuple[str, Build, list[str]]]:
    """Name, builder and operators of each way that fits this graph; of a large one the likely fastest first."""
    products, everything = candidates(part.model, "dynamic"), candidates(part.model, "static")
    convolutions = [name for name in everything if name not in products]
    ranges, memo = part.ranges, part.memo
    ways: list[tuple[str, Build, list[str]]] = []
    if products and not (convolutions and static):
        ways.append(("dynamic", lambda nodes: dynamic_int8(part.model, nodes, memo), products))
    if not static:
        return ways
    ways.append(("static", lambda nodes: static_int8(part.model, nodes, ranges, memo), everything))
    if products and convolutions:
        ways.append(("static and dynamic", lambda nodes: _both(part, nodes, set(products), ranges), everything))
    return sorted(ways, key=lambda way: way[0] == "static") if part.large else ways


def _both(part: _Part, nodes: Sequence[str], products: set[str], ranges: Mapping[str, tuple[float, float]]) -> Model:
    half = dynamic_int8(part.model, [name for name in nodes if name in products], part.memo)
    return static_int8(half, [name for name in nodes if name not in products], ranges, part.memo)


def _attempt(part: _Part, method: str, build: Build, nodes: list[str], tolerance: float) -> Choice | Refusal:
    """Quantise everything, then give the costliest operators back until the tolerance is met or nothing is left."""
    left, best, tries = list(nodes), (-2.0, ""), 0
    ranking: Ranking | None = None
    while left and not (part.large and tries == _ATTEMPTS):
        tries += 1
        graph = part.make(build, left, final=True)
        differences = part.differences(graph)
        name, cosine = worst(differences, by="cosine")
        if cosine >= tolerance:
            kept = tuple(each for each in nodes if each not in left)
            return Choice(graph, method, kept, differences, 0.0, ranking.how if ranking else None)
        part.shelf.drop(graph)
        best = max(best, (cosine, name))
        ranking = ranking or part.rank(method, build, nodes)
        share = _MARGIN * (1 - tolerance) / (1 - cosine) if part.large else 1.0
        back = set(ranking.removed(left, max(1, len(nodes) // 8), share))
        left = [each for each in left if each not in back]
    return Refusal(method, best[1], best[0])
