"""How much noise there is at each moment of a diffusion: alpha and sigma, and the timesteps that a sampler visits.

x_t = alpha_t·x0 + sigma_t·ε. In variance-preserving form (Ho et al., 2020) alpha² + sigma² = 1 and alpha_t² is the
running product of 1 − beta; in the form of Karras et al. (2022), where Euler's samplers live, alpha = 1.

The tables are rounded to float32 where diffusers rounds them: checkpoints were trained and distilled with those.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .errors import KernelError

__all__ = ["alphas_cumprod", "flow_sigmas", "lcm_timesteps", "spaced_timesteps"]

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

_LARGEST_BETA = 0.999
"""Of the squared cosine (Nichol and Dhariwal, 2021)."""


@lru_cache(maxsize=16)
def alphas_cumprod(kind: str, start: float, end: float, count: int, zero_snr: bool) -> Doubles:
    """(count,) products of 1 − beta up to each training timestep. `kind`: linear, scaled_linear, squaredcos_cap_v2.

    Raises:
        KernelError: an unknown kind, betas that leave no signal before the end, or no noise at the beginning.
    """
    betas = _betas(kind, start, end, count)
    with np.errstate(invalid="ignore", divide="ignore"):  # what comes of it is refused below
        if zero_snr:
            betas = _to_zero_snr(betas)
        table = np.cumprod((np.float32(1.0) - betas).astype(np.float64)).astype(np.float32).astype(np.float64)
    if not (table[0] < 1.0 and table[-2] > 0.0 and (zero_snr or table[-1] > 0.0)):
        raise KernelError("beta_end", found=f"betas from {start:g} to {end:g}",
                          expected="betas that leave some signal and some noise at every timestep")  # fmt: skip
    table.flags.writeable = False
    return table


def _betas(kind: str, start: float, end: float, count: int) -> Floats:
    if kind == "linear":
        return _line(start, end, count)
    if kind == "scaled_linear":
        return np.square(_line(math.sqrt(start), math.sqrt(end), count))
    if kind == "squaredcos_cap_v2":
        moments = (np.arange(count + 1) / count + 0.008) / 1.008 * (math.pi / 2)
        left = np.cos(moments) ** 2
        return np.asarray(np.minimum(1.0 - left[1:] / left[:-1], _LARGEST_BETA), np.float32)
    raise KernelError("beta_schedule", found=kind, expected="linear, scaled_linear or squaredcos_cap_v2")


def _line(start: float, end: float, count: int) -> Floats:
    """(count,) evenly spaced, bit for bit as torch.linspace: a float32 pace, taken from both ends, rounded once."""
    first, last = np.float64(np.float32(start)), np.float64(np.float32(end))
    pace = np.float64(np.float32(last - first) / np.float32(max(count - 1, 1)))
    index = np.arange(count)
    line = np.where(index < count // 2, first + pace * index, last - pace * (count - 1 - index))
    return np.asarray(line, np.float32)


def _to_zero_snr(betas: Floats) -> Floats:
    """Betas that end in pure noise (Lin et al., 2023, algorithm 1)."""
    roots = np.sqrt(np.cumprod((np.float32(1.0) - betas).astype(np.float64)).astype(np.float32))
    first, last = roots[0], roots[-1]
    roots = (roots - last) * (first / (first - last))
    products = roots * roots
    alphas = np.concatenate([products[:1], products[1:] / products[:-1]])
    return np.asarray(np.float32(1.0) - alphas, np.float32)


def spaced_timesteps(spacing: str, steps: int, count: int, offset: int) -> Doubles:
    """(steps,) falling timesteps of `count`, not rounded where they are between two (linspace).

    `spacing`: leading, trailing or linspace, as in table 2 of Lin et al. (2023).
    """
    if spacing == "linspace":
        return np.linspace(0, count - 1, steps, dtype=np.float64)[::-1]
    if spacing == "leading":
        return np.arange(steps, dtype=np.float64)[::-1] * (count // steps) + offset
    if spacing == "trailing":
        return np.asarray(np.round(np.arange(count, 0, -count / steps))[:steps] - 1.0)
    raise KernelError("timestep_spacing", found=spacing, expected="leading, trailing or linspace")


def lcm_timesteps(steps: int, count: int, original: int, strength: float) -> Doubles:
    """(steps,) spread over the last `strength` of the `original` timesteps of a distillation (Luo et al., 2023)."""
    if not 1 <= original <= count:
        raise KernelError("original_inference_steps", found=original, expected=f"1 to {count}")
    kept = int(original * strength)
    if steps > kept:
        raise KernelError("steps", found=steps, expected=f"at most {kept} of {original} steps at strength {strength:g}")
    chosen = np.floor(np.linspace(0, kept, steps, endpoint=False)).astype(np.int64)
    return (np.arange(kept, 0, -1, dtype=np.float64) * (count // original) - 1.0)[chosen]


def flow_sigmas(steps: int, count: int, shift: float) -> Doubles:
    """(steps,) falling noise levels of a rectified flow, shifted towards noise (Esser et al., 2024, section 5.3.2).

    The lowest level is shifted twice, as diffusers does: once for the table, once for the steps.
    """
    low, high = (float(np.float32(_shifted(level, shift))) for level in (1.0 / count, 1.0))
    levels = np.linspace(high * count, low * count, steps) / count
    return _shifted(levels, shift).astype(np.float32).astype(np.float64)


def _shifted(sigma: float | Doubles, shift: float) -> Doubles:
    return np.asarray(shift * sigma / (1.0 + (shift - 1.0) * sigma), np.float64)
