"""Distil the teacher to a denoiser of 1, 2 and 4 steps: the one that ships.

Consistency distillation (Song et al. 2023; with guidance as an input: Luo et al. 2023) along trajectories of the
teacher. First the teacher solves its flow from noise to clean latents for many conditions, each with its own
guidance scale, and every point is kept. The student's belief x0(x_t, t) = x_t − t·v then has to be the same along a
trajectory. For half of each batch the target is the trajectory's end; for the other half it is what the student's
running average believes one to three points further on, as in consistency distillation.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from ..context import Context, Stage, save_tensors
from ..sampling import TIMESTEPS, few_steps, fresh_noise, many_steps
from ._steps import cheap, follow, optimisers, rate, save_sheet, set_rate, to_bytes
from .denoiser import HELD_OUT, NUMBERS, load_picture, make_denoiser

__all__ = ["GUIDANCE", "GUIDANCE_RANGE", "STAGE", "consistency_loss"]

GUIDANCE = 2.0
GUIDANCE_RANGE = (1.0, 4.0)
_POINTS = 12
"""Heun steps of a trajectory: 13 points at even times, which hold every time of the few-step sampler."""
_BATCH = 256
_CHUNK = 512


def pseudo_huber(made: Tensor, target: Tensor, c: float = 0.1) -> Tensor:
    """√(‖difference‖² / n + c²) − c, mean over the batch: like L2 near, like L1 far (Song & Dhariwal 2023)."""
    error = (made - target).square().mean((1, 2, 3))
    return ((error + c * c).sqrt() - c).mean()


def consistency_loss(student: nn.Module, target: nn.Module, path: Tensor, state: Tensor, guidance: Tensor) -> Tensor:
    """The loss on trajectories ``path`` (P, B, C, h, w), whose times fall evenly from 1 to 0 at the last point.

    A third of the batch starts at pure noise, where the one-step sampler starts; the rest anywhere.
    """
    points, size = path.shape[:2]
    device, last = path.device, points - 1
    first = torch.where(torch.rand(size, device=device) < 1 / 3, 0, torch.randint(0, last, (size,), device=device))
    then = torch.minimum(first + torch.randint(1, 4, (size,), device=device), torch.full_like(first, last))
    then = torch.where(torch.rand(size, device=device) < 0.5, then, last)
    row = torch.arange(size, device=device)
    now_t, then_t = 1 - first / last, 1 - then / last
    with torch.no_grad():
        later = path[then, row]
        wanted = later - then_t.view(-1, 1, 1, 1) * target(later, then_t, state, guidance).float()
    here = path[first, row]
    return pseudo_huber(here - now_t.view(-1, 1, 1, 1) * student(here, now_t, state, guidance).float(), wanted)


@torch.no_grad()
def solve(
    ctx: Context, teacher: nn.Module, states: NDArray[np.float16], count: int
) -> list[dict[str, NDArray[np.float16]]]:
    """Trajectories of the teacher for ``count`` random conditions, in chunks that a killed run keeps."""
    chunks = []
    known = max(1, len(states) - HELD_OUT)
    with ctx.progress("trajectories", count) as advance:
        for start in range(0, count, _CHUNK):
            size = min(_CHUNK, count - start)
            path = ctx.folder / f"trajectories-{start:06d}.safetensors"
            if not path.exists():
                rng = ctx.rng("trajectories", start)
                state = states[rng.integers(0, known, size), rng.integers(0, states.shape[1], size)].astype(np.float32)
                scale = torch.from_numpy(rng.uniform(*GUIDANCE_RANGE, size).astype(np.float32))
                noise = torch.from_numpy(rng.standard_normal((size, 8, 8, 8), dtype=np.float32)).to(ctx.device)
                given = torch.from_numpy(state).to(ctx.device), scale.to(ctx.device)
                with cheap(ctx):
                    points = torch.stack(list(many_steps(teacher, given[0], noise, _POINTS, given[1])))
                save_tensors(path, {"path": points, "state": given[0], "guidance": scale}, half=True)
            chunks.append({name: value.numpy() for name, value in load_file(path).items()})
            advance(size)
    return chunks


def run(ctx: Context) -> None:
    states = np.load(ctx.stage_folder("fusion") / "states.npy", mmap_mode="r")
    nets = {name: make_denoiser().to(ctx.device) for name in ("net", "average")}
    for net in nets.values():
        net.load_state_dict(load_file(ctx.stage_folder("denoiser") / "teacher.safetensors"))
    chunks = solve(ctx, nets["average"], states, ctx.pick(12_288, quick=8))
    whole = {name: np.concatenate([chunk[name] for chunk in chunks], axis=int(name == "path")) for name in chunks[0]}
    del chunks
    both = optimisers(nets["net"])
    state = ctx.resume(nets, both)
    total = ctx.pick(1500, quick=3)
    for step in ctx.steps(state, total, "distillation"):
        rows = np.sort(ctx.rng("batch", step).integers(0, len(whole["state"]), _BATCH))
        path, given, scale = (
            torch.from_numpy(array.astype(np.float32)).to(ctx.device)
            for array in (whole["path"][:, rows], whole["state"][rows], whole["guidance"][rows])
        )
        with cheap(ctx):
            loss = consistency_loss(nets["net"], nets["average"], path, given, scale)
        for each in both.values():
            set_rate(each, 1e-3 * rate(step, total))
            each.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(nets["net"].parameters(), 1.0)
        for each in both.values():
            each.step()
        follow(nets["average"], nets["net"], 0.998, step)
        ctx.note(loss=loss.item())
    _finish(ctx, nets["average"].eval(), states)


@torch.no_grad()
def _finish(ctx: Context, student: nn.Module, states: NDArray[np.float16]) -> None:
    """Publish the student with its schedule, and draw what it makes for scenes it never saw: truth, 1, 2 and 4
    steps.
    """
    rows = slice(max(0, len(states) - 32), len(states))
    given = torch.from_numpy(states[rows, 0].astype(np.float32)).to(ctx.device)
    true, decoder = ctx.data("train").images[rows], load_picture(ctx)
    made = []
    for steps, times in TIMESTEPS.items():
        noise = fresh_noise(len(times), (len(given), 8, 8, 8), seed=int(steps)).to(ctx.device)
        *_, x0 = few_steps(student, given, noise, times, GUIDANCE)
        made.append(to_bytes(decoder(x0)))
    save_sheet(ctx.folder / "steps.png", [true, *made])
    ctx.publish("denoiser", student)
    ctx.configure(
        {
            "modules": {"denoiser": {"kind": "denoiser", **NUMBERS}},
            "sampler": {
                "schedule": {
                    "kind": "flow-consistency",
                    "prediction_type": "flow",
                    "times": list(TIMESTEPS.values()),
                },
                "steps": [int(steps) for steps in TIMESTEPS],
                "default_steps": max(int(steps) for steps in TIMESTEPS),
                "guidance": GUIDANCE,
                "guidance_range": list(GUIDANCE_RANGE),
            },
        }
    )


STAGE = Stage("distill", needs=("denoiser",), run=run)
