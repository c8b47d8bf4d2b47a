"""What the public families cost at their real sizes: every model of the zoo made, exported, measured.

    python -m chiasm.bench.zoo.table --work /tmp/zoo --out docs/results/families.json [NAME ...]

Each model has a process of its own, so that one that fails leaves the others alone; what was measured before is kept
in `--out` and only the named models (or those that are missing) are measured anew. The bundles stay in `--work` with
`--keep`; `--retime` measures the times of those again, on a machine that is quiet by then. Weights are seeded and
random: sizes and times are those of the published architecture, while a cosine says what the arithmetic loses on such
weights, not what a trained model would lose. INT8 ranges come from made-up captures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.bundle import open_bundle
from ...runtime.errors import ChiasmError
from ...targets import machine, packages
from . import Model

if TYPE_CHECKING:
    from ...export.report import Report

__all__ = ["measure", "models", "parts_of", "retime"]

_FILES = ("image", "text", "audio", "pairs", "pairs_audio", "captions")
_CAPTURES = 4
_LIMIT_S = 1500
_ROUNDS = 9


def models() -> dict[str, Model]:
    """Name → encoder or captioner of the zoo; what a classifier or one tower of a pair costs is that of the whole."""
    found: dict[str, Model] = {}
    for file in _FILES:
        found |= import_module(f".{file}", __package__).MODELS
    return {name: each for name, each in found.items() if not name.endswith(("-classes", "clip-image", "clip-text"))}


def parts_of(out: Path) -> dict[str, Any]:
    """The rows of a bundle that is there: its encoders and the parts that caption, or the parts that draw."""
    from ...export.report import FILE, decode

    report, manifest = decode((out / FILE).read_bytes()), open_bundle(out).manifest
    named = {each.part: each.name for each in manifest.modalities} or {part: part for part in manifest.parts}
    if manifest.captioner is not None:
        named |= {part: part for part in (manifest.captioner.prefill, manifest.captioner.step)}
    rows = [_row(report, name, part) for part, name in named.items()]
    seconds = sum(report.parts[part].seconds or 0.0 for part in named)
    return {"seconds": seconds, "peak_mib": report.peak_mib, "parts": rows}


def measure(model: Model, work: Path, precisions: tuple[str, ...]) -> dict[str, Any]:
    """The rows of one model: one for each encoder in it. Raises `ChiasmError`."""
    from ...export import export
    from ...export.assemble import open_assembly
    from ...export.calibrate import Calibration
    from ...export.captures import synthetic
    from ...export.settings import Settings

    folder, out = work / model.name, work / f"{model.name}.chiasm"
    if not folder.exists():
        model.make(folder, "real")
    recipe = folder / "recipe.toml"  # of a network of one's own, whose code is the file beside it
    own = recipe.exists()
    assembly, _ = open_assembly(recipe if own else folder, [f"{model.name}.py:{model.name}"] if own else [])
    captures = {each.name: [synthetic(each, index) for index in range(_CAPTURES)] for each in assembly.modalities}
    settings = Settings(precisions=precisions, samples=_CAPTURES, checks=3, rounds=3, pass_s=1.0, ranking_s=8.0)
    start = time.monotonic()
    export(assembly, out, calibration=Calibration(captures), settings=settings)
    return parts_of(out) | {"family": model.family, "seconds": time.monotonic() - start}


def _row(report: Report, modality: str, part: str) -> dict[str, Any]:
    made = report.parts[part].variants
    return {
        "modality": modality,
        "variants": {
            precision: {
                "bytes": each.bytes, "milliseconds": each.milliseconds, "method": each.method, "kept": len(each.kept),
                "max_relative_error": max(one.max_relative_error for one in each.outputs.values()),
                "cosine": min(one.cosine for one in each.outputs.values()),
            }
            for precision, each in made.items()
        },
        "refused": {
            each.precision: {"tensor": each.tensor, "cosine": each.figure}
            for each in report.refused if each.part == part
        },
    }  # fmt: skip


def retime(name: str, work: Path, row: dict[str, Any]) -> None:
    """Put the times of a quiet machine into a row, from the bundle that was kept: the variants take turns."""
    from ...export.interfaces import example
    from ...export.measure import timed

    bundle = open_bundle(work / f"{name}.chiasm")
    manifest = bundle.manifest
    for part in row["parts"]:
        named = {each.name: each.part for each in manifest.modalities}
        place = named.get(part["modality"], part["modality"])
        precisions = [each for each in part["variants"] if each != "int8-trt"]
        graphs = [bundle.graph(place, precision) for precision in precisions]
        times = timed(graphs, [example(manifest.parts[place].inputs, seed) for seed in range(3)], _ROUNDS)
        for precision, seconds in zip(precisions, times, strict=True):
            part["variants"][precision]["milliseconds"] = 1e3 * seconds


def _apart(name: str, work: Path, precisions: tuple[str, ...]) -> dict[str, Any]:
    """`measure` in a process of its own; an error becomes a row that says it."""
    words = [sys.executable, "-m", __spec__.name, "--one", "--work", str(work), "--precisions", *precisions, "--", name]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {_LIMIT_S} s"}
    answers = [line for line in done.stdout.splitlines() if line.startswith('{"')]
    if answers:
        return dict(json.loads(answers[-1]))
    return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}


def _todo(known: dict[str, Any], asked: list[str]) -> Iterator[str]:
    for name in models():
        if name in asked or (not asked and "parts" not in known.get(name, {})):
            yield name


def _main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="checkpoints and bundles lie here meanwhile")
    parser.add_argument("--out", type=Path, default=Path("docs/results/families.json"))
    parser.add_argument("--keep", action="store_true", help="leave bundles and checkpoints in --work")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "fp16", "int8-cpu"])
    parser.add_argument("--retime", action="store_true", help="only time again what --keep left in --work")
    parser.add_argument("--bundle", action="append", default=[], metavar="NAME=PATH", help="rows of one that is there")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help="models; default: those that --out does not have")
    given = parser.parse_args()
    precisions = tuple(given.precisions)
    if given.one:
        try:
            print(json.dumps(measure(models()[given.names[0]], given.work, precisions)))
        except ChiasmError as error:
            print(json.dumps({"error": str(error)}))
        return 0
    known = json.loads(given.out.read_text()) if given.out.exists() else {"models": {}}
    for name, _, path in (each.partition("=") for each in given.bundle):
        known["models"][name] = parts_of(Path(path))
        given.out.write_text(json.dumps(known, indent=1) + "\n")
    if given.bundle:
        return 0
    if given.retime:
        for name in [each for each, row in known["models"].items() if (given.work / f"{each}.chiasm").is_dir()]:
            print(name, flush=True)
            retime(name, given.work, known["models"][name])
            given.out.write_text(json.dumps(known, indent=1) + "\n")
        return 0
    for name in _todo(known["models"], given.names):
        row = _apart(name, given.work, precisions)
        known["models"][name] = row
        known |= {"machine": machine().to_dict(), "packages": packages(), "when": time.strftime("%Y-%m-%d")}
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(known, indent=1) + "\n")
        print(name, row.get("error") or f"{row['seconds']:.0f} s", flush=True)
        if not given.keep:
            shutil.rmtree(given.work / name, ignore_errors=True)
            shutil.rmtree(given.work / f"{name}.chiasm", ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
