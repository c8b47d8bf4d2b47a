"""Train the autoencoder: pictures → latents, and two decoders back (`picture`, `picture.tiny`) against the same
latents.

Loss: mean absolute and squared error of the pixels, the same of their horizontal and vertical differences (edges),
and a weak pull of the latents to mean 0 and deviation 1. The decoders see latents with a little Gaussian noise, so
that small errors of the denoiser change the picture little. At the end all training latents are computed once and
saved for the denoiser.

For the first half of the training all pixels count alike; then the main object counts as much as all the rest, or
else people in the rain, few pixels of little contrast, are left out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...export.modules.autoencoder import PictureDecoder, PictureEncoder
from ..context import Context, Stage
from ..dataset import Scenes, scene_of
from ..draw import render_image
from ._steps import cheap, conv_optimisers, rate, save_sheet, set_rate, to_bytes, to_signed

__all__ = ["FULL", "STAGE", "TINY", "picture_loss"]

FULL: dict[str, list[int]] = {"widths": [96, 64, 32], "pairs": [1, 1, 1]}
TINY: dict[str, list[int]] = {"widths": [48, 32, 16], "pairs": [1, 1, 1]}
_CHANNELS = 8
_BATCH = 16
_NOISE = 0.3


def picture_loss(made: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """Pixels and edges: L1 + MSE of the values, L1 of their differences to the right and below.

    ``made`` and ``true`` (B, 3, H, W), ``weight`` (B, 1, H, W): how much each pixel counts.
    """
    error = made.float() - true
    across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    pixels = ((error.abs() + error.square()) * weight).mean()
    return pixels + (across.abs() * weight[..., 1:]).mean() + (down.abs() * weight[..., 1:, :]).mean()


def object_masks(ctx: Context, scenes: Scenes) -> NDArray[np.uint8]:
    """Where each picture shows its main object, as packed bits (N, 64, 8): the pixels that change without it."""
    path = ctx.folder / "masks.npy"
    if path.exists():
        return np.asarray(np.load(path))
    masks = np.zeros((len(scenes), 64, 8), np.uint8)
    with ctx.progress("object masks", len(scenes)) as advance:
        for row in range(len(scenes)):
            scene = scene_of(row, int(scenes.seeds[0]))
            if scene.object != "none":
                empty = render_image(replace(scene, object="none"), (64, 64))
                changed = np.abs(empty.astype(np.int16) - scenes.images[row]).max(axis=2) > 8
                masks[row] = np.packbits(changed, axis=1)
            advance(1)
    np.save(path, masks)
    return masks


def pixel_weights(masks: NDArray[np.uint8], device: str) -> Tensor:
    """Packed masks (B, 64, 8) → weights (B, 1, 64, 64), mean 1: the main object, however small, counts for a half."""
    inside = torch.from_numpy(np.unpackbits(masks, axis=2)).float()[:, None].to(device)
    inside = F.max_pool2d(inside, 3, 1, 1)
    share = inside.mean((2, 3), keepdim=True).clamp_min(0.02)
    weight = 1 + inside * 1.0 / share
    return weight / weight.mean((2, 3), keepdim=True)


def run(ctx: Context) -> None:
    scenes = ctx.data("train")
    masks = object_masks(ctx, scenes)
    encoder = PictureEncoder(_CHANNELS)
    full, tiny = PictureDecoder(_CHANNELS, **FULL), PictureDecoder(_CHANNELS, **TINY)
    nets: dict[str, nn.Module] = {"encoder": encoder, "full": full, "tiny": tiny}
    for net in nets.values():
        net.to(ctx.device)
    both = conv_optimisers(nets.values())
    weights = [each for net in nets.values() for each in net.parameters()]
    state = ctx.resume(nets, both)
    total, alike = ctx.pick(10_000, quick=3), ctx.pick(5_500, quick=1)
    for step in ctx.steps(state, total, "autoencoder"):
        picked = np.sort(ctx.rng("batch", step).choice(len(scenes), min(_BATCH, len(scenes)), replace=False))
        true = to_signed(scenes.images[picked], ctx.device)
        weight = pixel_weights(masks[picked], ctx.device) if step >= alike else torch.ones_like(true[:, :1])
        with cheap(ctx):
            latents = encoder(true).float()
            mean, std = latents.mean((0, 2, 3), keepdim=True), latents.std((0, 2, 3), keepdim=True)
            strength = _NOISE * torch.rand(len(true), 1, 1, 1, device=ctx.device) * std.detach()
            noisy = latents + strength * torch.randn_like(latents)
            sharp, small = picture_loss(full(noisy), true, weight), picture_loss(tiny(noisy.detach()), true, weight)
        pull = mean.square().mean() + (std - 1).square().mean()
        for each in both.values():
            set_rate(each, 1e-2 * rate(step, total))
            each.zero_grad()
        torch.autograd.backward(sharp + small + 0.01 * pull)
        nn.utils.clip_grad_norm_(weights, 1.0)
        for each in both.values():
            each.step()
        ctx.note(full=sharp.item(), tiny=small.item(), pull=pull.item())
    _finish(ctx, encoder.eval(), full.eval(), tiny.eval())


@torch.no_grad()
def _encode(ctx: Context, encoder: PictureEncoder, split: str) -> Tensor:
    """Raw latents of all pictures of a split, float32 on the CPU."""
    images = ctx.data(split).images
    chunks = [encoder(to_signed(images[at : at + 256], ctx.device)).cpu() for at in range(0, len(images), 256)]
    return torch.cat(chunks)


@torch.no_grad()
def _finish(ctx: Context, encoder: PictureEncoder, full: PictureDecoder, tiny: PictureDecoder) -> None:
    """Measure the latents, save them normalised, put the numbers into the decoders, publish, look."""
    raw = _encode(ctx, encoder, "train")
    mean, std = raw.mean((0, 2, 3), keepdim=True), raw.std((0, 2, 3), keepdim=True)
    np.save(ctx.folder / "latents.npy", ((raw - mean) / std).numpy().astype(np.float16))
    for decoder in (full, tiny):
        decoder.mean.copy_(mean)
        decoder.std.copy_(std)
    images = ctx.data("validation").images[:512]
    latents = ((_encode(ctx, encoder, "validation")[:512] - mean) / std).to(ctx.device)
    true = to_signed(images, ctx.device)
    made = {"full": full(latents), "tiny": tiny(latents)}
    ctx.result(**{f"psnr_{name}": _psnr(picture, true) for name, picture in made.items()})
    shown = [images[:48], *(to_bytes(picture[:48]) for picture in made.values())]
    save_sheet(ctx.folder / "reconstructions.png", shown)
    ctx.publish("picture_encoder", encoder)
    ctx.publish("picture", full)
    ctx.publish("picture.tiny", tiny)
    ctx.configure(
        {
            "modules": {
                "picture_encoder": {"kind": "picture_encoder", "channels": _CHANNELS},
                "picture": {"kind": "picture_decoder", "channels": _CHANNELS, **FULL},
                "picture.tiny": {"kind": "picture_decoder", "channels": _CHANNELS, **TINY},
            },
            "latent": {
                "channels": _CHANNELS,
                "size": 8,
                "mean": mean.flatten().tolist(),
                "std": std.flatten().tolist(),
            },
            "picture": {"height": 64, "width": 64},
        }
    )


def _psnr(made: Tensor, true: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels over all pictures (peak to peak 2)."""
    return float(10 * torch.log10(4.0 / F.mse_loss(made, true)))


STAGE = Stage("autoencoder", needs=("data",), run=run)
