"""The whole pipeline on this machine's GPU: decisions and pictures, with and without CUDA graphs and overlap.

    python -m chiasm.bench.gpu_pipeline --out docs/results/gpu-pipeline.json

One bundle through ONNX Runtime's CUDA provider and through engines of TensorRT-RTX and TensorRT (missing ones are built
first), as far as they are here. Each has to agree with the CPU's FP32 before it is timed; what refuses is a row with
its reason. Needs `pip install '.[cuda,rtx]' onnxruntime-gpu` as far as wanted. Exit code 2, and no file, where nothing
runs on a GPU.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ..runtime.backends import SessionOptions, available, devices
from ..runtime.bundle import Bundle, open_bundle, resolve_bundle
from ..runtime.errors import ChiasmError
from ..runtime.manifest import DiffusionDecoder
from ..runtime.pipeline import Pipeline
from ..runtime.sessions import open_sessions
from ..runtime.values import Result
from ..targets import machine, packages
from .inputs import Captures
from .percentiles import Spread, spread

__all__ = ["main"]

_RING, _WARM, _ALONE = 8, 20, 50
_CLOSE = 0.98
"""Least cosine of a fused embedding with the CPU's FP32: FP16 keeps it with a margin, a broken path does not."""
WAYS = tuple((graphs, overlap) for graphs in (True, False) for overlap in (True, False))


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    what = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m chiasm.bench.gpu_pipeline", description=what)
    parser.add_argument("--out", type=Path, required=True, help="the JSON, for example docs/results/gpu-pipeline.json")
    parser.add_argument("--bundle", default="reference", help="a bundle that decides; default: reference")
    parser.add_argument("--precision", default="fp16", choices=("fp16", "fp32"))
    parser.add_argument("--count", type=int, default=500, help="decisions that are timed")
    given = parser.parse_args(words)
    try:
        made = _run(open_bundle(resolve_bundle(given.bundle)), given.precision, given.count)
    except ChiasmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not any("decision_s" in row for row in made["rows"]):
        reasons = made["absent"] | {row["backend"]: row["refused"] for row in made["rows"]}
        said = "; ".join(f"{name}: {why}" for name, why in reasons.items())
        print(f"error: nothing runs on a GPU here: {' '.join(said.split())}", file=sys.stderr)
        return 2
    given.out.parent.mkdir(parents=True, exist_ok=True)
    beside = given.out.with_name(given.out.name + ".part")
    beside.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    beside.replace(given.out)
    return 0


def _run(bundle: Bundle, precision: str, count: int) -> dict[str, Any]:
    """Everything that the JSON has. Raises `ChiasmError` where the CPU cannot run the bundle."""
    _ = bundle.manifest.fused  # one that does not decide says so
    here = {name: why for name, why in available().items() if name in ("rtx", "trt")}
    ways = {"ort:cuda": devices()["ort:cuda"], **here}
    there = [name for name, why in ways.items() if why is None]
    captures = Captures(bundle.manifest.modalities, _RING)
    rows: list[dict[str, Any]] = []
    truth: list[Result] = []
    cpu: dict[str, Any] = {}
    if there:  # nothing is timed for nothing
        with _open(bundle, "ort", "fp32", SessionOptions()) as pipeline:
            truth = [pipeline(**captures.all(index)) for index in range(_RING)]
            cpu = _timed(pipeline, captures, count)
    for name in there:
        for graphs, overlap in WAYS:
            row = _row(bundle, name, precision, SessionOptions(graphs=graphs, overlap=overlap, build="missing"),
                       captures, truth, count)  # fmt: skip
            rows.append({"backend": name, "graphs": graphs, "overlap": overlap} | row)
            print(name, f"graphs={graphs} overlap={overlap}", _words(row), flush=True)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine().to_dict(), "gpu": _gpu(), "packages": packages(),
        "bundle": bundle.manifest.model.name, "precision": precision, "decisions": count,
        "cpu_fp32": cpu, "absent": {name: why for name, why in ways.items() if why is not None}, "rows": rows,
    }  # fmt: skip


def _open(bundle: Bundle, backend: str, precision: str, options: SessionOptions) -> Pipeline:
    """With nothing kept between decisions, and no other backend for what this one refuses."""
    sessions = open_sessions(bundle, backend, precision, options, strict=True)
    try:
        return Pipeline(bundle, sessions, fusion=None, decoder=None, cache=False)
    except BaseException:
        sessions.close()
        raise


