"""Tokens of the frozen encoders, computed once, and batches of them as a stream would deliver them: late, stale,
missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...export.weights import build_module
from ..context import Context
from ..dataset import ATTRIBUTES, CAPTIONS, MODALITIES
from ..metrics import SUBSETS
from ._augment import damage_mel, damage_pixels, damage_radar
from ._senses import Senses, load_senses, normal_mel, silence, to_pixels
from ._steps import cheap

__all__ = ["LIFETIMES", "Batch", "TokenBank", "encode_split", "load_encoders"]

LIFETIMES = (1.0, 60.0, 1.0, 0.7)
"""Seconds after which a packet of each modality has become untrue with probability 1 - 1/e."""
_BLOCKED, _WEATHER = (tuple(ATTRIBUTES).index(name) for name in ("blocked_exit", "weather"))


@dataclass(frozen=True)
class Batch:
    """What a fusion head is given, and the truth: tokens by modality, presence (B, 4), age (B, 4), truth (B, K),
    rows (B,).
    """

    tokens: tuple[Tensor, ...]
    presence: Tensor
    age: Tensor
    truth: Tensor
    rows: Tensor


@dataclass(frozen=True)
class TokenBank:
    """Frozen tokens of a split: for each modality (N, variants, tokens, 128) fp16, variant 0 undamaged (text: one
    per line).

    ``meaning`` (N, 128) is the unit mean of the embeddings of picture and caption: what a fused embedding should
    come near.
    """

    tokens: tuple[Tensor, ...]
    meaning: Tensor
    truth: Tensor

    def __len__(self) -> int:
        return len(self.truth)

    def gather(self, rows: list[Tensor], variants: list[Tensor], device: str) -> tuple[Tensor, ...]:
        """Tokens of each modality from its own rows and variants, as float32."""
        return tuple(bank[r, v].to(device).float() for bank, r, v in zip(self.tokens, rows, variants, strict=True))

    def batch(self, rng: np.random.Generator, size: int, device: str, delivery: str = "slow") -> Batch:
        """A random training batch with any subset present.

        ``delivery``: "slow", packets of 0 to 3 s (words: 40 s) that come from another scene the more often the older
        they are; "stream", the same, but words outlive what they speak of within seconds, save the weather and the
        blocked exits; "fresh", all new and true.
        """
        half = len(self) // 2
        rows = rng.integers(0, half, size) * 2 + (rng.random(size) < 0.3)
        members = np.where(rng.random(size) < 0.3, len(SUBSETS) - 1, rng.integers(0, len(SUBSETS), size))
        age = np.zeros((size, 4)) if delivery == "fresh" else _ages(rng, size)
        sources = np.where(rng.random((size, 4)) < _untrue(age), rng.integers(0, len(self), (size, 4)), rows[:, None])
        if delivery == "stream":
            age[:, 1], sources[:, 1] = self._old_words(rng, rows)
        variants = [rng.integers(0, bank.shape[1], size) for bank in self.tokens]
        blocked = self.truth[torch.from_numpy(sources[:, 1]), _BLOCKED].numpy() > 0
        notes = rng.integers(CAPTIONS, self.tokens[1].shape[1], size)
        captions = rng.integers(0, CAPTIONS, size)
        variants[1] = np.where(blocked | (rng.random(size) < 0.65), notes, captions)
        tokens = self.gather(
            [torch.from_numpy(sources[:, m]) for m in range(4)], [torch.from_numpy(v) for v in variants], device
        )
        index = torch.from_numpy(rows)
        presence, ages = torch.from_numpy(_PRESENCE[members]), torch.from_numpy(age.astype(np.float32))
        return Batch(tokens, presence.to(device), ages.to(device), self.truth[index].to(device), index)

    def _old_words(
        self, rng: np.random.Generator, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Ages (B,) of texts in a stream, and the scenes (B,) that they speak of."""
        size, kind = len(rows), rng.random(len(rows))
        age = np.where(kind < 0.4, rng.uniform(0.0, 0.3, size), rng.exponential(2.5, size))
        age = np.where(kind > 0.85, rng.uniform(0.0, 40.0, size), age)
        lasting = self.truth[:, _BLOCKED].numpy() * 10
        groups = np.where(rng.random(size) < 0.9, 1, 0)
        sources = rows.copy()
        for keep_weather in (0, 1):
            keys = lasting + (self.truth[:, _WEATHER].numpy() + 1) * keep_weather
            for key in np.unique(keys):
                mine = np.flatnonzero((keys[rows] == key) & (groups == keep_weather))
                sources[mine] = rng.choice(np.flatnonzero(keys == key), len(mine))
        stale = rng.random(size) < 1.0 - np.exp(-age / _WORDS_LAST)
        return age, np.where(stale, sources, rows)


