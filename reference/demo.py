"""The demo: render a drive to files, stream the files through the bundle with two outages, and tell what happened.

Two passes over the same files with the same outages. The first is paced by the wall clock, as a camera would be: its
latencies, frame ages and drops are the ones reported. The second runs on the files' own clock, misses no frame whatever
the machine is doing, and is the one that is drawn and compared with the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..runtime.errors import InputError
from ..runtime.manifest import AudioModality, Manifest, SeriesModality
from ..runtime.pipeline import Pipeline, load
from ..runtime.sinks import AnnotatedVideo
from ..runtime.sources import Outage, open_source
from ..runtime.values import Result
from .demo_drive import FPS, Recording, record, write_file
from .demo_pictures import Example, draw_sheet, encode_png, make_examples
from .drive import Drive
from .scene import Scene

__all__ = ["SEED", "Advance", "Decision", "Live", "Outcome", "Story", "outages", "run_demo"]

Advance = Callable[[str, float], None]
"""Told what is being done and the fraction of the whole that is done."""
Bench = Callable[[Callable[[float], None]], Mapping[str, Any]]
SHORTEST_S, LONGEST_S = 4.0, 120.0
SEED = 71
"""The drive that is shown by default: a siren, its ambulance, then a car that brakes hard; chosen by its script."""
HEADS = ("hazard", "weather", "object")
SHEET = "Each made from what stands on the left alone, in so many steps of the denoiser; the camera was not asked."
_SHARES = {"render": 0.17, "live": 0.25, "draw": 0.28, "generate": 0.1, "bench": 0.18, "report": 0.02}
"""About how the time is spent, for the progress bar."""


@dataclass(frozen=True)
class Decision:
    """One result without its pictures, and the truth of its moment."""

    time_s: float
    labels: Mapping[str, str]
    scores: Mapping[str, float]
    weights: Mapping[str, float]
    truth: Mapping[str, str]


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
            packet = result.snapshot.packets["image"]
            self.frame_ages.append(now_s - packet.time_s)


@dataclass(frozen=True)
class Story:
    """Everything the report tells."""

    model: str
    modalities: tuple[str, ...]
    backend: str
    precisions: Mapping[str, str]
    seconds: float
    seed: int
    outages: Mapping[str, tuple[float, float]]
    windows: Mapping[str, float]
    notes: tuple[tuple[float, str], ...]
    labels: Mapping[str, tuple[str, ...]]
    decisions: tuple[Decision, ...]
    live: Live
    examples: tuple[Example, ...]
    bench: Mapping[str, Any]
    video: bytes


@dataclass(frozen=True)
class Outcome:
    """What was written, and the headline."""

    files: tuple[Path, ...]
    decisions: int
    right: float
    p50_ms: float
    p99_ms: float


def outages(seconds: float) -> dict[str, tuple[float, float]]:
    """When the camera goes dark and when the microphone is unplugged, in seconds."""
    # Long enough in ten seconds to outlast the three for which a last picture or sound still counts a little.
    return {"image": (0.12 * seconds, 0.47 * seconds), "audio": (0.63 * seconds, 0.97 * seconds)}


def run_demo(
    folder: Path, bundle: str | Path, *, seconds: float = 10.0, seed: int = SEED, bench: Bench, advance: Advance
) -> Outcome:
    """Write the whole demo into `folder`. `bench` measures the bundle and returns a bench report in plain types.

    Raises `InputError` for a length out of range, and whatever the sources, the sinks and the bundle raise.
    """
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise InputError(
            "the drive has no such length", found=f"{seconds} s", expected=f"{SHORTEST_S:g} to {LONGEST_S:g} s"
        )
    folder.mkdir(parents=True, exist_ok=True)
    step = _Steps(advance)
    drive = Drive(seed, seconds)
    with load(bundle) as pipeline:
        recording = record(drive, folder, step("render", "rendering the drive"))
        live = _live(pipeline, recording, seconds, step("live", "streaming it in real time"))
        annotated = folder / "annotated.mp4"
        decisions = _annotate(pipeline, recording, drive, annotated, step("draw", "drawing what was decided"))
        examples = make_examples(pipeline, seed, step("generate", "making pictures"))
        manifest, precisions = (
            pipeline.manifest,
            {part: pipeline.precisions[part] for part, n in pipeline.runs.items() if n},
        )
        backend, modalities = pipeline.backend, pipeline.modalities
    made = [annotated]
    if examples:
        made.append(folder / "generated.png")
        png = encode_png(draw_sheet(examples, SHEET))
        write_file(made[-1], lambda file: file.write(png))
    measured = bench(step("bench", "measuring"))
    figures = folder / "bench.json"
    pretty = msgspec.json.format(msgspec.json.encode(measured), indent=1)
    write_file(figures, lambda file: file.write(pretty + b"\n"))
    labels = {name: head.labels for name, head in manifest.heads.items() if head.kind == "classes"}
    story = Story(
        manifest.model.name, tuple(modalities), backend, precisions, seconds, seed, outages(seconds),
        _windows(manifest), tuple(drive.texts()), labels, tuple(decisions), live, tuple(examples), measured, annotated.read_bytes(),
    )  # fmt: skip
    step("report", "writing the report")(0.0)
    return _finish(folder, recording, (*made, figures), story)


def _finish(folder: Path, recording: Recording, made: tuple[Path, ...], story: Story) -> Outcome:
    from .demo_report import render

    report = folder / "report.html"
    write_file(report, lambda file: file.write(render(story).encode()))
    totals = np.sort(story.live.totals) * 1e3
    right = [decision.labels.get("hazard") == decision.truth["hazard"] for decision in story.decisions]
    return Outcome(
        files=(report, *made, recording.video, recording.series, recording.notes),
        decisions=len(right),
        right=float(np.mean(right)) if right else 0.0,
        p50_ms=float(totals[(len(totals) - 1) // 2]),
        p99_ms=float(totals[int(np.ceil(0.99 * len(totals))) - 1]),
    )


def _windows(manifest: Manifest) -> dict[str, float]:
    """Seconds of the past that one capture holds."""
    windows = {}
    for modality in manifest.modalities:
        if isinstance(modality, AudioModality):
            windows[modality.name] = modality.samples / modality.sample_rate
        elif isinstance(modality, SeriesModality):
            windows[modality.name] = modality.frames / modality.sample_rate
    return windows


class _Steps:
    """Turns the progress of each part into the progress of the whole."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._before = 0.0

    def __call__(self, part: str, words: str) -> Callable[[float], None]:
        start, share = self._before, _SHARES[part]
        self._before += share
        self._advance(words, start)
        return lambda fraction: self._advance(words, start + share * min(1.0, fraction))


