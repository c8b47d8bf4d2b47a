"""A whole checkpoint for tests: the reference model's kinds of modules, a few channels wide, random but seeded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bundle_graphs import HAZARDS, OBJECTS, WEATHERS
from bundles import tokenizer_json

KINDS = ("late", "gated")
_THIRD = [0.5, 0.5, 0.5]


def small_config(decoder: bool = True) -> dict[str, Any]:
    """config.json as plain values."""
    modules: dict[str, dict[str, Any]] = {
        "image": {"kind": "image_cnn", "channels": [4, 6, 8, 8]},
        "text": {"kind": "text_transformer", "vocabulary": 64, "length": 32, "layers": 1, "heads": 2, "hidden": 16},
        "audio": {"kind": "audio_cnn", "channels": [8, 8, 8]},
        "radar": {"kind": "radar_cnn", "channels": [8, 8, 8]},
        "heads": {"kind": "heads", "hidden": 8},
        **{f"fuse.{kind}": {"kind": kind, "width": 16} for kind in KINDS},
    }
    common = {"rate_hz": 10.0, "max_age_s": 2.0}
    config: dict[str, Any] = {
        "format": "chiasm-checkpoint",
        "version": 1,
        "model": {"name": "small", "version": "0", "licence": "Apache-2.0", "description": "random weights, for tests"},
        "order": ["image", "text", "audio", "radar"],
        "state": 256,
        "modalities": {
            "image": {**common, "kind": "image", "part": "image", "tokens": [16, 128], "height": 64, "width": 64,
                      "resize": "shortest-edge", "filter": "area", "crop": "centre", "scale": 1 / 255, "mean": _THIRD,
                      "std": _THIRD},
            "text": {**common, "kind": "text", "part": "text", "tokens": [8, 128], "tokenizer": "tokenizer.json",
                     "length": 32, "pad_id": 0},
            "audio": {**common, "kind": "audio", "part": "audio", "tokens": [8, 128], "sample_rate": 16000,
                      "samples": 16000},
            "radar": {**common, "kind": "series", "part": "radar", "tokens": [8, 128], "frames": 32, "channels": 32,
                      "sample_rate": 20.0, "mean": 0.0, "std": 1.0},
        },
        "fusion": {"kinds": {kind: f"fuse.{kind}" for kind in KINDS}, "default": "late"},
        "heads": {
            "embedding": {"kind": "embedding"},
            "hazard": {"kind": "classes", "labels": list(HAZARDS)},
            "weather": {"kind": "classes", "labels": list(WEATHERS)},
            "object": {"kind": "classes", "labels": list(OBJECTS)},
        },
        "modules": modules,
    }  # fmt: skip
    if decoder:
        modules["denoiser"] = {"kind": "denoiser", "width": 16, "depth": 1, "heads": 2}
        modules["picture"] = {"kind": "picture_decoder", "widths": [8, 8, 8]}
        config |= {
            "latent": {"channels": 8, "size": 8},
            "picture": {"height": 64, "width": 64},
            "decoder": {"denoiser": "denoiser", "pictures": {"full": "picture"}, "default": "full",
                        "schedule": {"kind": "flow-consistency", "prediction_type": "flow",
                                     "times": [[1.0], [1.0, 0.5]]},
                        "steps": [1, 2], "default_steps": 2, "guidance": 2.0, "guidance_range": [1.0, 4.0]},
        }  # fmt: skip
    return config


def small_checkpoint(
    folder: Path, *, decoder: bool = True, mutate: Callable[[dict[str, Any]], object] | None = None
) -> Path:
    """Write a checkpoint into `folder`. Needs torch. `mutate` edits config.json after the weights are made."""
    import torch
    from chiasm.export.weights import build_module
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = small_config(decoder)
    for index, (part, entry) in enumerate(config["modules"].items()):
        torch.manual_seed(index)
        module = build_module(part, entry)
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() and not tensor.any():
                tensor.normal_(std=0.05)
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
        tensors = module.state_dict()
        half = {name: each.half() if each.is_floating_point() else each for name, each in tensors.items()}
        save_file({name: each.contiguous().clone() for name, each in half.items()}, folder / f"{part}.safetensors")
    if mutate is not None:
        mutate(config)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_bytes(tokenizer_json())
    return folder