_PRESENCE = np.array([[float(m in members) for m in range(4)] for members in SUBSETS], np.float32)
_WORDS_LAST = 3.0
"""Seconds after which words about what is in view have become untrue in a stream, with probability 1 - 1/e."""


def _untrue(age: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability that packets (B, 4) of these ages no longer hold."""
    gone: NDArray[np.float64] = 1.0 - np.exp(-age / np.array(LIFETIMES))
    return gone


def _ages(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Mostly fresh, sometimes old: (B, 4) seconds."""
    kind = rng.random((size, 4))
    age = np.where(kind < 0.6, rng.uniform(0.0, 0.1, (size, 4)), rng.exponential(0.3, (size, 4)))
    age = np.where(kind > 0.88, rng.uniform(0.0, 3.0, (size, 4)), age).clip(max=3.0)
    age[:, 1] = np.where(kind[:, 1] > 0.5, rng.uniform(0.0, 40.0, size), age[:, 1])
    return age


def load_encoders(ctx: Context) -> nn.ModuleDict:
    """The four trained encoders, frozen, in eval mode."""
    entries = ctx.config("encoders")["modules"]
    nets = nn.ModuleDict()
    for name in MODALITIES:
        nets[name] = build_module(name, entries[name])
        nets[name].load_state_dict(ctx.weights(name))
    return nets.to(ctx.device).eval().requires_grad_(False)


@torch.no_grad()
def encode_split(ctx: Context, nets: nn.ModuleDict, split: str) -> TokenBank:
    """Encode a split: pictures, sounds and radar undamaged and damaged, and every text."""
    senses = load_senses(ctx.data(split), ctx.stage_folder("tokenizer") / "tokenizer.json", ctx.device)
    ctx.seed_torch("damage", split)
    device, audio = ctx.device, cast(Any, nets["audio"])
    quiet = silence(audio.mel, device)

    def image(rows: slice, hurt: bool) -> tuple[Tensor, Tensor]:
        pixels = to_pixels(senses.scenes.images[rows], device)
        return cast("tuple[Tensor, Tensor]", nets["image"](damage_pixels(pixels, 0.08)[0] if hurt else pixels))

    def sound(rows: slice, hurt: bool) -> tuple[Tensor, Tensor]:
        mel = normal_mel(senses.mels[rows], audio.mel, device)
        return cast("tuple[Tensor, Tensor]", audio.from_mel(damage_mel(mel, quiet, 0.08)[0] if hurt else mel))

    def radar(rows: slice, hurt: bool) -> tuple[Tensor, Tensor]:
        series = torch.from_numpy(senses.scenes.radar[rows].astype(np.float32)).to(device)
        return cast("tuple[Tensor, Tensor]", nets["radar"](damage_radar(series, 0.08)[0] if hurt else series))

    images, seen = _variants(ctx, image, len(senses))
    sounds, _ = _variants(ctx, sound, len(senses))
    echoes, _ = _variants(ctx, radar, len(senses))
    texts, read = _texts(ctx, nets["text"], senses)
    meaning = nn.functional.normalize(seen + read, dim=1)
    return TokenBank((images, texts, sounds, echoes), meaning, senses.truth)


def _variants(
    ctx: Context, encode: Callable[[slice, bool], tuple[Tensor, Tensor]], count: int
) -> tuple[Tensor, Tensor]:
    """Undamaged and damaged tokens (N, 2, tokens, 128), and the embeddings (N, 128) of the undamaged samples."""
    kept: list[list[Tensor]] = [[], []]
    embeddings = []
    for at in range(0, count, 250):
        for hurt in (False, True):
            with cheap(ctx):
                tokens, embedding = encode(slice(at, at + 250), hurt)
            kept[hurt].append(tokens.half().cpu())
            if not hurt:
                embeddings.append(embedding.float().cpu())
    return torch.stack([torch.cat(kept[0]), torch.cat(kept[1])], dim=1), torch.cat(embeddings)


def _texts(ctx: Context, net: nn.Module, senses: Senses) -> tuple[Tensor, Tensor]:
    """Tokens (N, lines, 8, 128) of every line, and the embedding (N, 128) of the first caption."""
    count, lines, length = senses.ids.shape
    flat, pieces, embeddings = senses.ids.reshape(count * lines, length), [], []
    for at in range(0, len(flat), 1024):
        ids = flat[at : at + 1024].long().to(ctx.device)
        ids = ids[:, : int((ids != 0).sum(dim=1).max())]
        with cheap(ctx):
            tokens, embedding = net(ids, (ids != 0).long())
        pieces.append(tokens.half().cpu())
        embeddings.append(embedding.float().cpu())
    tokens = torch.cat(pieces)
    return tokens.reshape(count, lines, *tokens.shape[1:]), torch.cat(embeddings).reshape(count, lines, -1)[:, 0]
