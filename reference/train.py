"""Train the reference model: ``python -m chiasm.reference.train``.

Stages run in the order of their needs; each resumes after a kill and is skipped once it has finished. At the end the
published weights become the checkpoint folder. The stage protocol is described in ``reference/stages/__init__.py``.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from safetensors.torch import load_file

from ..runtime.errors import ChiasmError
from .context import Context, save_tensors, write_json
from .stages import find_stages, in_order

__all__ = ["CHECKPOINT", "main", "train", "write_checkpoint"]

CHECKPOINT = Path(__file__).resolve().parent / "checkpoint"


def pick_device(name: str) -> str:
    """``auto`` becomes cuda where there is one; a device that is not there raises ``ChiasmError``."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise ChiasmError(f"unknown device {name!r}: expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ChiasmError(
            "device 'cuda' was asked for, but torch sees no GPU: use --device cpu, or install a CUDA build of torch"
        )
    return name


def train(
    work: Path,
    *,
    stage: str | None = None,
    seed: int = 0,
    threads: int = 1,
    device: str = "auto",
    quick: bool = False,
    console: Console | None = None,
) -> list[str]:
    """Run one stage, or all that have not finished; return the names of those that ran."""
    stages = in_order(find_stages())
    names = [each.name for each in stages]
    if stage is not None and stage not in names:
        raise ChiasmError(f"unknown stage {stage!r}: expected one of {', '.join(names)}")
    console = console or Console()
    device = pick_device(device)
    _same_run(work, {"seed": seed, "quick": quick})
    torch.set_num_threads(threads)
    ran = []
    for each in stages:
        marker = work / each.name / "done"
        if (stage is not None and each.name != stage) or marker.exists():
            continue
        ctx = Context(work, each.name, seed, threads, device, quick, console)
        for need in each.needs:
            ctx.stage_folder(need)
        ctx.seed_torch("stage")
        started = time.monotonic()
        console.print(f"stage {each.name} …")
        each.run(ctx)
        ctx.write_log()
        (ctx.folder / "done").write_text(f"{time.monotonic() - started:.1f} s\n", encoding="utf-8")
        ran.append(each.name)
    return ran


def _same_run(work: Path, settings: dict[str, Any]) -> None:
    """Refuse to go on in a folder that another seed, or a --quick run, has begun."""
    path = work / "run.json"
    if path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))
        if begun != settings:
            raise ChiasmError(
                f"{work} holds another run",
                found=begun,
                expected=settings,
                fix="Give another --work folder, or delete it.",
            )
        return
    work.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)


def write_checkpoint(work: Path, out: Path) -> dict[str, int]:
    """Write all published parts (fp16), the merged config.json and tokenizer.json into ``out``.

    Returns the number of values in each part. Files of ``out`` that training does not make (the model card) stay.
    """
    config: dict[str, Any] = {"format": "chiasm-checkpoint", "version": 1}
    for path in sorted(work.glob("*/config.json")):
        _merge(config, json.loads(path.read_text(encoding="utf-8")))
    out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    for path in sorted(work.glob("*/parts/*.safetensors")):
        tensors = load_file(path)
        counts[path.stem] = sum(tensor.numel() for tensor in tensors.values())
        save_tensors(out / path.name, tensors, half=True)
    for path in work.glob("tokenizer/tokenizer.json"):
        shutil.copyfile(path, out / path.name)
    write_json(out / "config.json", config)
    return counts


def _merge(into: dict[str, Any], piece: dict[str, Any]) -> None:
    for key, value in piece.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def main(
    work: Annotated[Path, typer.Option(help="Folder for data, logs and unfinished weights.")] = Path("train-work"),
    stage: Annotated[str | None, typer.Option(help="Run only this stage.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes: exercises every stage, learns nothing useful.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Checkpoint folder; default: the one in the package (with --quick: WORK/checkpoint)."),
    ] = None,
) -> None:
    """Train the reference model in stages that resume, then write the checkpoint folder."""
    try:
        train(work, stage=stage, seed=seed, threads=threads, device=device, quick=quick)
        if stage is None or out is not None:
            target = out or (work / "checkpoint" if quick else CHECKPOINT)
            counts = write_checkpoint(work, target)
            print(f"{target}: {len(counts)} parts, {sum(counts.values()):,} values")
    except ChiasmError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    typer.run(main)
