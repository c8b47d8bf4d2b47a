"""The autoencoder of pictures: 64×64 RGB in [-1, 1] to (8, 8, 8) latents and back, eight times smaller on each side.

`PictureEncoder` is used while training only; `PictureDecoder` ships twice, as the full and as the tiny `picture`
part. Both are plain convolutions with residual pairs and no normalisation layers (the shape that small latent
decoders such as TAESD have): cheap on a CPU, and nothing in them depends on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["PictureDecoder", "PictureEncoder"]


class _Pair(nn.Module):
    """Two 3×3 convolutions around a skip: x → relu(x + conv(relu(conv(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.second(self.act(self.first(x))))  # type: ignore[no-any-return]


class PictureEncoder(nn.Module):
    """(B, 3, H, W) in [-1, 1] → raw latents (B, channels, H/8, W/8).

    ``widths`` are the channels at 1/2, 1/4 and 1/8 of the size.
    """

    def __init__(self, channels: int = 8, widths: Sequence[int] = (32, 64, 96)) -> None:
        super().__init__()
        half, quarter, eighth = widths
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, half, 3, padding=1),
            nn.ReLU(),
            _Pair(half),
            nn.Conv2d(half, quarter, 3, stride=2, padding=1),
            nn.ReLU(),
            _Pair(quarter),
            nn.Conv2d(quarter, eighth, 3, stride=2, padding=1),
            nn.ReLU(),
            _Pair(eighth),
            nn.Conv2d(eighth, channels, 1),
        )

    def forward(self, picture: Tensor) -> Tensor:
        return self.layers(picture)  # type: ignore[no-any-return]


class PictureDecoder(nn.Module):
    """Normalised latents (B, channels, h, w) → picture (B, 3, 8h, 8w) in [-1, 1].

    The latents' mean and standard deviation per channel are buffers, so that the exported graph takes what the
    denoiser makes: latents of mean 0 and deviation 1. ``pairs`` residual pairs run at 1/8, 1/4 and 1/2 of the size,
    ``widths`` wide. While training the picture is not clamped: a clamp would stop the gradient of every value
    beyond white or black.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, channels: int = 8, widths: Sequence[int] = (96, 64, 32), pairs: Sequence[int] = (1, 1, 1)
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))
        eighth, quarter, half = widths
        layers: list[nn.Module] = [nn.Conv2d(channels, eighth, 3, padding=1), nn.ReLU()]
        layers += [_Pair(eighth) for _ in range(pairs[0])]
        layers += [nn.Conv2d(eighth, 4 * quarter, 1), nn.PixelShuffle(2), nn.ReLU()]
        layers += [_Pair(quarter) for _ in range(pairs[1])]
        layers += [nn.Conv2d(quarter, 4 * half, 1), nn.PixelShuffle(2), nn.ReLU()]
        layers += [_Pair(half) for _ in range(pairs[2])]
        layers += [nn.Conv2d(half, 12, 3, padding=1), nn.PixelShuffle(2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        picture: Tensor = self.layers(latents * self.std + self.mean)
        return picture if self.training else picture.clamp(-1.0, 1.0)
