"""The sampler's arithmetic in NumPy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["denoise_step", "denoise_step_fresh", "latent_to_image", "normal_noise"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Words = NDArray[np.uint64]


def denoise_step(
    x: Floats,
    prediction: Floats,
    unconditional: Floats | None,
    guidance: float,
    clean_x: float,
    clean_p: float,
    next_x: float,
    next_clean: float,
    noise_scale: float,
    noise: Floats | None,
    out: Floats,
    clean_out: Floats | None,
) -> None:
    """p = u + guidance·(prediction − u), x0 = clean_x·x + clean_p·p, x' = next_x·x + next_clean·x0 + noise_scale·noise.

    Each operation is rounded to float32, none is fused. Without u or noise their terms are left out, not taken as zero.
    """
    if unconditional is not None:
        prediction = unconditional + np.float32(guidance) * (prediction - unconditional)
    clean = np.float32(clean_x) * x + np.float32(clean_p) * prediction
    following = np.float32(next_x) * x + np.float32(next_clean) * clean
    if noise is not None:
        following = following + np.float32(noise_scale) * noise
    out[...] = following
    if clean_out is not None:
        clean_out[...] = clean


def denoise_step_fresh(
    x: Floats,
    prediction: Floats,
    unconditional: Floats | None,
    guidance: float,
    clean_x: float,
    clean_p: float,
    next_x: float,
    next_clean: float,
    noise_scale: float,
    low: int,
    high: int,
    step: int,
    out: Floats,
    clean_out: Floats | None,
) -> None:
    """As `denoise_step`, with the noise of `normal_noise`."""
    noise = np.empty_like(x)
    normal_noise(low, high, step, noise)
    denoise_step(
        x, prediction, unconditional, guidance, clean_x, clean_p, next_x, next_clean, noise_scale, noise, out, clean_out
    )


def latent_to_image(picture: Floats, shift: float, scale: float, blue_first: bool, out: Bytes) -> bool:
    """float32 (3, H, W) → uint8 (H, W, 3): (x + shift)·scale, clamped, halves to even. False when a value is NaN."""
    if np.isnan(picture).any():
        return False
    with np.errstate(over="ignore"):  # infinity is clamped too
        grey = np.clip((picture + np.float32(shift)) * np.float32(scale), np.float32(0.0), np.float32(255.0))
    out[...] = np.rint(grey).astype(np.uint8)[:: -1 if blue_first else 1].transpose(1, 2, 0)
    return True


def normal_noise(low: int, high: int, step: int, out: Floats) -> None:
    """Standard normal numbers that any backend can make again, bit for bit.

    Philox 4x64-10 (Salmon et al., 2011) with the key words (low, high). Block b = 1, 2, … has the counter words
    (b, 0, 0, step) and gives four 64-bit words, in order; NumPy's `Philox.random_raw` is this stream. Each pair of
    words r, s: u = ((r >> 11) + 1)·2^-53 in (0, 1], w = (s >> 11)·2^-53 in [0, 1). Box–Muller in float64:
    sqrt(−2 ln u)·cos(2πw), then the same with sin, each rounded to float32. An odd size drops the last sine.
    Logarithm, cosine and sine are the series below, and not the machine's: those differ in the last bit.
    """
    pairs = (out.size + 1) // 2
    raw = np.random.Philox(key=high << 64 | low, counter=step << 192).random_raw(2 * pairs)
    words = np.asarray(raw, np.uint64).reshape(pairs, 2) >> np.uint64(11)
    radius = np.sqrt(-2.0 * _logarithm((words[:, 0] + np.uint64(1)).astype(np.float64) * 2.0**-53))
    cosine, sine = _circle(words[:, 1].astype(np.float64) * (2.0**-53 * 2.0 * math.pi))
    normal = np.stack([radius * cosine, radius * sine], axis=1).astype(np.float32)
    out[...] = normal.reshape(-1)[: out.size].reshape(out.shape)


_ROOT_HALF = np.float64(math.sqrt(0.5)).view(np.uint64)
_BIAS = np.uint64(1024)
_EXPONENT = np.uint64(52)


def _logarithm(u: Doubles) -> Doubles:
    """ln u for u in (0, 1]: u = 2^k·m with m in [sqrt(½), sqrt(2)), ln m = 2·artanh((m − 1)/(m + 1)) by its series."""
    bits = u.view(np.uint64)
    octave = (bits - _ROOT_HALF + (_BIAS << _EXPONENT)) >> _EXPONENT  # k + 1024; whole numbers wrap around on the way
    m = (bits - ((octave - _BIAS) << _EXPONENT)).view(np.float64)
    f = m - 1.0
    s = f / (f + 2.0)
    z, t = s * s, s + s
    p = _horner(z, [1.0 / odd for odd in range(21, 1, -2)])
    k = octave.astype(np.float64) - 1024.0
    return np.asarray(k * math.log(2.0) + (t + t * (z * p)))


_QUARTER = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
"""π/2 in three parts; the first two have 33 bits, so that a few times them is exact."""
_COUNT = 1.5 * 2.0**52
"""Added to a small number it leaves the nearest whole number in the last bits."""


def _circle(angle: Doubles) -> tuple[Doubles, Doubles]:
    """(cos, sin) of angles in [0, 2π]: the nearest quarter turn is taken off, the rest goes through Taylor's series."""
    shifted = angle * (2.0 / math.pi) + _COUNT
    n = shifted - _COUNT
    r = ((angle - n * _QUARTER[0]) - n * _QUARTER[1]) - n * _QUARTER[2]
    z = r * r
    p = _horner(z, [(-1.0) ** (odd // 2) / math.factorial(odd) for odd in range(17, 1, -2)])
    q = _horner(z, [(-1.0) ** (even // 2) / math.factorial(even) for even in range(16, 2, -2)])
    sine, cosine = r + r * (z * p), 1.0 - (z * 0.5 - (z * z) * q)
    quarter = shifted.view(np.uint64) & np.uint64(3)
    odd = (quarter & np.uint64(1)).astype(bool)
    across, up = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
    left, below = (quarter == 1) | (quarter == 2), quarter >= 2
    return np.where(left, -across, across), np.where(below, -up, up)


def _horner(z: Doubles, coefficients: list[float]) -> Doubles:
    total = np.full_like(z, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * z + coefficient
    return total
