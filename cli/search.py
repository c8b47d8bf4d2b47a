"""`chiasm search`: the nearest captures of an indexed folder."""

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
    capture,
    emit_json,
    known_modalities,
    option_names,
    split_search,
    stdout,
)

OPEN = True


def command(
    ctx: typer.Context,
    bundle: BundleArgument,
    index: Annotated[str, typer.Argument(help="A file that `chiasm index` wrote.", metavar="INDEX")],
    top: Annotated[int, typer.Option(metavar="COUNT", help="How many to show.", min=1)] = 5,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the pictures, sounds or texts that are nearest to a query.

    Give the query as --NAME VALUE: words, a picture or a sound, of the indexed kind or of one that shares a space with
    it. Printed are the cosine, the file, and the second of a sound or the line of a text.

    Example: chiasm search clip.chiasm holiday.index --text "a red bus in the rain" --top 5
    """
    from ..runtime.errors import InputError
    from ..runtime.index import EXACT, Index
    from ..runtime.manifest import TextModality
    from ..runtime.pipeline import load

    options = option_names(ctx)
    word, file, values = split_search([bundle, index, *ctx.args], options)
    with load(bundle_path(word), backend, precision, threads) as pipeline:
        chosen = known_modalities(values, pipeline.manifest.modalities, options)
        if len(chosen) != 1:
            raise InputError("a search takes one query", found=", ".join(f"--{each.name}" for each in chosen))
        opened = Index.open(Path(file), pipeline)
        query = {chosen[0].name: capture(chosen[0], values[chosen[0].name])}
        hits = opened.search(pipeline, top=top, **query)
        lines = isinstance(pipeline.bundle.modality(opened.header.modality), TextModality)
    if as_json:
        emit_json({
            "bundle": opened.header.model, "query": chosen[0].name, "modality": opened.header.modality,
            "entries": len(opened), "exact": len(opened) <= EXACT,
            "hits": [{"file": str(hit.file), "at": hit.at, "cosine": hit.cosine} for hit in hits],
        })  # fmt: skip
        return
    for hit in hits:
        place = "" if hit.at is None else f"  line {hit.at:.0f}" if lines else f"  at {hit.at:.1f} s"
        stdout().print(f"{hit.cosine:7.4f}  {hit.file}{place}", markup=False, soft_wrap=True)
