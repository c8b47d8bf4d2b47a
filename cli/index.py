"""`chiasm index`: a folder of pictures, sounds or texts, made ready to be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import (
    BackendOption,
    BundleArgument,
    JsonOption,
    PrecisionOption,
    ThreadsOption,
    bundle_path,
    emit_json,
    progress,
    stderr,
)


def command(
    bundle: BundleArgument,
    folder: Annotated[
        str, typer.Argument(help="The folder; the folders in it are looked through too.", metavar="FOLDER")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The index file to write.", metavar="INDEX")],
    modality: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose files; default: the first modality that the folder has files for."),
    ] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encode every picture, sound or line of text in a folder, to be searched with `chiasm search`.

    A file that cannot be read is named and left out. The index belongs to the bundle that made it. Needs the extra
    `search`.

    Example: chiasm index clip.chiasm holiday --out holiday.index
    """
    from ..runtime.index import index_folder
    from ..runtime.pipeline import load

    with (
        load(bundle_path(bundle), backend, precision, threads) as pipeline,
        progress("indexing", quiet=as_json) as show,
    ):
        header, refused = index_folder(pipeline, folder, out, modality=modality, progress=show)
    files = len({entry.file for entry in header.entries})
    if as_json:
        emit_json({
            "index": str(out), "bundle": header.model, "modality": header.modality, "files": files,
            "entries": len(header.entries), "width": header.width, "refused": refused,
        })  # fmt: skip
        return
    for file, complaint in refused.items():
        stderr().print(f"left out: {file}: {complaint}", markup=False, soft_wrap=True)
    what = f"{len(header.entries)} captures of {files} files" if len(header.entries) != files else f"{files} files"
    stderr().print(f"{out}: {what}, by {header.modality} of {header.model}", markup=False, soft_wrap=True)
