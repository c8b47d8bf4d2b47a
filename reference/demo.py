"""The demo: render a drive to files, stream the files through the bundle with two outages, and tell what happened.

Two passes over the same files with the same outages. The first is paced by the wall clock, as a camera would be: its
latencies, frame ages and drops are the ones reported. The second runs on the files' own clock, misses no frame whatever
the machine is doing, and is the one that is drawn and compared with the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..runtime.bundle import open_bundle, resolve_bundle
from ..runtime.errors import InputError, MissingExtraError, SinkError
from ..runtime.manifest import Manifest
from ..runtime.pipeline import Pipeline, load
from ..runtime.sinks import AnnotatedVideo, check_output, write_file
from ..runtime.sources import Outage, open_source
from .demo_drive import FPS, Recording, record
from .demo_pictures import Example, draw_sheet, encode_png, make_examples
from .demo_report import render
from .demo_story import Decision, Live, Story, outages
from .drive import Drive

__all__ = ["SEED", "Advance", "Outcome", "run_demo"]

Advance = Callable[[str, float], None]
"""Told what is being done and the fraction of the whole that is done."""
Bench = Callable[[Callable[[float], None]], Mapping[str, Any]]
SHORTEST_S, LONGEST_S = 4.0, 120.0
SEED = 71
"""The drive that is shown by default: a siren, its ambulance, then a car that brakes hard; chosen by its script."""
SHEET = "Each made from what stands on the left alone, in so many steps of the denoiser; the camera was not asked."
_SHARES = {"render": 0.17, "live": 0.25, "draw": 0.28, "generate": 0.1, "bench": 0.18, "report": 0.02}
"""About how the time is spent, for the progress bar."""


@dataclass(frozen=True)
class Outcome:
    """What was written, the report first, and the headline."""

    files: tuple[Path, ...]
    decisions: int
    right: float
    p50_ms: float
    p99_ms: float


def run_demo(
    folder: Path, bundle: str | Path, *, seconds: float = 10.0, seed: int = SEED, bench: Bench, advance: Advance
) -> Outcome:
    """Write the whole demo into `folder`. `bench` measures the bundle and returns a bench report in plain types.

    Raises `InputError` for a length out of range or a bundle of another model, and whatever the sources, the sinks and
    the bundle raise.
    """
    _check(seconds, open_bundle(resolve_bundle(bundle)).manifest)
    step, drive = _Steps(advance), Drive(seed, seconds)
    with load(bundle) as pipeline:
        _make(folder)
        recording = record(drive, folder, step("render", "rendering the drive"))
        live = _live(pipeline, recording, seconds, step("live", "streaming it in real time"))
        film = folder / "annotated.mp4"
        decisions = _annotate(pipeline, recording, drive, film, step("draw", "drawing what was decided"))
        examples = make_examples(pipeline, seed, step("generate", "making pictures"))
        precisions = {part: pipeline.precisions[part] for part, runs in pipeline.runs.items() if runs}
        manifest, backend = pipeline.manifest, pipeline.backend
    sheets = _write_sheet(folder, examples)
    figures, measured = _write_bench(folder, bench, step("bench", "measuring"))
    step("report", "writing the report")(0.0)
    story = Story(
        str(folder), manifest, backend, precisions, seconds, seed, tuple(drive.texts()), tuple(decisions), live,
        tuple(examples), measured, film.read_bytes(),
    )  # fmt: skip
    report = folder / "report.html"
    write_file(report, lambda file: file.write(render(story).encode()))
    return _outcome((report, film, *sheets, figures, recording.video, recording.series, recording.notes), story)


def _make(folder: Path) -> None:
    """The folder itself, and a trial of writing into it before two minutes of work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(
            f"the folder {folder} cannot be made",
            found=error.strerror,
            expected="a folder",
            fix="Choose another --out.",
        ) from error
    check_output(folder / "report.html")


def _check(seconds: float, manifest: Manifest) -> None:
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise InputError(
            "the drive has no such length", found=f"{seconds} s", expected=f"{SHORTEST_S:g} to {LONGEST_S:g} s"
        )
    if set(manifest.fused.order) != {"image", "text", "audio", "radar"}:
        raise InputError(
            "the demo drives with the reference model's senses",
            found=", ".join(manifest.fused.order),
            expected="image, text, audio, radar",
            fix="Use the word reference.",
        )
    for module, package in (("cv2", "opencv-python"), ("av", "av")):
        if find_spec(module) is None:
            raise MissingExtraError(package, "camera", "the demo")


def _write_sheet(folder: Path, examples: list[Example]) -> list[Path]:
    """The picture of all pictures; a bundle without a decoder has none."""
    if not examples:
        return []
    path, png = folder / "generated.png", encode_png(draw_sheet(examples, SHEET))
    write_file(path, lambda file: file.write(png))
    return [path]


def _write_bench(folder: Path, bench: Bench, advance: Callable[[float], None]) -> tuple[Path, Mapping[str, Any]]:
    path, measured = folder / "bench.json", bench(advance)
    pretty = msgspec.json.format(msgspec.json.encode(measured), indent=1)
    write_file(path, lambda file: file.write(pretty + b"\n"))
    return path, measured


def _outcome(files: tuple[Path, ...], story: Story) -> Outcome:
    totals = np.sort(story.live.totals) * 1e3
    right = [decision.labels.get("hazard") == decision.truth["hazard"] for decision in story.decisions]
    return Outcome(
        files=files,
        decisions=len(right),
        right=float(np.mean(right)),
        p50_ms=float(totals[(len(totals) - 1) // 2]),
        p99_ms=float(totals[int(np.ceil(0.99 * len(totals))) - 1]),
    )


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
        try:
            for result in stream:
                video.write(result)
                decisions.append(Decision.of(result, drive.scene_at(result.time_s)))
                advance(result.time_s / drive.seconds)
        except KeyboardInterrupt:  # half a drive is of no use, unlike half a live recording
            video.abort()
            raise
    return decisions
