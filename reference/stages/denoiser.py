"""Train the teacher: the denoiser as a rectified flow in normalised latents, given fused states.

For every training scene the fusion stage has saved states of four sets of senses, none with the camera. One of them
is the condition; for one scene in eight it is the zero state instead, which is what "nothing known" means to
classifier-free guidance. The teacher stays in the work folder; the `distill` stage makes the shipped denoiser from
its averaged weights.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...export.modules.autoencoder import PictureDecoder
from ...export.modules.denoiser import Denoiser
from ..context import Context, Stage, save_tensors
from ..sampling import many_steps, renoise
from ._steps import cheap, follow, optimisers, rate, save_sheet, set_rate, to_bytes
from .autoencoder import FULL

__all__ = ["HELD_OUT", "NUMBERS", "STAGE", "flow_loss", "load_picture", "make_denoiser", "show_flow"]

NUMBERS: dict[str, float] = {
    "channels": 8,
    "size": 8,
    "patch": 2,
    "width": 192,
    "depth": 5,
    "heads": 6,
    "mlp": 3.0,
    "state": 256,
}
HELD_OUT = 256
"""The last rows of the training scenes that the generation stages never learn from; they are looked at."""
_BATCH = 128
_PEAK = {"muon": 1.2e-2, "adam": 4e-3}
_DROPPED = 0.125


def make_denoiser() -> Denoiser:
    """A fresh denoiser of the shipped size."""
    return Denoiser(**NUMBERS)  # type: ignore[arg-type]


def flow_loss(net: nn.Module, x0: Tensor, state: Tensor) -> Tensor:
    """Mean squared error of the velocity at one random time per sample.

    Times are logistic-normal (Esser et al. 2024) for three quarters of the batch and uniform for the rest.
    """
    size = len(x0)
    middle, even = torch.sigmoid(torch.randn(size, device=x0.device)), torch.rand(size, device=x0.device)
    t = torch.where(torch.rand(size, device=x0.device) < 0.75, middle, even)
    noise = torch.randn_like(x0)
    made = net(renoise(x0, noise, t), t, state, torch.ones_like(t))
    loss: Tensor = (made.float() - (noise - x0)).square().mean()
    return loss


def load_picture(ctx: Context) -> PictureDecoder:
    """The trained full decoder, for looking at what a stage has learned."""
    decoder = PictureDecoder(8, **FULL)
    decoder.load_state_dict(ctx.weights("picture"))
    return decoder.eval().to(ctx.device)


def run(ctx: Context) -> None:
    states = np.load(ctx.stage_folder("fusion") / "states.npy", mmap_mode="r")
    latents = np.load(ctx.stage_folder("autoencoder") / "latents.npy", mmap_mode="r")
    net, average = make_denoiser().to(ctx.device), make_denoiser().to(ctx.device)
    average.load_state_dict(net.state_dict())
    both = optimisers(net)
    known = max(1, len(latents) - HELD_OUT)
    state = ctx.resume({"net": net, "average": average}, both)
    total = ctx.pick(8000, quick=3)
    for step in ctx.steps(state, total, "flow"):
        rng = ctx.rng("batch", step)
        rows = np.sort(rng.integers(0, known, _BATCH))
        condition = _tensor(states[rows, rng.integers(0, states.shape[1], _BATCH)], ctx.device)
        kept = torch.rand(_BATCH, 1, device=ctx.device) >= _DROPPED
        with cheap(ctx):
            loss = flow_loss(net, _tensor(latents[rows], ctx.device), condition * kept)
        for name, each in both.items():
            set_rate(each, _PEAK[name] * rate(step, total))
            each.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for each in both.values():
            each.step()
        follow(average, net, 0.999, step)
        ctx.note(loss=loss.item())
    save_tensors(ctx.folder / "teacher.safetensors", average.state_dict())
    show_flow(ctx, average.eval(), states)


def _tensor(values: NDArray[np.float16], device: str) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device)


@torch.no_grad()
def show_flow(ctx: Context, net: Denoiser, states: NDArray[np.float16], guidance: float = 2.0) -> None:
    """Draw what the teacher makes of scenes it never saw, below the true pictures: teacher.png."""
    rows = slice(max(0, len(states) - 64), len(states))
    given = _tensor(states[rows, 0], ctx.device)
    noise = torch.randn((len(given), 8, 8, 8), generator=torch.Generator().manual_seed(1)).to(ctx.device)
    scale = torch.full((len(given),), guidance, device=ctx.device)
    *_, x0 = many_steps(net, given, noise, ctx.pick(16, quick=1), scale)
    save_sheet(ctx.folder / "teacher.png", [ctx.data("train").images[rows], to_bytes(load_picture(ctx)(x0))])


STAGE = Stage("denoiser", needs=("autoencoder", "fusion"), run=run)
