"""Samplers of the latent flow, in torch: what training and evaluation use.

The flow: x_t = (1 − t)·x_0 + t·noise, velocity v = noise − x_0, so x_0 = x_t − t·v; t = 1 is pure noise.

**Few steps** (the shipped, distilled denoiser; the runtime repeats exactly this in NumPy)::

    x = noise[0]
    for i, t in enumerate(timesteps):                    # e.g. 1.0, 0.75, 0.5, 0.25
        v  = denoiser(x, t, state, guidance)
        x0 = x − t·v
        x  = x0 if t is the last else (1 − t_next)·x0 + t_next·noise[i + 1]

every noise[i] a fresh standard normal of the latents' shape (multistep consistency sampling: Song et al. 2023; Luo
et al. 2023). The last x0 are the normalised latents that `picture` turns into the picture.

**Many steps** (the teacher): the probability-flow equation dx/dt = v from t = 1 to 0 by Heun's method, with
classifier-free guidance v = v_null + guidance·(v_state − v_null), v_null being the velocity for the zero state (Ho
& Salimans 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["TIMESTEPS", "few_steps", "fresh_noise", "guided", "many_steps", "renoise"]

TIMESTEPS: dict[str, list[float]] = {"1": [1.0], "2": [1.0, 0.5], "4": [1.0, 0.75, 0.5, 0.25]}
"""Times of the few-step sampler by number of steps; written to the checkpoint's config.json."""


def renoise(x0: Tensor, noise: Tensor, t: Tensor | float) -> Tensor:
    """The point of the flow at time ``t`` (scalar or (B,)) between ``x0`` and ``noise``, both (B, C, h, w)."""
    at = t.view(-1, 1, 1, 1) if isinstance(t, Tensor) else t
    return (1 - at) * x0 + at * noise


def fresh_noise(steps: int, shape: Sequence[int], seed: int) -> Tensor:
    """One standard normal per step, (steps, *shape), from a generator of its own."""
    return torch.randn((steps, *shape), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def few_steps(
    denoiser: nn.Module, state: Tensor, noise: Tensor, timesteps: Sequence[float], guidance: float
) -> Iterator[Tensor]:
    """Yield the clean latents (B, C, h, w) that each step of the few-step sampler believes in.

    ``state`` (B, S); ``noise`` (len(timesteps), B, C, h, w); the formula stands at the head of this module.
    Raises ``ValueError`` when there is not one noise per step.
    """
    if len(noise) != len(timesteps):
        raise ValueError(f"found {len(noise)} noises, expected one for each of the {len(timesteps)} steps")
    x = noise[0]
    scale = torch.full((len(state),), float(guidance), device=state.device)
    for index, t in enumerate(timesteps):
        x0 = x - t * denoiser(x, torch.full_like(scale, t), state, scale).float()
        yield x0
        if index + 1 < len(timesteps):
            x = renoise(x0, noise[index + 1], timesteps[index + 1])


def guided(teacher: nn.Module, x: Tensor, t: Tensor, state: Tensor, guidance: Tensor) -> Tensor:
    """The teacher's velocity with classifier-free guidance, ``t`` and ``guidance`` (B,): one pass, twice the batch."""
    both = teacher(
        torch.cat((x, x)), t.repeat(2), torch.cat((state, torch.zeros_like(state))), torch.ones_like(t).repeat(2)
    )
    known, null = both.float().chunk(2)
    velocity: Tensor = null + guidance.view(-1, 1, 1, 1) * (known - null)
    return velocity


@torch.no_grad()
def many_steps(
    teacher: nn.Module, state: Tensor, noise: Tensor, steps: int, guidance: Tensor, *, heun: bool = True
) -> Iterator[Tensor]:
    """Yield x at every time of an even grid from 1 to 0 (the noise first, the clean latents last), each (B, C, h,
    w).
    """
    times = torch.linspace(1, 0, steps + 1).tolist()
    x = noise
    yield x
    for now, then in pairwise(times):
        here = guided(teacher, x, torch.full_like(guidance, now), state, guidance)
        guess = x + (then - now) * here
        if heun and then > 0:
            there = guided(teacher, guess, torch.full_like(guidance, then), state, guidance)
            guess = x + (then - now) * 0.5 * (here + there)
        x = guess
        yield x
