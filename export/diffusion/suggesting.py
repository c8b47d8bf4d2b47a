"""The first [decoder] for some folders, by looking at them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...runtime.errors import CheckpointError, ExportError
from ..recipe import DecoderRecipe
from ..schedules import schedule_from_config
from . import architecture_of
from .folder import PipelineFolder, is_pipeline, read_json

__all__ = ["suggest_decoder"]

_OTHERWISE = ("ddim", "euler")
"""Samplers where the pipeline's own is none of ours, on the same constants."""


def suggest_decoder(folders: Sequence[Path], root: Path) -> DecoderRecipe:
    """The decoder of one pipeline, with the autoencoder that lies beside it, if any; paths relative to `root`."""
    pipelines = [path for path in folders if is_pipeline(path)]
    others = [path for path in folders if path not in pipelines]
    if len(pipelines) != 1 or len(others) > 1:
        raise ExportError(
            "A bundle draws with one pipeline", found=f"{len(pipelines)} pipelines and {len(others)} autoencoders",
            expected="one pipeline, and perhaps one autoencoder",
        )  # fmt: skip
    folder = PipelineFolder(pipelines[0])
    architecture_of(folder)
    place = _relative(pipelines[0], root)
    vae = _relative(others[0], root) if others else None
    return DecoderRecipe(checkpoint=place, vae=vae, schedule=_schedule(folder))


def _relative(path: Path, root: Path) -> str:
    return os.path.relpath(path.absolute(), root.absolute())


def _schedule(folder: PipelineFolder) -> dict[str, Any]:
    """Nothing where the pipeline's own scheduler can be used, else another kind on its constants."""
    config = read_json(folder.at("scheduler") / "scheduler_config.json")
    refusals = {kind: _refusal(config, kind) for kind in (None, *_OTHERWISE)}
    usable = [kind for kind, refusal in refusals.items() if refusal is None]
    if not usable:
        raise refusals[None] or CheckpointError("No scheduler can be used")
    return {} if usable[0] is None else {"kind": usable[0]}


def _refusal(config: dict[str, Any], kind: str | None) -> CheckpointError | None:
    try:
        schedule_from_config(config, kind)
    except CheckpointError as error:
        return error
    return None
