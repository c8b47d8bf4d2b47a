"""The sampler's arithmetic in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["denoise_step", "latent_to_image", "normal_noise"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def denoise_step(x: Floats, velocity: Floats, noise: Floats, t: float, t_next: float, out: Floats) -> None:
    """x0 = x − t·v; out = (1 − t_next)·x0 + t_next·noise. Each operation is rounded to float32, none is fused."""
    start = x - np.float32(t) * velocity
    clean = np.float32(1.0) - np.float32(t_next)
    np.add(clean * start, np.float32(t_next) * noise, out=out)


def latent_to_image(picture: Floats, out: Bytes) -> bool:
    """float32 (3, H, W) → uint8 (H, W, 3): (x + 1)·127.5, clamped, halves to even. False when a value is NaN."""
    if np.isnan(picture).any():
        return False
    grey = np.clip((picture + np.float32(1.0)) * np.float32(127.5), np.float32(0.0), np.float32(255.0))
    out[...] = np.rint(grey).astype(np.uint8).transpose(1, 2, 0)
    return True


def normal_noise(seed: int, step: int, shape: tuple[int, ...]) -> Floats:
    """Standard normal numbers that any backend can make again.

    Philox 4x64-10 (Salmon et al., 2011) with the key words (seed mod 2^64, seed div 2^64). Block b = 1, 2, … has the
    counter words (b, 0, 0, step) and gives four 64-bit words, in order; NumPy's `Philox.random_raw` is this stream.
    Each pair of words r, s: u = ((r >> 11) + 1)·2^-53 in (0, 1], w = (s >> 11)·2^-53 in [0, 1). Box–Muller in
    float64: sqrt(−2 ln u)·cos(2πw), then the same with sin, each rounded to float32. An odd size drops the last sine.
    """
    size = int(np.prod(shape, dtype=np.int64))
    pairs = (size + 1) // 2
    raw = np.random.Philox(key=seed, counter=step << 192).random_raw(2 * pairs)
    words = np.asarray(raw, np.uint64).reshape(pairs, 2) >> np.uint64(11)
    radius = np.sqrt(-2.0 * np.log((words[:, 0].astype(np.float64) + 1.0) * 2.0**-53))
    angle = words[:, 1].astype(np.float64) * (2.0**-53 * 2.0 * np.pi)
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return normal.reshape(-1)[:size].astype(np.float32).reshape(shape)
