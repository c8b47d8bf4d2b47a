"""Finds the INT8 graph of one part: which way, and which operators had better stay FP32. Everything by measurement.

For each way (dynamic, static, or static convolutions with dynamic products) all operators are quantised first. While
the worst output is outside the tolerance, the operators that cost the most, each measured alone, go back to FP32. Of
the ways that end inside it, the fastest here is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..runtime.values import Array
from .graphs import serialise
from .measure import Difference, compare, interleaved, worst
from .precision import compress
from .quantise import candidates, dynamic_int8, static_int8, static_tensors
from .ranges import observe
from .sessions import Runner, run_all

__all__ = ["Choice", "Refusal", "quantise"]

Ranges = Mapping[str, tuple[float, float]]
_PROBES = 12
"""Feeds that rank operators by what quantising them alone costs."""


@dataclass(frozen=True)
class Choice:
    """An INT8 graph inside its tolerance: how it was made, what stayed FP32, and its differences on the check feeds."""

    graph: bytes
    method: str
    kept: tuple[str, ...]
    differences: Mapping[str, Difference]
    seconds: float


@dataclass(frozen=True)
class Refusal:
    """No way led inside the tolerance: the worst tensor of the best attempt."""

    method: str
    tensor: str
    cosine: float


@dataclass(frozen=True)
class _Part:
    """What every attempt needs: the FP32 model, feeds, its own outputs on the check feeds, ranges of all tensors."""

    model: Any
    checks: Sequence[Mapping[str, Array]]
    reference: Sequence[Mapping[str, Array]]
    ranges: Ranges

    def differences(self, graph: bytes, count: int | None = None) -> dict[str, Difference]:
        return compare(self.reference[:count], run_all(graph, self.checks[:count]))


def quantise(
    model: Any,
    feeds: Sequence[Mapping[str, Array]],
    checks: Sequence[Mapping[str, Array]],
    tolerance: float,
    rounds: int = 40,
) -> Choice | Refusal | None:
    """The best INT8 graph of `model`, or why there is none; None for a part that has nothing to quantise.

    `feeds` set the ranges; on `checks` every output must keep a cosine of at least `tolerance` with FP32 on every feed.
    """
    static = candidates(model, "static")
    if not static:
        return None
    ranges = observe(model, static_tensors(model, static), feeds)
    part = _Part(model, checks, run_all(serialise(model), checks), ranges)
    results = [_attempt(part, method, build, nodes, tolerance) for method, build, nodes in _ways(part)]
    choices = [each for each in results if isinstance(each, Choice)]
    if not choices:
        refusals = [each for each in results if isinstance(each, Refusal)]
        return max(refusals, key=lambda each: each.cosine)
    times = interleaved([Runner(each.graph) for each in choices], checks, rounds)
    best = min(range(len(choices)), key=lambda index: times[index])
    chosen = choices[best]
    return Choice(chosen.graph, chosen.method, chosen.kept, chosen.differences, times[best])


Build = Callable[[Sequence[str]], Any]


def _ways(part: _Part) -> list[tuple[str, Build, list[str]]]:
    """Name, builder and operators of each way that fits this graph."""
    products, everything = candidates(part.model, "dynamic"), candidates(part.model, "static")
    convolutions = [name for name in everything if name not in products]
    ways: list[tuple[str, Build, list[str]]] = []
    if products and not convolutions:
        ways.append(("dynamic", lambda nodes: dynamic_int8(part.model, nodes), products))
    ways.append(("static", lambda nodes: static_int8(part.model, nodes, part.ranges), everything))
    if products and convolutions:
        ways.append(("static and dynamic", lambda nodes: _both(part, nodes, set(products)), everything))
    return ways


def _both(part: _Part, nodes: Sequence[str], products: set[str]) -> Any:
    half = dynamic_int8(part.model, [name for name in nodes if name in products])
    return static_int8(half, [name for name in nodes if name not in products], part.ranges)


def _attempt(part: _Part, method: str, build: Build, nodes: list[str], tolerance: float) -> Choice | Refusal:
    """Quantise everything, then give the costliest operators back until the tolerance is met or nothing is left."""
    left, best = list(nodes), (-2.0, "")
    ranking: list[str] = []
    while left:
        graph = serialise(compress(build(left)))
        differences = part.differences(graph)
        name, cosine = worst(differences, by="cosine")
        if cosine >= tolerance:
            kept = tuple(each for each in nodes if each not in left)
            return Choice(graph, method, kept, differences, 0.0)
        best = max(best, (cosine, name))
        ranking = ranking or _ranking(part, build, nodes)
        for _ in range(max(1, len(nodes) // 8)):
            if ranking:
                left.remove(ranking.pop(0))
    return Refusal(method, best[1], best[0])


def _ranking(part: _Part, build: Build, nodes: Sequence[str]) -> list[str]:
    """Operators by the worst cosine when each alone is quantised, the costliest first."""
    costs = {}
    for node in nodes:
        differences = part.differences(serialise(build([node])), _PROBES)
        costs[node] = worst(differences, by="cosine")[1]
    return sorted(nodes, key=lambda node: costs[node])
