"""The log-mel front end in NumPy, in float64 up to the logarithm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mel", "mel_frames", "mel_level"]

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Mel:
    """A `MelSpec` with its tables (`kernels/mel.py`). The result is log_factor · ln(max(floor, ·))."""

    fft_size: int
    hop: int
    window: Doubles
    first: Ints
    count: Ints
    weight: Doubles
    gain: float
    remove_dc: bool
    preemphasis: float
    amplitude: bool
    floor: float
    log_factor: float


def mel_frames(mel: Mel, waveform: Floats, start: int, mels_first: bool, threads: int, out: Floats) -> bool:
    """Frame t begins at sample `start` + t · hop; samples before the first and after the last are mirrored about these.

    `out` is (mels, frames) or (frames, mels). False when a sample is NaN or infinite.
    """
    rows = out.T if mels_first else out
    length = len(mel.window)
    at = np.abs(start + np.arange(len(rows))[:, None] * mel.hop + np.arange(length))
    at = np.minimum(at, 2 * (len(waveform) - 1) - at)
    frames = waveform[at].astype(np.float64) * mel.gain
    if not np.isfinite(frames).all():
        return False
    if mel.remove_dc:
        frames -= frames.mean(axis=1, keepdims=True)
    frames = frames - mel.preemphasis * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    magnitude = np.abs(np.fft.rfft(frames * mel.window, mel.fft_size))
    power = magnitude if mel.amplitude else magnitude**2
    bank = np.zeros((rows.shape[1], power.shape[1]))
    at_weight = 0
    for m, (first, count) in enumerate(zip(mel.first, mel.count, strict=True)):
        bank[m, first : first + count] = mel.weight[at_weight : at_weight + count]
        at_weight += count
    rows[...] = np.log(np.maximum(mel.floor, power @ bank.T)) * mel.log_factor
    return True


def mel_level(values: Floats, reach: float, mean: float, std: float) -> None:
    """In place: (max(value, greatest − reach) − mean) / std, each operation rounded to float32."""
    if np.isfinite(reach):
        np.maximum(values, values.max() - np.float32(reach), out=values)
    np.divide(values - np.float32(mean), np.float32(std), out=values)
