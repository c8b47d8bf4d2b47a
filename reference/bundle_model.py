"""An exported bundle, run by the runtime, as something to evaluate. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.manifest import DiffusionDecoder
from ..runtime.pipeline import Pipeline, load
from .dataset import MODALITIES
from .held_out import PICTURE_FROM, HeldOut

__all__ = ["BundleModel"]


class BundleModel:
    """One pipeline per fusion kind, opened when first asked for; scenes go through one by one, as a stream would."""

    def __init__(self, bundle: str | Path, *, backend: str = "auto", precision: str = "auto") -> None:
        self._bundle, self._options = bundle, {"backend": backend, "precision": precision}
        self._open: dict[str, Pipeline] = {}
        first = load(bundle, backend, precision)
        self.kinds = tuple(first.manifest.fused.kinds)
        self.default = first.manifest.fused.default
        self._open[self.default] = first
        decoder = first.manifest.decoder
        self.steps = decoder.steps if isinstance(decoder, DiffusionDecoder) else ()

    def _pipeline(self, kind: str) -> Pipeline:
        if kind not in self._open:
            self._open[kind] = load(self._bundle, self._options["backend"], self._options["precision"], fusion=kind)
        return self._open[kind]

    def answers(self, scenes: HeldOut, kind: str, members: tuple[int, ...]) -> dict[str, NDArray[np.int64]]:
        """See `held_out.Model`."""
        pipeline = self._pipeline(kind)
        heads = {name: head.labels for name, head in pipeline.manifest.heads.items() if head.kind == "classes"}
        found: dict[str, list[int]] = {name: [] for name in heads}
        for row in range(len(scenes)):
            packets = _raw(scenes, row, "notes")
            result = pipeline(**{MODALITIES[m]: packets[MODALITIES[m]] for m in members})
            for name, labels in heads.items():
                found[name].append(labels.index(result.labels[name]))
        return {name: np.array(values, np.int64) for name, values in found.items()}

    def embeddings(self, scenes: HeldOut) -> dict[str, NDArray[np.float32]]:
        """See `held_out.Model`."""
        rows = [self._pipeline(self.default).encode(**_raw(scenes, row, "captions")) for row in range(len(scenes))]
        return {name: np.stack([row[name].reshape(-1) for row in rows]) for name in MODALITIES}

    def pictures(self, scenes: HeldOut, steps: int) -> NDArray[np.uint8]:
        """See `held_out.Model`; the seed of a picture is its row."""
        made = []
        for row in range(len(scenes)):
            packets = _raw(scenes, row, "captions")
            known = {name: packets[name] for name in PICTURE_FROM}
            *_, last = self._pipeline(self.default).generate(steps=steps, seed=row, **known)
            assert last.picture is not None
            made.append(last.picture)
        return np.stack(made)

    def close(self) -> None:
        """Close every pipeline."""
        for pipeline in self._open.values():
            pipeline.close()


def _raw(scenes: HeldOut, row: int, words: str) -> dict[str, Any]:
    lines = scenes.captions if words == "captions" else scenes.notes
    return {
        "image": scenes.images[row],
        "text": lines[row][0],
        "audio": scenes.waveform(row),
        "radar": scenes.radar[row].astype(np.float32),
    }
