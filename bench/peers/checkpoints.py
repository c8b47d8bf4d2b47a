"""Checkpoints that only the races need: CLIP with patches of 16."""

from __future__ import annotations

import json
from pathlib import Path

from ..zoo import Model, Size
from ..zoo.pairs import MODELS as PAIRS

__all__ = ["MODELS"]


def _clip_b16(folder: Path, size: Size, seed: int = 0) -> None:
    """CLIP ViT-B/16: the pair as the zoo makes it, with the picture's tower made anew. The real text tower is 512 wide,
    as that of ViT-B/32, so that only the patches differ.
    """
    import transformers

    from ..zoo._write import seeded, write_model

    PAIRS["clip"].make(folder, size, seed)
    config = transformers.CLIPConfig.from_pretrained(folder)
    config.vision_config.patch_size = 16 if size == "real" else 4
    files = {"preprocessor_config": json.loads((folder / "preprocessor_config.json").read_text())}
    with seeded(seed + 1):
        write_model(transformers.CLIPModel(config), folder, **files)


MODELS = {"clip-b16": Model("clip-b16", "clip", ("image", "text"), _clip_b16)}
