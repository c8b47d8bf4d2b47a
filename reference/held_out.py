"""Held-out scenes, and what is asked of a model on them: hazards, retrieval, pictures. No model is named here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .dataset import ATTRIBUTES, MODALITIES, SPLITS, render_scenes
from .metrics import SUBSETS, subset_name, top_hit_right
from .scene import sample_scene

__all__ = ["HeldOut", "Model", "Reader", "hazard_table", "picture_table", "render_held_out", "retrieval_table"]

Reader = Callable[[NDArray[np.uint8]], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Pictures (N, 64, 64, 3) → weather and object indices, each (N,)."""

ROUTES = (("text", "image"), ("image", "text"), ("audio", "image"))
GALLERY = 200
PICTURE_FROM = ("text", "audio", "radar")
"""The senses that generated pictures are made from."""


@dataclass(frozen=True)
class HeldOut:
    """Rendered scenes that no training stage has seen: arrays as in `dataset.render_scenes`."""

    images: NDArray[np.uint8]
    sound: NDArray[np.int16]
    radar: NDArray[np.float16]
    attributes: NDArray[np.int8]
    facts: NDArray[np.int8]
    seeds: NDArray[np.int64]
    captions: list[list[str]]
    notes: list[list[str]]

    def __len__(self) -> int:
        return len(self.seeds)

    def truth(self, name: str) -> NDArray[np.int64]:
        """Indices (N,) of one attribute of `dataset.ATTRIBUTES`."""
        return self.attributes[:, tuple(ATTRIBUTES).index(name)].astype(np.int64)

    def waveform(self, row: int) -> NDArray[np.float32]:
        """One scene's sound, float32 (16000,) in [-1, 1]."""
        wave: NDArray[np.float32] = self.sound[row].astype(np.float32) / np.float32(32767.0)
        return wave


class Model(Protocol):
    """What can be evaluated: the checkpoint in torch, or a bundle through the runtime."""

    kinds: tuple[str, ...]
    default: str
    steps: tuple[int, ...]

    def answers(self, scenes: HeldOut, kind: str, members: tuple[int, ...]) -> dict[str, NDArray[np.int64]]:
        """Best label of each head, (N,), from the modalities `members`, fresh packets; text is the radio's."""
        ...

    def embeddings(self, scenes: HeldOut) -> dict[str, NDArray[np.float32]]:
        """Unit embeddings (N, D) of each modality; text is the caption."""
        ...

    def pictures(self, scenes: HeldOut, steps: int) -> NDArray[np.uint8]:
        """Pictures (N, 64, 64, 3) from `PICTURE_FROM`; text is the caption."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


def render_held_out(
    balance: str, count: int, *, offset: int = 0, advance: Callable[[int], None] = lambda count: None
) -> HeldOut:
    """Scenes of the test split, `count` from seed `offset` on, of one balance."""
    first = SPLITS["test"][0] + offset
    pieces = []
    for at in range(0, count, 50):
        seeds = range(first + at, first + min(at + 50, count))
        pieces.append(render_scenes([sample_scene(seed, balance=balance) for seed in seeds]))
        advance(len(seeds))
    joined: dict[str, Any] = {}
    for name, value in pieces[0].items():
        parts = [piece[name] for piece in pieces]
        joined[name] = list(chain.from_iterable(parts)) if isinstance(value, list) else np.concatenate(parts)
    return HeldOut(**joined)


def hazard_table(
    model: Model, scenes: HeldOut, kinds: Sequence[str], advance: Callable[[int], None]
) -> dict[str, dict[str, float]]:
    """Hazard accuracy by kind and by subset of present modalities; for all four also weather and object."""
    table: dict[str, dict[str, float]] = {}
    for kind in kinds:
        row = {}
        for members in SUBSETS:
            found = model.answers(scenes, kind, members)
            row[subset_name(members)] = float((found["hazard"] == scenes.truth("hazard")).mean())
            advance(1)
        for name in ("weather", "object"):
            row[f"({name}, all four)"] = float((found[name] == scenes.truth(name)).mean())
        table[kind] = row
    return table


def retrieval_table(model: Model, scenes: HeldOut) -> dict[str, float]:
    """Share of right top hits, averaged over galleries of 200 scenes. Right: everything the query can say holds in
    the hit.
    """
    found = model.embeddings(scenes)
    truth = scenes.attributes.astype(np.int64)
    table = {}
    for query, index in ROUTES:
        said = scenes.facts[:, MODALITIES.index(query)]
        rows = [slice(at, at + GALLERY) for at in range(0, len(scenes) - GALLERY + 1, GALLERY)]
        right = [top_hit_right(found[query][r], found[index][r], said[r], truth[r]) for r in rows]
        table[f"{query} → {index}"] = float(np.mean(right))
    return table


def picture_table(
    model: Model, scenes: HeldOut, read: Reader, advance: Callable[[int], None]
) -> dict[str, dict[str, float]]:
    """How often the recogniser reads weather, object, and both right: true pictures, then generated ones by steps."""
    table = {"true": _read_right(scenes.images, scenes, read)}
    advance(1)
    for steps in model.steps:
        table[str(steps)] = _read_right(model.pictures(scenes, steps), scenes, read)
        advance(1)
    return table


def _read_right(pictures: NDArray[np.uint8], scenes: HeldOut, read: Reader) -> dict[str, float]:
    weather, kind = read(pictures)
    sky, thing = weather == scenes.truth("weather"), kind == scenes.truth("object")
    return {"weather": float(sky.mean()), "object": float(thing.mean()), "both": float((sky & thing).mean())}
