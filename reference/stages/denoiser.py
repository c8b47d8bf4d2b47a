"""Train the teacher: the denoiser as a rectified flow in normalised latents, given fused states.

For every training scene the fusion stage has saved states of four sets of senses, none with the camera. One of them is the condition;
for one scene in eight it is the zero state instead, which is what "nothing known" means to classifier-free guidance.
The teacher stays in the work folder; the `distill` stage makes the shipped denoiser from its averaged weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from ...export.modules.autoencoder import PictureDecoder
from ...export.modules.denoiser import Denoiser
from ..context import Context, Stage, save_tensors
from ..dataset import Scenes
from ..sampling import many_steps, renoise
from ._steps import cheap, follow, optimisers, rate, save_sheet, set_rate, to_bytes
from .autoencoder import FULL

__all__ = ["HELD_OUT", "NUMBERS", "SEEN", "STAGE", "Teach", "flow_loss", "load_picture", "make_denoiser", "seen", "show_flow", "train_flow"]

NUMBERS: dict[str, float] = {"channels": 8, "size": 8, "patch": 2, "width": 192, "depth": 5, "heads": 6, "mlp": 3.0, "state": 256}
HELD_OUT = 256
"""The last rows of the training scenes that the generation stages never learn from; they are looked at."""
_BATCH = 256
_DROPPED = 0.125

Teach = Callable[[np.random.Generator, NDArray[np.int64]], Tensor]
"""(generator, rows) → conditions (B, 256) of those training scenes."""


SEEN: dict[str, tuple[int, float]] = {
    "weather": (4, 0.1), "object": (7, 0.1), "side": (4, 0.2), "colour": (5, 0.4), "path": (3, 0.3), "traffic_light": (4, 0.7),
}
"""What a picture shows: number of values, and how often the warm-up hides it."""


def seen(scenes: Scenes) -> NDArray[np.float32]:
    """One-hot values (N, 27) of what each picture shows, in the order of `SEEN`."""
    blocks = [np.eye(size, dtype=np.float32)[scenes.attributes[name]] for name, (size, _) in SEEN.items()]
    return np.concatenate(blocks, axis=1)


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
    return (made.float() - (noise - x0)).square().mean()


def train_flow(ctx: Context, nets: dict[str, Denoiser], teach: Teach, total: int, peak: float) -> None:
    """Train ``nets["net"]`` and its running average ``nets["average"]`` on the latents of the autoencoder stage."""
    latents = np.load(ctx.stage_folder("autoencoder") / "latents.npy", mmap_mode="r")
    known = max(1, len(latents) - HELD_OUT)
    both = optimisers(nets["net"])
    state = ctx.resume(nets, both)
    for step in ctx.steps(state, total, "flow"):
        rng = ctx.rng("batch", step)
        rows = np.sort(rng.integers(0, known, _BATCH))
        condition = teach(rng, rows).to(ctx.device)
        x0 = torch.from_numpy(latents[rows].astype(np.float32)).to(ctx.device)
        kept = torch.rand(len(rows), 1, device=ctx.device) >= _DROPPED
        with cheap(ctx):
            loss = flow_loss(nets["net"], x0, condition * kept)
        for each in both.values():
            set_rate(each, peak * rate(step, total))
            each.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(nets["net"].parameters(), 1.0)
        for each in both.values():
            each.step()
        follow(nets["average"], nets["net"], 0.999, step)
        ctx.note(loss=loss.item())


def load_picture(ctx: Context) -> PictureDecoder:
    """The trained full decoder, for looking at what a stage has learned."""
    decoder = PictureDecoder(8, **FULL)
    decoder.load_state_dict(ctx.weights("picture"))
    return decoder.eval().to(ctx.device)


def fit_condition(net: Denoiser, states: NDArray[np.float32], attributes: NDArray[np.float32]) -> None:
    """Turn a denoiser that was warmed up on attributes into one that takes states.

    A ridge regression states (N, 256) → attributes (N, K) stands between the states and the layer that took attributes; both are
    linear, so they become one layer. The training that follows changes every weight of it.
    """
    mean, target = states.mean(0), attributes.mean(0)
    centred = (states - mean).astype(np.float64)
    gram = centred.T @ centred + 1e-3 * len(states) * np.diag(centred.var(0) + 1e-6)
    probe = np.linalg.solve(gram, centred.T @ (attributes - target)).T
    with torch.no_grad():
        old = net.state.weight[:, : attributes.shape[1]].double()
        net.state.bias += (old @ torch.from_numpy(target - probe @ mean)).float()
        net.state.weight.copy_((old @ torch.from_numpy(probe)).float())


@torch.no_grad()
def show_flow(ctx: Context, net: Denoiser, conditions: Tensor, rows: slice, name: str) -> Tensor:
    """Sample pictures for the conditions (B, 256), save them below the true ones, return the latents."""
    noise = torch.randn((len(conditions), 8, 8, 8), generator=torch.Generator().manual_seed(1)).to(ctx.device)
    guidance = torch.full((len(conditions),), 2.0, device=ctx.device)
    *_, x0 = many_steps(net, conditions.to(ctx.device), noise, ctx.pick(16, quick=1), guidance)
    true = ctx.data("train").images[rows]
    made = to_bytes(load_picture(ctx)(x0))
    save_sheet(ctx.folder / f"{name}.png", [true, made])
    return x0


def run(ctx: Context) -> None:
    states = np.load(ctx.stage_folder("fusion") / "states.npy", mmap_mode="r")
    nets = {"net": make_denoiser().to(ctx.device), "average": make_denoiser().to(ctx.device)}
    start = make_denoiser()
    start.load_state_dict(load_file(ctx.stage_folder("warmup") / "denoiser.safetensors"))
    attributes = seen(ctx.data("train"))
    sample = np.arange(0, len(states), max(1, len(states) // 12_000))
    columns = np.arange(len(sample)) % states.shape[1]
    fit_condition(start, states[sample, columns].astype(np.float32), attributes[sample])
    for net in nets.values():
        net.load_state_dict(start.state_dict())

    def teach(rng: np.random.Generator, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(states[rows, rng.integers(0, states.shape[1], len(rows))].astype(np.float32))

    train_flow(ctx, nets, teach, ctx.pick(3000, quick=3), 1.5e-3)
    rows = slice(max(0, len(states) - 64), len(states))
    show_flow(ctx, nets["average"].eval(), torch.from_numpy(states[rows, 0].astype(np.float32)), rows, "teacher")
    save_tensors(ctx.folder / "teacher.safetensors", nets["average"].state_dict())


STAGE = Stage("denoiser", needs=("autoencoder", "warmup"), run=run)
