"""Spaces that encoders share: which modalities can be compared, by what, and which bundle an embedding is of."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .manifest import Manifest, Space, TextModality, encode

__all__ = ["digest", "probabilities", "space_of", "text_of", "unit"]


def digest(manifest: Manifest) -> str:
    """SHA-256 of what a manifest says, which names every file of its bundle by its hash."""
    return hashlib.sha256(encode(manifest)).hexdigest()


def space_of(manifest: Manifest, *modalities: str) -> tuple[str, Space]:
    """The name and the facts of the space that all of these modalities are in; `InputError` says what there is."""
    for name, space in manifest.spaces.items():
        if set(modalities) <= set(space.modalities):
            return name, space
    found = [f"{name} ({', '.join(space.modalities)})" for name, space in manifest.spaces.items()]
    raise InputError(
        f"This bundle has no space that {' and '.join(modalities) or 'modalities'} share",
        found="; ".join(found) or "none", expected="a bundle of a pair such as CLIP, SigLIP or CLAP",
    )  # fmt: skip


def text_of(manifest: Manifest, space: Space) -> str:
    """The modality of a space that is text; `InputError` where none is."""
    texts = {each.name for each in manifest.modalities if isinstance(each, TextModality)}
    for name in space.modalities:
        if name in texts:
            return name
    raise InputError(
        "No modality of this space is text", found=", ".join(space.modalities), expected="one to read labels with"
    )


def probabilities(space: Space, cosines: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosines (L,) with L candidates → probabilities (L,): of sum 1 with softmax, each by itself with sigmoid."""
    logits = space.scale * cosines.astype(np.float64) + space.bias
    if space.link == "sigmoid":
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The last axis brought to unit length."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, np.float32(1e-12)), np.float32)
