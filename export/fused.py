"""Accuracy of the fused answers on labelled samples, for every set of present modalities.

Each sample is encoded once; its tokens then go through fusion and heads for all sets, as the runtime would feed them.
Sets are worked on by as many threads as there are cores: a session may be run by several at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from ..runtime.errors import ExportError
from ..runtime.manifest import Head, Manifest
from ..runtime.values import OnnxGraph
from .calibrate import Feeds, fuse_feeds, subsets
from .sessions import Runner

__all__ = ["Accuracy", "Graphs", "Prepared", "accuracy", "encode", "largest_drop", "subset_name"]

Graphs = Mapping[str, OnnxGraph]
Prepared = Sequence[Mapping[str, Feeds]]
"""One entry per sample: the encoder's feeds by modality."""
Accuracy = dict[str, dict[str, float]]
"""Set of present modalities ("image+text") → head → share of right labels."""


def subset_name(present: Sequence[str]) -> str:
    """How a set of modalities is written: joined by plus signs, in the manifest's order."""
    return "+".join(present)


def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))


def encode(manifest: Manifest, graphs: Graphs, samples: Prepared) -> list[Feeds]:
    """Tokens of every sample by modality."""
    runners = {each.name: Runner(graphs[each.part]) for each in manifest.modalities}

    def one(sample: Mapping[str, Feeds]) -> Feeds:
        return {name: runners[name](feeds)["tokens"].copy() for name, feeds in sample.items()}

    with _workers() as workers:
        return list(workers.map(one, samples))


def accuracy(
    manifest: Manifest,
    graphs: Graphs,
    kind: str,
    tokens: Sequence[Feeds],
    labels: Sequence[Mapping[str, str]],
    advance: Callable[[int], object] = lambda count: None,
) -> Accuracy:
    """Share of samples whose best label is right. `graphs` by part; ages are zero. Advances by samples × sets."""
    if not tokens:
        raise ExportError("No labelled samples to verify the fused answers on")
    heads = {name: head for name, head in manifest.heads.items() if head.kind == "classes" and name in labels[0]}
    decide = _Decider(manifest, graphs, kind, heads)
    found: Accuracy = {}
    with _workers() as workers:
        sets = subsets(manifest.fused.order)
        for present, right in zip(sets, workers.map(partial(decide.count, tokens, labels), sets), strict=True):
            found[subset_name(present)] = {name: count / len(tokens) for name, count in right.items()}
            advance(len(tokens))
    return found


class _Decider:
    """Fusion and heads of one kind."""

    def __init__(self, manifest: Manifest, graphs: Graphs, kind: str, heads: Mapping[str, Head]) -> None:
        self.manifest, self.heads = manifest, heads
        self.fusion = Runner(graphs[manifest.fused.kinds[kind]])
        self.runners = {part: Runner(graphs[part]) for part in {head.part for head in heads.values()}}

    def count(
        self, tokens: Sequence[Feeds], labels: Sequence[Mapping[str, str]], present: Sequence[str]
    ) -> dict[str, int]:
        """How many samples each head gets right from that set of modalities; an answer with NaN is never right."""
        right = dict.fromkeys(self.heads, 0)
        for sample, truth in zip(tokens, labels, strict=True):
            state = {"state": self.fusion(fuse_feeds(self.manifest, sample, present, {}))["state"]}
            answers = {part: runner(state) for part, runner in self.runners.items()}
            for name, head in self.heads.items():
                shares = answers[head.part][head.output][0]
                right[name] += int(np.isfinite(shares).all() and head.labels[int(shares.argmax())] == truth[name])
        return right


def largest_drop(reference: Accuracy, other: Accuracy) -> tuple[float, str, str]:
    """How much accuracy `other` loses at worst, on which set of modalities and which head (negative: it gains)."""
    return max(
        (reference[present][head] - value, present, head)
        for present, heads in other.items()
        for head, value in heads.items()
    )
