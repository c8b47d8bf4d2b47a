"""The image processors of transformers (those that need Pillow only) give the same pictures."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import PIL
import pytest
from chiasm.kernels import image_to_tensor
from image_cases import pixels

pytest.importorskip("transformers", reason="transformers is the peer")
ORDER = "pillow" if int(PIL.__version__.partition(".")[0]) >= 13 else "across"
SIZES = [(360, 640), (640, 360), (1080, 1920), (1200, 300), (40, 33), (224, 224), (100, 900), (900, 101), (7, 300)]
PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("CLIPImageProcessorPil", {"filter": "bicubic"}),
    "siglip": ("SiglipImageProcessorPil", {"filter": "bicubic", "resize": "exact"}),
    "vit": ("ViTImageProcessorPil", {"filter": "bilinear", "resize": "exact"}),
    "deit": ("DeiTImageProcessorPil", {"filter": "bicubic", "resize": "exact"}),
}


def processor(model: str) -> Any:
    name = PROCESSORS[model][0]
    module = importlib.import_module(f"transformers.models.{model}.image_processing_pil_{model}")
    return getattr(module, name)(do_center_crop=model == "clip", size=_size(model))


def _size(model: str) -> dict[str, int]:
    return {"shortest_edge": 224} if model == "clip" else {"height": 224, "width": 224}


@pytest.mark.parametrize("model", sorted(PROCESSORS))
@pytest.mark.parametrize("size", SIZES)
def test_is_the_processors_picture(model: str, size: tuple[int, int]) -> None:
    """Byte for byte; normalised, as near as float32 is (they round after each step, we once)."""
    image = pixels(np.random.default_rng(size[0]), (*size, 3))
    theirs = processor(model)
    spec: dict[str, Any] = {**PROCESSORS[model][1], "order": ORDER}
    plain = theirs(image, do_rescale=False, do_normalize=False)["pixel_values"][0]
    grey = image_to_tensor(image, 224, 224, scale=1.0, dtype="uint8", **spec)
    assert np.array_equal(grey, plain)
    mean, std = theirs.image_mean, theirs.image_std
    ours = image_to_tensor(image, 224, 224, mean=mean, std=std, **spec)
    assert np.abs(ours - theirs(image)["pixel_values"][0]).max() < 2e-6
