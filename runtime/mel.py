"""The tensor that a sound becomes: its front end as the kernels know it, and its shape."""

from __future__ import annotations

import msgspec

from ..kernels import KernelError, MelSpec
from .errors import ManifestError
from .schema import AudioModality

__all__ = ["mel_spec", "sound_shape"]


def mel_spec(modality: AudioModality) -> MelSpec | None:
    """The log-mel front end of a modality; None where its encoder takes the waveform.

    Raises:
        ManifestError: constants that no front end can have.
    """
    if modality.mel is None:
        return None
    try:
        return MelSpec(sample_rate=modality.sample_rate, **msgspec.structs.asdict(modality.mel))
    except KernelError as error:
        raise ManifestError(
            f"manifest.json, modality {modality.name}, mel.{error.argument}", found=error.found, expected=error.expected
        ) from error


def sound_shape(modality: AudioModality) -> tuple[int, ...]:
    """The shape of an encoder's first input: (1, length) samples, or the log-mel of so many, behind its axes.

    Raises:
        ManifestError: as `mel_spec`.
    """
    length = modality.length or modality.samples
    spec = mel_spec(modality)
    if spec is None:
        return (1, length)
    shape = spec.shape(length)
    return (1, modality.crops, *shape) if modality.crops else (1, *shape)
