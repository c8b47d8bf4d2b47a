"""Warm the denoiser up on the truth of the scenes, before fused states exist.

What a picture shows (weather, object, side, colour, path, traffic light) is given as one-hot values in the first slots of the
condition, each hidden now and then. This needs no encoder, so it can run while the encoders train; the `denoiser` stage then
replaces the layer that reads the condition and goes on with fused states. Nothing of the truth is needed, or used, afterwards.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..context import Context, Stage, save_tensors
from .denoiser import SEEN, make_denoiser, seen, show_flow, train_flow

__all__ = ["STAGE"]


def run(ctx: Context) -> None:
    table = seen(ctx.data("train"))
    sizes = [size for size, _ in SEEN.values()]
    hidden = np.array([share for _, share in SEEN.values()])

    def teach(rng: np.random.Generator, rows: NDArray[np.int64]) -> Tensor:
        told = np.repeat(rng.random((len(rows), len(sizes))) >= hidden, sizes, axis=1)
        return pad(table[rows] * told)

    nets = {"net": make_denoiser().to(ctx.device), "average": make_denoiser().to(ctx.device)}
    nets["average"].load_state_dict(nets["net"].state_dict())
    train_flow(ctx, nets, teach, ctx.pick(3000, quick=3), 2e-3)
    rows = slice(max(0, len(table) - 64), len(table))
    show_flow(ctx, nets["average"].eval(), pad(table[rows]), rows, "warmup")
    save_tensors(ctx.folder / "denoiser.safetensors", nets["average"].state_dict())


def pad(values: NDArray[np.float32]) -> Tensor:
    """(B, K) → (B, 256), zeros behind."""
    whole = np.zeros((len(values), 256), np.float32)
    whole[:, : values.shape[1]] = values
    return torch.from_numpy(whole)


STAGE = Stage("warmup", needs=("autoencoder",), run=run)
