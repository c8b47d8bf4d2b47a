"""Sound → the log-mel features of an audio encoder, by the kernel `log_mel`: padding, frames and crops around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels import MelSpec, log_mel
from ..manifest import AudioModality
from ..mel import mel_spec, sound_shape
from ..values import Array
from ._checks import output
from .audio import heard, normalised, padded

__all__ = ["mel_tensor"]


def mel_tensor(
    waveform: Any,
    sample_rate: int | None,
    modality: AudioModality,
    *,
    spec: MelSpec | None = None,
    out: Array | None = None,
) -> Array:
    """Floats (N,) in [-1, 1] → float32 of `sound_shape(modality)`: the log-mel of the last `samples`.

    `spec`: the modality's front end, where the caller keeps it. `out`: where to write, of the same shape.

    Raises:
        InputError: as `waveform_tensor`.
    """
    spec = spec or mel_spec(modality)
    assert spec is not None, "the modality has no mel"
    out = output(out, sound_shape(modality), np.float32)
    window = np.ascontiguousarray(heard(waveform, sample_rate, modality), np.float32)
    length = modality.length or modality.samples
    if modality.normalise == "sound":
        window = normalised(window)
    first = out[0, 0] if modality.crops else out[0]
    if modality.pad == "frames":
        _with_empty_frames(window, spec, first)
    elif len(window) > length:
        _crops(log_mel(window, spec), out[0])
        return out
    else:
        whole = np.empty(length, np.float32)
        padded(window, modality.pad, whole)
        if modality.normalise == "length":
            whole = normalised(whole)
        log_mel(whole, spec, out=first)
    if modality.crops > 1:
        out[0, 1:] = first
    return out


def _with_empty_frames(window: Array, spec: MelSpec, out: Array) -> None:
    """The frames of a sound, then frames of zero before mean and std."""
    by_frame = out.T if spec.layout == "mels-first" else out
    count = spec.frames(len(window))
    if count:
        made = log_mel(window, spec)
        by_frame[:count] = made.T if spec.layout == "mels-first" else made
    by_frame[count:] = np.float32(-spec.mean) / np.float32(spec.std)


def _crops(mel: Array, out: Array) -> None:
    """Frames (T, M) of a long sound → (4, F, M): all of it squeezed, then the middle of each third of what can be cut.

    Where the sound is longer by less than a frame there is nothing to cut: four times the same. The extractor of CLAP
    draws the three cuts by chance; the squeeze is bilinear over time, without antialiasing, as there.
    """
    count = out.shape[1]
    if len(mel) == count:
        out[...] = mel
        return
    place = np.maximum((np.arange(count) + 0.5) * (len(mel) / count) - 0.5, 0.0)
    low = place.astype(np.int64)
    share = (place - low).astype(np.float32)[:, None]
    out[0] = mel[low] * (1 - share) + mel[np.minimum(low + 1, len(mel) - 1)] * share
    for channel, starts in enumerate(np.array_split(np.arange(len(mel) - count + 1), 3), 1):
        start = int(starts[len(starts) // 2]) if len(starts) else 0
        out[channel] = mel[start : start + count]
