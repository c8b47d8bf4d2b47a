"""Stable Diffusion 1.5 at its full size, with seeded random weights: what exporting it takes, and one picture.

    python -m chiasm.bench.zoo.full_size --work /tmp/zoo --side 256 --precision int8-cpu

Writes the pipeline's folder (4.3 GB) and TAESD's, exports them part by part, prints what each part took (wall time and
peak memory), then sizes and the time of a generation as JSON, and removes everything again unless `--keep` is given.
INT8 is made without captures, so of matrix products only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from ...targets.machine import machine
from ...targets.memory import peak_mib, reset_peak
from .diffusion import MODELS

__all__ = ["main", "make"]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("zoo-work"), help="a folder for 25 GB")
    parser.add_argument("--side", type=int, default=512, help="height and width of the picture")
    parser.add_argument("--precision", action="append", default=[], help="besides fp32: fp16, int8-cpu")
    parser.add_argument("--keep", action="store_true", help="do not remove the folder")
    given = parser.parse_args()
    try:
        print(json.dumps(run(given.work, given.side, tuple(given.precision)), indent=2))
    finally:
        if not given.keep:
            shutil.rmtree(given.work, ignore_errors=True)


def make(work: Path, side: int, precisions: tuple[str, ...]) -> Path:
    """Write the checkpoints that are not there, and export them: the bundle, for pictures of `side` by `side`."""
    from ...export import Settings, export
    from ...export.assemble import assemble
    from ...export.recipe import DecoderRecipe, Recipe

    _checkpoints(work)
    table = DecoderRecipe(
        checkpoint="sd15", vae="taesd", keep_vae=True, schedule={"kind": "lcm"}, height=side, width=side
    )
    return export(
        assemble(Recipe(decoder=table), work, name="sd15"), work / "sd15.chiasm",
        settings=Settings(precisions=("fp32", *precisions)), progress=_say,
    )  # fmt: skip


def _checkpoints(work: Path) -> None:
    for name in ("sd15", "taesd"):
        if not (work / name).exists():
            MODELS[name].make(work / name, "real")
            _say(f"{name} is written", None)


def run(work: Path, side: int, precisions: tuple[str, ...]) -> dict[str, Any]:
    """Make, export, draw; the figures."""
    _checkpoints(work)
    start = time.monotonic()
    out = make(work, side, precisions)
    seconds = time.monotonic() - start
    report = json.loads((out / "verify.json").read_bytes())
    parts = {
        part: {"seconds": round(each["seconds"]), "peak_mib": round(each["peak_mib"] or 0), "variants": _variants(each)}
        for part, each in report["parts"].items()
    }
    whole = {"seconds": round(seconds), "peak_mib": round(report["peak_mib"] or 0), "bundle_mb": _size(out)}
    return {"machine": machine().to_dict(), "side": side, "export": whole, "parts": parts, "drawing": _draw(out)}


def _variants(part: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, each in part["variants"].items():
        outputs = each["outputs"].values()
        found[name] = {
            "mb": round(each["bytes"] / 1e6, 1), "milliseconds": each["milliseconds"], "method": each.get("method"),
            "max_relative_error": max(output["max_relative_error"] for output in outputs),
            "cosine": min(output["cosine"] for output in outputs),
        }  # fmt: skip
    return found


def _size(folder: Path) -> int:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)


def _draw(bundle: Path) -> dict[str, Any]:
    """Seconds and peak memory of four steps in the precision that each part prefers."""
    from ...runtime import load

    reset_peak()
    start = time.monotonic()
    with load(bundle) as pipeline:
        last = list(pipeline.generate(text="a red bus near the bridge", steps=4, seed=1))[-1]
        first = time.monotonic() - start
        start = time.monotonic()
        list(pipeline.generate(text="a red bus near the bridge", steps=4, seed=2))
    assert last.picture is not None
    again = round(time.monotonic() - start, 1)
    return {"picture": list(last.picture.shape), "first_s": round(first, 1), "second_s": again, "peak_mib": peak_mib()}


def _say(words: str, share: float | None) -> None:
    print(f"{time.strftime('%H:%M:%S')} {'' if share is None else f'{share:4.0%} '}{words}", flush=True)


if __name__ == "__main__":
    main()
