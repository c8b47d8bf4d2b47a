"""Stage ``data``: render the training and validation scenes once."""

from __future__ import annotations

from ..context import Context, Stage
from ..dataset import SPLITS, render


def run(ctx: Context) -> None:
    """Write ``data/train`` and ``data/validation`` into the work folder."""
    for split, quick in (("train", 48), ("validation", 24)):
        first, count = SPLITS[split]
        count = ctx.pick(count, quick=quick)
        with ctx.progress(f"rendering {split}", count) as advance:
            scenes = render(
                ctx.folder / split, first, count, processes=1 if ctx.quick else ctx.threads, advance=advance
            )
        ctx.result(**{split: len(scenes)})


STAGE = Stage("data", needs=(), run=run)
