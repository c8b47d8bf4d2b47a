"""Measure the reference model on held-out scenes: ``python -m chiasm.reference.evaluate``.

Reproduces every number of the model card: hazard accuracy of every fusion kind on all 15 sets of present modalities,
retrieval among 200 scenes, and what an independent recogniser reads in the generated pictures. With ``--bundle`` the
same questions go through the runtime and an exported bundle instead of the checkpoint in torch.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..runtime.errors import ChiasmError, MissingExtraError
from . import CHECKPOINT
from .card import card, tables
from .held_out import GALLERY, HeldOut, Model, hazard_table, picture_table, render_held_out, retrieval_table
from .metrics import SUBSETS

__all__ = ["evaluate", "main"]


def evaluate(
    model: Model,
    recogniser: Path,
    *,
    scenes: int = 3000,
    galleries: int = 5,
    pictures: int = 1000,
    kinds: tuple[str, ...] | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """All numbers as one JSON value. ``scenes`` of balanced hazards, ``galleries`` of 200 natural scenes,
    ``pictures`` to draw.

    ``recogniser``: the folder that holds the recogniser's weights. Seeds of the three sets do not overlap.
    """
    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    kinds = kinds or model.kinds
    started = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def rendered(title: str, balance: str, count: int, offset: int) -> HeldOut:
            task = bars.add_task(f"rendering: {title}", total=count)
            return render_held_out(balance, count, offset=offset, advance=lambda done: bars.update(task, advance=done))

        balanced = rendered("hazards", "hazard", scenes, 0)
        task = bars.add_task("hazards", total=len(SUBSETS) * len(kinds))
        hazards = hazard_table(model, balanced, kinds, lambda done: bars.update(task, advance=done))
        natural = rendered("retrieval", "natural", galleries * GALLERY, 100_000)
        found: dict[str, Any] = {"hazard": hazards, "retrieval": retrieval_table(model, natural)}
        if model.steps and pictures:
            drawn = rendered("pictures", "hazard", pictures, 200_000)
            task = bars.add_task("pictures", total=len(model.steps) + 1)
            found["pictures"] = picture_table(
                model, drawn, _reader(recogniser), lambda done: bars.update(task, advance=done)
            )
    sizes = {"scenes": scenes, "galleries": galleries, "pictures": pictures if model.steps else 0}
    seconds = round(time.monotonic() - started, 1)
    return {**found, "default": model.default, "sizes": sizes, "machine": {**machine(), "seconds": seconds}}


def _reader(folder: Path) -> Any:
    try:
        from .stages.recogniser import load_recogniser
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "export", "Reading the generated pictures") from error
    return load_recogniser(folder)


def machine() -> dict[str, Any]:
    """Processor, cores, Python and the versions that matter."""
    name = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        models = [
            line.split(":", 1)[1].strip()
            for line in cpus.read_text(encoding="utf-8").splitlines()
            if "model name" in line
        ]
        name = models[0] if models else name
    versions = {package: version for package in ("numpy", "torch", "onnxruntime") if (version := _version(package))}
    return {"processor": name, "cores": os.cpu_count() or 1, "python": platform.python_version(), **versions}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _model(checkpoint: Path, bundle: str | None) -> Model:
    if bundle is not None:
        from .bundle_model import BundleModel

        return BundleModel(bundle)
    try:
        from .torch_model import TorchModel
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "export", "Evaluating the checkpoint") from error
    return TorchModel(checkpoint)


def main(
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder.")] = CHECKPOINT,
    bundle: Annotated[
        str | None, typer.Option(help="Evaluate this bundle through the runtime ('reference': the shipped one).")
    ] = None,
    scenes: Annotated[int, typer.Option(help="Held-out scenes with balanced hazards.", min=50)] = 3000,
    galleries: Annotated[int, typer.Option(help="Galleries of 200 natural scenes for retrieval.", min=1)] = 5,
    pictures: Annotated[int, typer.Option(help="Pictures generated at each number of steps; 0: none.", min=0)] = 1000,
    fusion: Annotated[str | None, typer.Option(help="Only this fusion kind.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Rewrite model_card.md of the checkpoint from these numbers.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
) -> None:
    """Measure the reference model on held-out scenes and print the tables of its model card."""
    try:
        if write and (bundle is not None or fusion is not None):
            raise ChiasmError(
                "The model card is written from the whole checkpoint", fix="Leave out --bundle and --fusion"
            )
        with closing(_model(checkpoint, bundle)) as model:
            if fusion is not None and fusion not in model.kinds:
                raise ChiasmError("Unknown fusion kind", found=fusion, expected=", ".join(model.kinds))
            kinds = (fusion,) if fusion is not None else None
            numbers = evaluate(model, checkpoint, scenes=scenes, galleries=galleries, pictures=pictures, kinds=kinds)
        print(tables(numbers))
        if out is not None:
            _write(out, json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
        if write:
            _write(checkpoint / "model_card.md", card(numbers, getattr(model, "parameters", {})))
    except ChiasmError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise ChiasmError(
            f"{path} cannot be written", found=error.strerror, fix="Give a path in a folder that exists."
        ) from error


if __name__ == "__main__":
    typer.run(main)
