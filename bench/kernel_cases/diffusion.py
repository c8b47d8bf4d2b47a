"""A sampler's step, its noise, and the picture at the end, beside diffusers' schedulers on torch and plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels import Schedule, Step, denoise_step, latent_to_image, normal_noise, plan_steps, reference
from . import Call, Case, absences

__all__ = ["cases"]

SHAPE = (1, 4, 64, 64)
"""Latents of a picture of 512 × 512."""
PICTURE = (3, 512, 512)
TORCH = {"diffusers": "diffusers", "torch": "torch"}


def cases() -> list[Case]:
    """Steps of LCM and DDIM, noise alone, and bytes."""
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(SHAPE).astype(np.float32) for _ in range(4)]
    return [_lcm(arrays), _fresh(arrays), _guided(arrays), _noise(), _picture(random)]


def _first(kind: Any) -> Step:
    return plan_steps(Schedule(kind=kind, prediction_type="epsilon"), 4).steps[0]


def _numpy(arrays: list[np.ndarray[Any, Any]], step: Step, *, guided: bool) -> Call:
    x, prediction, noise, other = arrays
    out = np.empty_like(x)
    weights = (3.0, step.clean_x, step.clean_p, step.next_x, step.next_clean, step.noise)
    given = noise if step.noise else None
    return lambda: reference.denoise_step(x, prediction, other if guided else None, *weights, given, out, None)


def _lcm(arrays: list[np.ndarray[Any, Any]]) -> Case:
    x, prediction, noise, _ = arrays
    step, out = _first("lcm"), np.empty_like(x)
    peers = {"NumPy": _numpy(arrays, step, guided=False)} | _scheduler("LCMScheduler", arrays, noise=noise)
    return Case(
        name="denoise_step, LCM, 4×64×64, noise given",
        ours=lambda: denoise_step(x, prediction, noise, step, out=out),
        peers=peers,
        bytes_moved=4 * x.nbytes,
        absent=absences({"diffusers": "diffusers"}),
        wanted={"diffusers": 8.0},
    )


def _fresh(arrays: list[np.ndarray[Any, Any]]) -> Case:
    x, prediction, _, _ = arrays
    step, out = _first("lcm"), np.empty_like(x)
    return Case(
        name="denoise_step, LCM, 4×64×64, fresh noise",
        ours=lambda: denoise_step(x, prediction, (7, 1), step, out=out),
        peers=_scheduler("LCMScheduler", arrays),
        bytes_moved=3 * x.nbytes,
        note="ours is Philox, in float64 until the end: the same bits on every machine",
        absent=absences({"diffusers": "diffusers"}),
    )


def _guided(arrays: list[np.ndarray[Any, Any]]) -> Case:
    x, prediction, _, other = arrays
    step, out, clean = _first("ddim"), np.empty_like(x), np.empty_like(x)
    return Case(
        name="denoise_step, guidance and DDIM, 4×64×64, x0 kept",
        ours=lambda: denoise_step(
            x, prediction, None, step, unconditional=other, guidance=3.0, out=out, clean_out=clean
        ),
        peers={"NumPy": _numpy(arrays, step, guided=True)} | _scheduler("DDIMScheduler", arrays, guided=True),
        bytes_moved=5 * x.nbytes,
        absent=absences({"diffusers": "diffusers"}),
        wanted={"diffusers": 8.0},
    )


def _scheduler(
    name: str, arrays: list[np.ndarray[Any, Any]], *, noise: np.ndarray[Any, Any] | None = None, guided: bool = False
) -> dict[str, Call]:
    """One step of a scheduler of diffusers, on torch with as many threads as it takes; none where it is absent."""
    if absences(TORCH):
        return {}
    import sys

    import torch
    from diffusers import schedulers

    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = getattr(schedulers, name)(**betas, clip_sample=False)
    scheduler.set_timesteps(4)
    module, time = sys.modules[type(scheduler).__module__], scheduler.timesteps[0]
    draw: Any = vars(module)["randn_tensor"]
    x, prediction, _, other = map(torch.from_numpy, arrays)
    given = None if noise is None else torch.from_numpy(noise)

    def step() -> object:
        scheduler._step_index = 0
        mixed = other + 3.0 * (prediction - other) if guided else prediction
        if given is None:
            return scheduler.step(mixed, time, x, return_dict=False)
        module.randn_tensor = lambda *_, **__: given  # type: ignore[attr-defined]
        try:
            return scheduler.step(mixed, time, x, return_dict=False)
        finally:
            module.randn_tensor = draw  # type: ignore[attr-defined]

    return {"diffusers": step}


def _noise() -> Case:
    out = np.empty(SHAPE, np.float32)
    generator = np.random.default_rng(0)
    peers: dict[str, Call] = {"NumPy default_rng": lambda: generator.standard_normal(SHAPE, np.float32)}
    if not absences({"torch": "torch"}):
        import torch

        peers["torch.randn"] = lambda: torch.randn(SHAPE)
    return Case(
        name="normal_noise, 4×64×64",
        ours=lambda: normal_noise(7, 1, SHAPE, out=out),
        peers=peers,
        bytes_moved=out.nbytes,
        note="of these only ours gives the same bits on every machine",
        absent=absences({"torch.randn": "torch"}),
    )


def _picture(random: np.random.Generator) -> Case:
    picture = random.uniform(-1.1, 1.1, PICTURE).astype(np.float32)
    out = np.empty((*PICTURE[1:], 3), np.uint8)
    peers: dict[str, Call] = {"NumPy": lambda: reference.latent_to_image(picture, 1.0, 127.5, False, out)}
    if not absences({"torch": "torch"}):
        import torch

        tensor = torch.from_numpy(picture)

        def pipelines() -> object:
            """What diffusers' pipelines do to a decoded picture."""
            grey = (tensor * 0.5 + 0.5).clamp(0, 1)
            return (grey.permute(1, 2, 0).float().numpy() * 255).round().astype("uint8")

        peers["torch + NumPy, as diffusers"] = pipelines
    return Case(
        name="latent_to_image, 512×512",
        ours=lambda: latent_to_image(picture, out=out),
        peers=peers,
        bytes_moved=picture.nbytes + out.nbytes,
        absent=absences({"torch + NumPy, as diffusers": "torch"}),
    )
