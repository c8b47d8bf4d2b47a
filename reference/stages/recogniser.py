"""An independent reader of pictures: a small CNN that tells the weather and the main object.

It judges generated pictures, so nothing is shared with what made them: own weights, own scenes (seeds that no other
stage draws), true pictures only. Light blur, noise, shifts and brightness while training keep it from leaning on
details that a decoder of 64×64 pictures cannot bring. Its weights ship for evaluation only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ...runtime.errors import CheckpointError
from ..context import Context, Stage
from ..draw import render_image
from ..scene import OBJECTS, WEATHERS, sample_scene
from ._steps import cheap, rate, set_rate, to_signed

__all__ = ["STAGE", "Reader", "Recogniser", "load_recogniser"]

Reader = Callable[[NDArray[np.uint8]], tuple[NDArray[np.int64], NDArray[np.int64]]]

TRAIN_SEED = 700_000_000
TEST_SEED = 710_000_000
_BATCH = 128


class Recogniser(nn.Module):
    """Pictures (B, 3, 64, 64) in [-1, 1] → logits of the weather (B, 4) and of the main object (B, 7)."""

    def __init__(self) -> None:
        super().__init__()
        plan = [(12, 32, 1), (32, 48, 1), (48, 64, 2), (64, 64, 1), (64, 96, 2), (96, 96, 1), (96, 96, 2)]
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        for before, after, stride in plan:
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.hidden = nn.Linear(96 * 3, 128)
        self.weather = nn.Linear(128, len(WEATHERS))
        self.object = nn.Linear(128, len(OBJECTS))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        grid = self.layers(pictures)
        # Mean and maximum over the picture, and the mean of its lower half, where the main object stands.
        pooled = torch.cat((grid.mean((2, 3)), grid.amax((2, 3)), grid[:, :, 2:].mean((2, 3))), dim=1)
        hidden = torch.relu(self.hidden(pooled))
        return self.weather(hidden), self.object(hidden)


def render_pictures(seeds: range) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures (N, 64, 64, 3) and labels (N, 2) = weather, object; even seeds of the hazard balance, odd of the
    natural.
    """
    pictures = np.empty((len(seeds), 64, 64, 3), np.uint8)
    labels = np.empty((len(seeds), 2), np.int64)
    for row, seed in enumerate(seeds):
        scene = sample_scene(seed, balance="natural" if seed % 2 else "hazard")
        pictures[row] = render_image(scene)
        labels[row] = WEATHERS.index(scene.weather), OBJECTS.index(scene.object)
    return pictures, labels


def disturb(pictures: Tensor) -> Tensor:
    """Per picture: brightness and contrast, a shift of up to 2 pixels, blur for half of them, noise for half of
    them.
    """
    size, device = len(pictures), pictures.device

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(size, 1, 1, 1, device=device)

    pictures = pictures * draw(0.9, 1.1) + draw(-0.08, 0.08)
    across, down = (int(torch.randint(-2, 3, ())) for _ in range(2))
    pictures = F.pad(pictures, (2, 2, 2, 2), mode="replicate")[:, :, 2 + down : 66 + down, 2 + across : 66 + across]
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    pictures = torch.lerp(pictures, soft, draw(0.0, 1.0) * (draw(0.0, 1.0) < 0.6))
    noise = torch.randn_like(pictures) * draw(0.0, 0.08) * (draw(0.0, 1.0) < 0.5)
    return (pictures + noise).clamp(-1, 1)


def run(ctx: Context) -> None:
    count = ctx.pick(16_000, quick=64)
    images, labels = render_pictures(range(TRAIN_SEED, TRAIN_SEED + count))
    net = Recogniser().to(ctx.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    adam = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    state = ctx.resume({"net": net}, {"adam": adam})
    total = ctx.pick(1000, quick=3)
    for step in ctx.steps(state, total, "recogniser"):
        set_rate(adam, 2e-3 * rate(step, total))
        picked = ctx.rng("batch", step).integers(0, count, _BATCH)
        truth = torch.from_numpy(labels[picked]).to(ctx.device)
        with cheap(ctx):
            weather, thing = net(disturb(to_signed(images[picked], ctx.device)))
        loss = F.cross_entropy(weather.float(), truth[:, 0], label_smoothing=0.02)
        loss = loss + F.cross_entropy(thing.float(), truth[:, 1], label_smoothing=0.02)
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        ctx.note(loss=loss.item())
    reader = _reader(net, ctx.device)
    pictures, truth_test = render_pictures(range(TEST_SEED, TEST_SEED + ctx.pick(2000, quick=32)))
    weather_read, object_read = reader(pictures)
    right = np.stack((weather_read, object_read), axis=1) == truth_test
    ctx.result(
        weather=float(right[:, 0].mean()), object=float(right[:, 1].mean()), both=float(right.all(axis=1).mean())
    )
    ctx.publish("recogniser", net)


def _reader(net: Recogniser, device: str) -> Reader:
    net.eval()

    @torch.no_grad()
    def read(images: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found = [net(to_signed(images[at : at + 256], device)) for at in range(0, len(images), 256)]
        weather, thing = (torch.cat([pair[index] for pair in found]).argmax(1).cpu().numpy() for index in range(2))
        return weather, thing

    return read


def load_recogniser(folder: Path, *, device: str = "cpu") -> Reader:
    """The reader whose weights lie in ``folder``: images uint8 (N, 64, 64, 3) → weather and object indices, each
    (N,).

    Raises ``CheckpointError`` when recogniser.safetensors is missing or does not fit.
    """
    path = Path(folder) / "recogniser.safetensors"
    if not path.exists():
        raise CheckpointError(f"{path} is missing", fix="Train it: python -m chiasm.reference.train --stage recogniser")
    net = Recogniser()
    try:
        net.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (SafetensorError, RuntimeError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} does not hold a recogniser", found=error, fix="Train it again") from error
    return _reader(net.to(device), device)


STAGE = Stage("recogniser", needs=(), run=run)
