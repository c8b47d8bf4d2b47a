"""Sound → the window of an audio encoder: its last samples, checked, padded and normalised as the manifest says."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..manifest import AudioModality
from ..values import Array
from ._checks import as_array, described, output

__all__ = ["LOUDEST", "heard", "normalised", "padded", "waveform_tensor"]

LOUDEST = 1.5
"""Samples beyond ±1.5 are a matter of scale, not of loudness: resamplers overshoot ±1 a little, nothing by half."""

_TINY = 1e-7
"""Added to the variance of a sound: silence stays silence."""


def waveform_tensor(
    waveform: Any,
    sample_rate: int | None,
    modality: AudioModality,
    *,
    out: Array | None = None,
    mask: Array | None = None,
) -> Array:
    """Floats (N,) in [-1, 1] → float32 (1, length): the last `samples`, padded and normalised as the modality says.

    `sample_rate` in Hz must be the manifest's; None is taken as that. `out`: where to write, of the same shape; `mask`:
    int64 of that shape, which gets 1 where there is sound and 0 in the padding after it.

    Raises:
        InputError: integers, several channels, empty, another sample rate, NaN, infinite or beyond ±1.5.
    """
    window = heard(waveform, sample_rate, modality)
    length = modality.length or modality.samples
    out = output(out, (1, length), np.float32)
    if modality.normalise == "sound":
        window = normalised(window)
    padded(window, modality.pad, out[0])
    if modality.normalise == "length":
        out[0] = normalised(out[0])
    if mask is not None:
        mask[0, : len(window)] = 1
        mask[0, len(window) :] = 0
    return out


def heard(waveform: Any, sample_rate: int | None, modality: AudioModality) -> Array:
    """The last `samples` of a sound, or all of a shorter one, after every check of `waveform_tensor`."""
    name = modality.name
    sound = as_array(name, waveform, "float32 of shape (N,) in [-1, 1]")
    _check_layout(name, sound)
    if sample_rate is not None and sample_rate != modality.sample_rate:
        raise InputError(
            f"{name} has the wrong sample rate",
            found=f"{sample_rate} Hz",
            expected=f"{modality.sample_rate} Hz",
            fix="Resample it first; sources opened by chiasm do so themselves",
        )
    window = sound[-modality.samples :]
    _check_range(name, window)
    return window


def padded(window: Array, pad: str, out: Array) -> None:
    """A sound (N,) into `out` (length,), N ≤ length, with what `AudioModality.pad` puts before, after or between."""
    length, size = len(out), len(window)
    if pad == "before":
        out[: length - size] = 0.0
        out[length - size :] = window
        return
    end = {"repeat": length, "repeat-whole": length // size * size}.get(pad, size)
    out[:size] = window
    while size < end:  # twice as much each time
        count = min(size, end - size)
        out[size : size + count] = out[:count]
        size += count
    out[end:] = 0.0


def normalised(sound: Array) -> Array:
    """Zero mean and unit variance, in float32 throughout: to the bit what Wav2Vec2FeatureExtractor makes."""
    sound = np.asarray(sound, np.float32)
    result: Array = (sound - sound.mean()) / np.sqrt(sound.var() + np.float32(_TINY))
    return result


def _check_layout(name: str, sound: Array) -> None:
    expected = "float32 of shape (N,) in [-1, 1]"
    if sound.size == 0:
        raise InputError(f"{name} is empty", found=described(sound), expected=expected)
    if sound.dtype.kind != "f":
        peak = {"int16": "32768", "int32": "2147483648", "int8": "128"}.get(sound.dtype.name)
        fix = f"Integer samples need scaling: waveform.astype(np.float32) / {peak}" if peak else None
        raise InputError(f"{name} is not in floating point", found=described(sound), expected=expected, fix=fix)
    if sound.ndim != 1:
        axis = None if sound.ndim != 2 else int(np.argmin(sound.shape))
        fix = None if axis is None else f"Mix the channels to one: waveform.mean(axis={axis})"
        raise InputError(f"{name} is not one channel", found=described(sound), expected=expected, fix=fix)


def _check_range(name: str, window: Array) -> None:
    low, high = float(window.min()), float(window.max())  # NaN goes through both
    if low >= -LOUDEST and high <= LOUDEST:
        return
    if not np.isfinite(window).all():
        bad = int(window.size - np.isfinite(window).sum())
        raise InputError(f"{name} has NaN or infinite samples", found=f"{bad} of {window.size}", expected="none")
    raise InputError(
        f"{name} is outside the range of a waveform",
        found=f"samples from {low:.6g} to {high:.6g}",
        expected="[-1, 1]",
        fix="If it came from int16 samples, divide it by 32768",
    )
