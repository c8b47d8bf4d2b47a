"""What the checkpoint makers share: seeded weights, and the files of a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["labelled", "seeded", "write_json", "write_model"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's random numbers from `seed`, and as they were afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def labelled(labels: tuple[str, ...]) -> dict[str, Any]:
    """The keys of config.json that name the classes of a head."""
    return {"id2label": dict(enumerate(labels)), "label2id": {name: index for index, name in enumerate(labels)}}


def write_model(model: Any, folder: Path, **files: Mapping[str, Any]) -> None:
    """The weights in FP32 with their config.json, and JSON files by their stem."""
    from transformers.utils import logging

    folder.mkdir(parents=True, exist_ok=True)
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    for stem, values in files.items():
        write_json(folder / f"{stem}.json", values)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """A JSON file as the hub's are: two spaces, sorted keys."""
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
