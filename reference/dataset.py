"""Rendered scenes as arrays: drawn once, in parallel, and memory-mapped afterwards.

A split is a folder: ``images.npy`` (N, 64, 64, 3) uint8, ``sound.npy`` (N, 16000) int16, ``radar.npy`` (N, 32, 32)
fp16,
``attributes.npy`` (N, K) int8 in the order of `ATTRIBUTES`, ``facts.npy`` (N, 4, K) int8, ``words.json`` and
``seeds.npy``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scene import COLOURS, ENGINES, HAZARDS, LIGHTS, OBJECTS, SIDES, WEATHERS, Scene, facts, sample_scene, truth

__all__ = [
    "ATTRIBUTES",
    "CAPTIONS",
    "MODALITIES",
    "NOTES",
    "SPLITS",
    "Scenes",
    "attribute_row",
    "fact_rows",
    "open_scenes",
    "render",
    "render_scenes",
    "scene_of",
]

MODALITIES = ("image", "text", "audio", "radar")
_NO_YES = ("no", "yes")
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "weather": WEATHERS,
    "object": OBJECTS,
    "side": (*SIDES, "none"),
    "colour": (*COLOURS, "none"),
    "path": ("none", "road", "pavement"),
    "traffic_light": ("none", *LIGHTS),
    "blocked_exit": ("none", "left", "right"),
    "hazard": HAZARDS,
    "source": (*ENGINES, "bell"),
    "siren": _NO_YES,
    "horn": _NO_YES,
    "beep": _NO_YES,
    "rain": _NO_YES,
    "target": ("none", "small", "medium", "large"),
    "closing": ("slow", "fast"),
}
"""Everything that `scene.truth` says, and the values it can take."""

SPLITS: dict[str, tuple[int, int]] = {
    "train": (0, 24_000),
    "validation": (10_000_000, 1_000),
    "test": (20_000_000, 4_000),
}
"""First seed and number of scenes. Seeds of different splits never meet; ``test`` is for the model card alone."""
CAPTIONS, NOTES = 4, 3
"""Captions and radio texts written for each scene."""
_CHUNK = 250


@dataclass(frozen=True)
class Scenes:
    """One split on disk; arrays are memory-mapped and read-only. ``len()`` is the number of scenes."""

    folder: Path

    def _map(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return array

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """(N, 64, 64, 3) uint8 RGB."""
        return self._map("images")

    @cached_property
    def sound(self) -> NDArray[np.int16]:
        """(N, 16000) int16 at 16 kHz; divide by 32767 for [-1, 1]."""
        return self._map("sound")

    @cached_property
    def radar(self) -> NDArray[np.float16]:
        """(N, 32, 32) fp16: (time, range bin)."""
        return self._map("radar")

    @cached_property
    def seeds(self) -> NDArray[np.int64]:
        """(N,) the seed of each scene; its balance is natural where the row number is odd."""
        return np.asarray(self._map("seeds"))

    @cached_property
    def attributes(self) -> dict[str, NDArray[np.int64]]:
        """The truth: for each name of `ATTRIBUTES` an index per scene, (N,)."""
        table = np.asarray(self._map("attributes")).astype(np.int64)
        return {name: table[:, column] for column, name in enumerate(ATTRIBUTES)}

    @cached_property
    def facts(self) -> NDArray[np.int8]:
        """(N, 4, K): what each modality alone can tell (text: its caption), -1 where it cannot."""
        return np.asarray(self._map("facts"))

    @cached_property
    def _words(self) -> dict[str, list[list[str]]]:
        loaded: dict[str, list[list[str]]] = json.loads((self.folder / "words.json").read_text(encoding="utf-8"))
        return loaded

    @property
    def captions(self) -> list[list[str]]:
        """N lists of `CAPTIONS` truthful sentences."""
        return self._words["captions"]

    @property
    def notes(self) -> list[list[str]]:
        """N lists of `NOTES` texts as the radio carries them: some useless, some false."""
        return self._words["notes"]

    def __len__(self) -> int:
        return len(self.seeds)


def open_scenes(folder: Path) -> Scenes:
    """Open a rendered split."""
    return Scenes(folder)


def scene_of(row: int, first_seed: int) -> Scene:
    """The scene of one row of a split: even rows have balanced hazards, odd rows are natural."""
    return sample_scene(first_seed + row, balance="natural" if row % 2 else "hazard")


def attribute_row(scene: Scene) -> list[int]:
    """The truth of a scene as indices, in the order of `ATTRIBUTES`."""
    known = truth(scene)
    return [values.index(known[name]) for name, values in ATTRIBUTES.items()]


def fact_rows(scene: Scene) -> list[list[int]]:
    """What each modality can tell, as indices (4, K); -1 where it cannot. Text means its caption."""
    rows = []
    for modality in MODALITIES:
        said = facts(scene, "caption" if modality == "text" else modality)
        rows.append([values.index(said[name]) if name in said else -1 for name, values in ATTRIBUTES.items()])
    return rows


def render_scenes(scenes: list[Scene]) -> dict[str, Any]:
    """All four senses of some scenes, in the arrays (and word lists) that a split keeps."""
    from .draw import render_image
    from .radar import render_radar
    from .sound import render_sound
    from .wording import caption, text_for

    return {
        "images": np.stack([render_image(scene, (64, 64)) for scene in scenes]),
        "sound": np.stack([np.round(render_sound(scene) * 32767.0).astype(np.int16) for scene in scenes]),
        "radar": np.stack([render_radar(scene).astype(np.float16) for scene in scenes]),
        "attributes": np.array([attribute_row(scene) for scene in scenes], np.int8),
        "facts": np.array([fact_rows(scene) for scene in scenes], np.int8),
        "seeds": np.array([scene.seed for scene in scenes], np.int64),
        "captions": [[caption(scene, scene.seed * 8 + i) for i in range(CAPTIONS)] for scene in scenes],
        "notes": [[text_for(scene, scene.seed * 8 + i) for i in range(NOTES)] for scene in scenes],
    }


def _chunk(first_seed: int, start: int, stop: int) -> dict[str, Any]:
    return render_scenes([scene_of(row, first_seed) for row in range(start, stop)])


def render(
    folder: Path,
    first_seed: int,
    count: int,
    *,
    processes: int = 2,
    advance: Callable[[int], None] = lambda count: None,
) -> Scenes:
    """Render a split into ``folder`` (atomically: it appears when it is whole); a split that is there is kept."""
    if folder.exists():
        return Scenes(folder)
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    arrays: dict[str, NDArray[Any]] = {}
    words: dict[str, list[list[str]]] = {"captions": [], "notes": []}
    for start, piece in _chunks(first_seed, count, processes):
        size = len(piece["seeds"])
        for name, values in piece.items():
            if isinstance(values, list):
                words[name] += values
                continue
            if name not in arrays:
                arrays[name] = np.lib.format.open_memmap(
                    beside / f"{name}.npy", mode="w+", dtype=values.dtype, shape=(count, *values.shape[1:])
                )
            arrays[name][start : start + size] = values
        advance(size)
    for array in arrays.values():
        array.flush()  # type: ignore[attr-defined]
    (beside / "words.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    os.replace(beside, folder)
    return Scenes(folder)


def _chunks(first_seed: int, count: int, processes: int) -> Iterator[tuple[int, dict[str, Any]]]:
    starts = range(0, count, _CHUNK)
    if processes == 1:
        for start in starts:
            yield start, _chunk(first_seed, start, min(start + _CHUNK, count))
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_chunk, first_seed, start, min(start + _CHUNK, count)) for start in starts]
        for start, job in zip(starts, jobs, strict=True):
            yield start, job.result()
