"""`chiasm demo`: a drive, streamed, decided, drawn and told."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..runtime.errors import ChiasmError
from .common import bundle_path, progress, stdout


def command(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where everything is written.")] = Path("demo"),
    seconds: Annotated[float, typer.Option(metavar="S", help="Length of the drive, 4 to 120.")] = 10.0,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Another number is another drive.", min=0)] = 71,
    bundle: Annotated[
        str, typer.Option(metavar="BUNDLE", help="A bundle of the reference model, or the word 'reference'.")
    ] = "reference",
) -> None:
    """Drive through a street with four senses, two of which fail on the way, and report.

    Renders a drive to a video file with sound, streams that file through the bundle at 30 frames a second with the
    camera going dark and the microphone unplugged on the way, and writes the annotated video, generated pictures, a
    short bench and one page that tells it all. Needs no torch.

    Example: chiasm demo --seconds 20 --seed 3
    """
    from ..reference.demo import run_demo

    folder = bundle_path(bundle)
    with progress("demo") as advance:
        outcome = run_demo(out, folder, seconds=seconds, seed=seed, bench=_bench(folder), advance=advance)
    console = stdout()
    console.print(
        f"{outcome.decisions} decisions, hazard right in {100 * outcome.right:.0f} %, "
        f"p50 {outcome.p50_ms:.2f} ms, p99 {outcome.p99_ms:.2f} ms",
        soft_wrap=True,
    )
    for path in outcome.files:
        console.print(f"  {path}", soft_wrap=True)
    console.print(f"Open {outcome.files[0]} in a browser.", soft_wrap=True)


def _bench(folder: Path) -> Callable[[Callable[[float], None]], dict[str, Any]]:
    """A short single-stream and fixed-rate run, in a process of its own so that its memory is the bundle's alone."""
    words = ["bench", str(folder), "--seconds", "4", "--json"]
    for name in ("single-stream", "fixed-rate"):
        words += ["--scenario", name]

    def measure(advance: Callable[[float], None]) -> dict[str, Any]:
        advance(0.0)
        done = subprocess.run([sys.executable, "-m", "chiasm", *words], capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):  # 1: a criterion is not met, which the report may say
            line = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ChiasmError(
                "the bench failed", found=line.removeprefix("error: "), fix=f"Try: chiasm {shlex.join(words)}"
            )
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    return measure
