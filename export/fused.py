"""Accuracy of the fused answers on labelled samples, for every set of present modalities.

Each sample is encoded once; its tokens then go through fusion and heads for all sets, as the runtime would feed them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..runtime.errors import ExportError
from ..runtime.manifest import Manifest
from .calibrate import Feeds, fuse_feeds, subsets
from .sessions import Runner

__all__ = ["Accuracy", "Graphs", "Prepared", "accuracy", "encode", "largest_drop", "subset_name"]

Graphs = Mapping[str, bytes]
Prepared = Sequence[Mapping[str, Feeds]]
"""One entry per sample: the encoder's feeds by modality."""
Accuracy = dict[str, dict[str, float]]
"""Set of present modalities ("image+text") → head → share of right labels."""


def subset_name(present: Sequence[str]) -> str:
    """How a set of modalities is written: joined by plus signs, in the manifest's order."""
    return "+".join(present)


def encode(manifest: Manifest, graphs: Graphs, samples: Prepared) -> list[Feeds]:
    """Tokens of every sample by modality."""
    runners = {each.name: Runner(graphs[each.part]) for each in manifest.modalities}
    return [
        {name: runners[name](feeds)["tokens"].copy() for name, feeds in sample.items()} for sample in samples
    ]


def accuracy(
    manifest: Manifest,
    graphs: Graphs,
    kind: str,
    tokens: Sequence[Feeds],
    labels: Sequence[Mapping[str, str]],
    advance: Callable[[int], object] = lambda count: None,
) -> Accuracy:
    """Share of samples whose best label is the right one. `graphs` by part; ages are zero. Advances by samples × sets."""
    if not tokens:
        raise ExportError("No labelled samples to verify the fused answers on")
    fusion = Runner(graphs[manifest.fusion.kinds[kind]])
    heads = {name: head for name, head in manifest.heads.items() if head.kind == "classes" and name in labels[0]}
    runners = {part: Runner(graphs[part]) for part in {head.part for head in heads.values()}}
    found: Accuracy = {}
    for present in subsets(manifest.fusion.order):
        right = dict.fromkeys(heads, 0)
        for sample, truth in zip(tokens, labels, strict=True):
            state = {"state": fusion(fuse_feeds(manifest, sample, present, {}))["state"]}
            answers = {part: runner(state) for part, runner in runners.items()}
            for name, head in heads.items():
                logits = answers[head.part][head.output][0]
                right[name] += int(np.isfinite(logits).all() and head.labels[int(logits.argmax())] == truth[name])
        advance(len(tokens))
        found[subset_name(present)] = {name: count / len(tokens) for name, count in right.items()}
    return found


def largest_drop(reference: Accuracy, other: Accuracy) -> tuple[float, str, str]:
    """How much accuracy `other` loses at worst, on which set of modalities and which head (negative: it gains)."""
    return max(
        (reference[present][head] - value, present, head)
        for present, heads in other.items()
        for head, value in heads.items()
    )
