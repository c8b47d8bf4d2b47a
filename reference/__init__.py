"""The small model that ships with the repository: scene generator, training, weights, bundle."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BUNDLE", "CHECKPOINT"]

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""Folder of the trained weights (safetensors), `config.json`, `tokenizer.json` and the model card."""

BUNDLE = Path(__file__).parent / "bundle"
"""Folder of the exported bundle; every command takes the word `reference` for it."""
