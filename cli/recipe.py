"""`chiasm recipe`: the first recipe for some checkpoint folders."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from .common import stdout


class Action(str, Enum):
    """What can be done about recipes."""

    init = "init"


def command(
    action: Annotated[Action, typer.Argument(help="init: write a first recipe.", metavar="init")],
    folders: Annotated[
        list[Path], typer.Argument(help="Checkpoint folders, as a model hub serves them.", metavar="FOLDER...")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="RECIPE", help="Where to write it; default: standard output.")
    ] = None,
) -> None:
    """Write a first recipe by looking at the folders: one modality a tower, captions where a
    checkpoint describes pictures, and a fusion where one is needed."""
    from ..export.recipe import to_toml
    from ..export.suggest import suggest
    from ..runtime.sinks import write_file

    root = out.parent if out is not None else Path()
    recipe = suggest(folders, root)
    text = to_toml(recipe)
    if recipe.fusion is not None and recipe.fusion.weights is not None:
        text += "\n# These encoders do not share a space: train a fusion head and put its weights beside this file.\n"
    if out is None:
        stdout().print(text, end="", markup=False, soft_wrap=True)
        return
    write_file(out, text.encode())
    stdout().print(f"Written: {out}. Try: chiasm export {out} --out my.chiasm", soft_wrap=True)
