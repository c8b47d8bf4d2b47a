"""Which operators cost most accuracy when they are quantised: measured where that is affordable, else estimated.

The estimate is the error that rounding a node's weight and its input adds, as a share of the signal; it knows nothing
of what becomes of that error further on. Measured is the loss (1 − the worst cosine) when a node, or a group of
neighbouring nodes, is quantised alone; a group's loss is shared out among its nodes by their estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Ranking", "rank"]


@dataclass(frozen=True)
class Ranking:
    """`order`: nodes, the costliest first; `scores`: what each is thought to cost; `how` that was found out."""

    order: tuple[str, ...]
    scores: Mapping[str, float]
    how: str

    def removed(self, left: Sequence[str], least: int, share: float) -> list[str]:
        """The costliest nodes of `left`: at least so many, and so many that at most `share` of its cost remains."""
        ranked = [name for name in self.order if name in set(left)]
        rest = total = sum(self.scores[name] for name in ranked)
        taken: list[str] = []
        for name in ranked:
            if len(taken) >= least and rest <= share * total:
                break
            taken.append(name)
            rest -= self.scores[name]
        return taken


def rank(
    nodes: Sequence[str], estimates: Mapping[str, float], loss: Callable[[Sequence[str]], float], affordable: int
) -> Ranking:
    """`loss` is asked at most `affordable` times; for each node alone, where that is enough."""
    if affordable < 2:
        return _ranking(nodes, estimates, "estimated from rounding errors")
    size = -(-len(nodes) // affordable)
    scores: dict[str, float] = {}
    for start in range(0, len(nodes), size):
        group = nodes[start : start + size]
        cost, total = loss(group), sum(estimates[name] for name in group)
        for name in group:
            scores[name] = cost if size == 1 else cost * (estimates[name] / total if total > 0 else 1 / len(group))
    return _ranking(nodes, scores, "each measured alone" if size == 1 else f"measured in groups of {size}")


def _ranking(nodes: Sequence[str], scores: Mapping[str, float], how: str) -> Ranking:
    return Ranking(tuple(sorted(nodes, key=lambda name: -scores[name])), scores, how)