def _row(
    bundle: Bundle, backend: str, precision: str, options: SessionOptions, captures: Captures,
    truth: Sequence[Result], count: int,
) -> dict[str, Any]:  # fmt: skip
    """One way of running it, or why it does not."""
    start = perf_counter()
    try:
        with _open(bundle, backend, precision, options) as pipeline:
            first = pipeline(**captures.all(0))
            opened = perf_counter() - start
            made = [first, *(pipeline(**captures.all(index)) for index in range(1, _RING))]
            agreement = _agreement(made, truth)
            if agreement["worst_cosine"] < _CLOSE:
                return {"refused": f"its answers are not the CPU's: {agreement}"}
            row = {
                "load_and_first_s": opened, "precisions": dict(pipeline.precisions), "notes": dict(pipeline.notes),
                "agreement": agreement, **_timed(pipeline, captures, count),
            }  # fmt: skip
        return row | {"alone_s": _alone(bundle, backend, precision, options)}
    except ChiasmError as error:
        return {"refused": str(error)}


def _agreement(made: Sequence[Result], truth: Sequence[Result]) -> dict[str, float]:
    """With the CPU's FP32 on the same captures: the fused embedding's cosine, and the share of equal labels."""
    cosines = [
        float(a.embedding @ b.embedding / (np.linalg.norm(a.embedding) * np.linalg.norm(b.embedding) or 1.0))
        for a, b in zip(made, truth, strict=True)
    ]
    same = [a.labels[head] == b.labels[head] for a, b in zip(made, truth, strict=True) for head in a.labels]
    return {"worst_cosine": min(cosines), "labels_alike": sum(same) / len(same) if same else 1.0}


def _timed(pipeline: Pipeline, captures: Captures, count: int) -> dict[str, Any]:
    """Decisions with every sense new; the stages as the pipeline times them, where on a GPU the one that reads waits;
    and the steps of pictures."""
    for index in range(_WARM):
        pipeline(**captures.all(index))
    stages: dict[str, list[float]] = {}
    for index in range(count):
        for name, seconds in pipeline(**captures.all(index)).timings.items():
            stages.setdefault(name, []).append(seconds)
    found: dict[str, Any] = {
        "decision_s": spread(stages.pop("total")),
        "stages_p50_s": {name: float(np.median(values)) for name, values in stages.items()},
    }
    if isinstance(pipeline.manifest.decoder, DiffusionDecoder) and not pipeline.manifest.decoder.prompts:
        found["denoise_s"] = _drawn(pipeline, captures)
    return found


def _drawn(pipeline: Pipeline, captures: Captures) -> Spread:
    """Seconds of a step of the denoiser, the first picture left out."""
    drawn = [list(pipeline.generate(**captures.all(index), seed=index)) for index in range(5)]
    return spread([step.timings["denoise"] for steps in drawn[1:] for step in steps])


def _alone(bundle: Bundle, backend: str, precision: str, options: SessionOptions) -> Mapping[str, float]:
    """part → median seconds of a run by itself, everything copied in and out and waited for; in sessions of its own,
    since those of a pipeline read each other's outputs."""
    sessions = open_sessions(bundle, backend, precision, options, strict=True)
    found = {}
    try:
        for part in bundle.manifest.parts:
            session = sessions.get(part)
            feeds = {each.name: np.ones(each.shape, each.dtype) for each in session.inputs}
            times = []
            for _ in range(_WARM + _ALONE):
                start = perf_counter()
                list(session.run(feeds).values())
                times.append(perf_counter() - start)
            found[part] = float(np.median(times[_WARM:]))
    finally:
        sessions.close()
    return found


def _gpu() -> str | None:
    """What nvidia-smi says it is; None where there is none (Jetson)."""
    fields = "name,driver_version,compute_cap,clocks.max.sm,power.limit"
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], capture_output=True, text=True,
            check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _words(row: Mapping[str, Any]) -> str:
    return str(row.get("refused") or f"{1e3 * row['decision_s']['p50']:.3f} ms a decision")


if __name__ == "__main__":
    raise SystemExit(main())