def _sources(pipeline: Pipeline, recording: Recording, seconds: float) -> list[Outage]:
    """Every modality's source, with the plug pulled at times."""
    pulled = outages(seconds)
    uris = recording.uris()
    return [
        Outage(open_source(modality, uris[modality.name]), [pulled[modality.name]] if modality.name in pulled else [])
        for modality in pipeline.manifest.modalities
    ]


def _live(pipeline: Pipeline, recording: Recording, seconds: float, advance: Callable[[float], None]) -> Live:
    live = Live()
    with pipeline.stream(_sources(pipeline, recording, seconds), rate_hz=FPS, realtime=True) as stream:
        for result in stream:
            live.add(result, stream.now())
            advance(result.time_s / seconds)
        live.dropped = dict(stream.dropped)
    return live


def _annotate(
    pipeline: Pipeline, recording: Recording, drive: Drive, path: Path, advance: Callable[[float], None]
) -> list[Decision]:
    decisions = []
    sources = _sources(pipeline, recording, drive.seconds)
    title = pipeline.manifest.model.name
    with (
        AnnotatedVideo(path, modalities=pipeline.modalities, title=title, sound=recording.video) as video,
        pipeline.stream(sources, rate_hz=FPS, seconds=drive.seconds) as stream,
    ):
        for result in stream:
            video.write(result)
            decisions.append(_decision(result, drive.scene_at(result.time_s)))
            advance(result.time_s / drive.seconds)
    return decisions


def _decision(result: Result, scene: Scene) -> Decision:
    return Decision(
        time_s=result.time_s,
        labels=dict(result.labels),
        scores={head: result.scores[head][label] for head, label in result.labels.items()},
        weights={name: weight for name, weight in result.weights.items() if name in result.ages},
        truth={"hazard": scene.hazard, "weather": scene.weather, "object": scene.object},
    )
