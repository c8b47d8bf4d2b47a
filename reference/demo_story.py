"""What the demo found out: the values that its report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..runtime.manifest import AudioModality, Manifest, SeriesModality
from ..runtime.values import Result
from .demo_pictures import Example
from .scene import Scene

__all__ = ["Decision", "Live", "Story", "outages"]


def outages(seconds: float) -> dict[str, tuple[float, float]]:
    """When the camera goes dark and when the microphone is unplugged, in seconds."""
    # Long enough in ten seconds to outlast the three for which a last picture or sound still counts a little.
    return {"image": (0.12 * seconds, 0.47 * seconds), "audio": (0.63 * seconds, 0.97 * seconds)}


@dataclass(frozen=True)
class Decision:
    """One result without its pictures, and the truth of its moment."""

    time_s: float
    labels: Mapping[str, str]
    weights: Mapping[str, float]
    truth: Mapping[str, str]

    @classmethod
    def of(cls, result: Result, scene: Scene) -> Decision:
        """A result beside the scene that it was about."""
        truth = {"hazard": scene.hazard, "weather": scene.weather, "object": scene.object}
        weights = {name: weight for name, weight in result.weights.items() if name in result.ages}
        return cls(result.time_s, dict(result.labels), weights, truth)


@dataclass
class Live:
    """What the pass in real time measured, in seconds: totals, frame ages at completion, stages; and what was lost."""

    totals: list[float] = field(default_factory=list)
    frame_ages: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    def add(self, result: Result, now_s: float) -> None:
        """Note one result that was finished at `now_s` on the stream's clock."""
        self.totals.append(result.timings["total"])
        for stage, seconds in result.timings.items():
            self.stages.setdefault(stage, []).append(seconds)
        # Only new pictures: one that was kept through an outage is old for another reason than the pipeline.
        if result.snapshot is not None and "image" in result.encoded:
            self.frame_ages.append(now_s - result.snapshot.packets["image"].time_s)


@dataclass(frozen=True)
class Story:
    """Everything that the report tells. `bench` is a bench report in plain types, `video` the annotated film."""

    folder: str
    manifest: Manifest
    backend: str
    precisions: Mapping[str, str]
    seconds: float
    seed: int
    notes: tuple[tuple[float, str], ...]
    decisions: tuple[Decision, ...]
    live: Live
    examples: tuple[Example, ...]
    bench: Mapping[str, Any]
    video: bytes

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names in the order of the fusion head."""
        return self.manifest.fused.order

    @property
    def outages(self) -> dict[str, tuple[float, float]]:
        """modality → when its plug was pulled."""
        return outages(self.seconds)

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """head → its labels."""
        return {name: head.labels for name, head in self.manifest.heads.items() if head.kind == "classes"}

    @property
    def windows(self) -> dict[str, float]:
        """modality → seconds of the past that one capture holds."""
        windows = {}
        for modality in self.manifest.modalities:
            if isinstance(modality, AudioModality):
                windows[modality.name] = modality.samples / modality.sample_rate
            elif isinstance(modality, SeriesModality):
                windows[modality.name] = modality.frames / modality.sample_rate
        return windows
