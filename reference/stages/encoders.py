"""Stage ``encoders``: the four encoders together, by contrast between every two senses and by what each can tell.

InfoNCE (van den Oord et al. 2018; CLIP, Radford et al. 2021) counts every scene of the batch in which all that the
query says holds as a positive, so that two scenes that sound the same do not push each other away.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...export.weights import build_module
from ..context import Context, Stage
from ..dataset import ATTRIBUTES, CAPTIONS, MODALITIES
from ..metrics import top_hit_right
from ._augment import damage_mel, damage_pixels, damage_radar
from ._senses import Senses, load_senses, normal_mel, silence, to_pixels
from ._steps import cheap, rate, set_rate

__all__ = ["TOLD", "Probes", "attribute_losses", "run"]

TOLD: dict[str, tuple[str, ...]] = {
    "image": ("weather", "object", "side", "colour", "path", "traffic_light"),
    "text": ("weather", "object", "side", "colour", "path", "traffic_light", "blocked_exit"),
    "audio": ("source", "siren", "horn", "beep", "rain"),
    "radar": ("target", "closing"),
}
"""The attributes that each encoder is asked for."""
_NAMES = tuple(ATTRIBUTES)
_PEAK, _DECAY, _BATCH = 2.0e-3, 0.03, 256


class Probes(nn.Module):
    """Linear readers of attributes from a modality's mean token and embedding; used in training only."""

    def __init__(self, names: tuple[str, ...], inputs: int) -> None:
        super().__init__()
        self.readers = nn.ModuleDict({name: nn.Linear(inputs, len(ATTRIBUTES[name])) for name in names})

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {name: reader(features) for name, reader in self.readers.items()}


def attribute_losses(answers: dict[str, Tensor], truth: Tensor) -> Tensor:
    """Sum of the cross-entropies of all answers; ``truth`` (B, K)."""
    losses = [
        functional.cross_entropy(logits.float(), truth[:, _NAMES.index(name)]) for name, logits in answers.items()
    ]
    return torch.stack(losses).sum()


def contrast(a: Tensor, b: Tensor, scale: Tensor, holds: Tensor, seen_a: Tensor, seen_b: Tensor) -> Tensor:
    """InfoNCE of queries ``a`` (B, D) against ``b`` (B, D) with many positives.

    ``holds`` (B, B): whether what query i says holds in scene j; ``seen_*`` (B,): whether a sample says anything.
    Half of the loss asks that *some* positive comes first, half that all of them come near.
    """
    positive = holds * seen_b[None]
    logs = functional.log_softmax(scale * (a @ b.T), dim=1)
    some = -torch.logsumexp(logs + (positive - 1.0) * 1.0e4, dim=1)
    every = -(logs * positive).sum(dim=1) / positive.sum(dim=1).clamp(min=1.0)
    counts = seen_a * (positive.sum(dim=1) > 0).float()
    return (0.5 * (some + every) * counts).sum() / counts.sum().clamp(min=1.0)


def run(ctx: Context) -> None:
    """Train, measure on the validation scenes, publish the four parts."""
    tokenizer = ctx.stage_folder("tokenizer") / "tokenizer.json"
    train = load_senses(ctx.data(), tokenizer, ctx.device)
    modules = _numbers(train.mels, ctx)
    nets = nn.ModuleDict({name: build_module(name, modules[name]) for name in MODALITIES}).to(ctx.device)
    cast(Any, nets["image"]).to(memory_format=torch.channels_last)
    probes = nn.ModuleDict({name: Probes(TOLD[name], 256) for name in MODALITIES}).to(ctx.device)
    scale = nn.ParameterDict({"log": nn.Parameter(torch.tensor(2.5, device=ctx.device))})
    parts = nn.ModuleList([nets, probes, scale])
    decayed = [each for each in parts.parameters() if each.ndim >= 2]
    plain = [each for each in parts.parameters() if each.ndim < 2]
    adam = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": _DECAY}, {"params": plain, "weight_decay": 0.0}], betas=(0.9, 0.98)
    )
    state = ctx.resume({"all": parts}, {"adam": adam})
    total, size = ctx.pick(1000, quick=3), ctx.pick(_BATCH, quick=16)
    parts.train()
    for step in ctx.steps(state, total, "contrast"):
        set_rate(adam, _PEAK * rate(step, total))
        batch = ctx.rng("batch", step).choice(len(train), min(size, len(train)), replace=False)
        with cheap(ctx):
            losses = _losses(train, np.sort(batch), nets, probes, scale["log"].exp().clamp(max=60.0), ctx, step)
        loss = losses["contrast"] + 0.5 * losses["told"]
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parts.parameters(), 2.0)
        adam.step()
        ctx.note(**{name: float(value.detach()) for name, value in losses.items()})
    parts.eval()
    ctx.result(**measure(load_senses(ctx.data("validation"), tokenizer, ctx.device), nets, probes, ctx.device))
    for name in MODALITIES:
        ctx.publish(name, nets[name])
    ctx.configure({"modules": modules})


def _numbers(mels: Tensor, ctx: Context) -> dict[str, dict[str, Any]]:
    """The constructor's numbers of the four encoders; the spectrogram's mean and deviation are measured."""
    some = mels[:2000].float()
    words = ctx.config("tokenizer")["tokenizer"]
    return {
        "image": {"kind": "image_cnn", "channels": [24, 40, 80, 112]},
        "text": {"kind": "text_transformer", "vocabulary": words["vocabulary"], "length": words["length"]},
        "audio": {
            "kind": "audio_cnn",
            "channels": [80, 96, 112],
            "mean": round(float(some.mean()), 2),
            "deviation": round(float(some.std()), 2),
        },
        "radar": {"kind": "radar_cnn", "channels": [80, 96, 96]},
    }


def _losses(
    train: Senses,
    rows: np.ndarray[Any, Any],
    nets: nn.ModuleDict,
    probes: nn.ModuleDict,
    scale: Tensor,
    ctx: Context,
    step: int,
) -> dict[str, Tensor]:
    device, pick = ctx.device, torch.from_numpy(rows)
    pixels, seen_image = damage_pixels(to_pixels(train.scenes.images[rows], device))
    which = ctx.rng("words", step).choice(train.ids.shape[1], len(rows), p=_word_shares(train.ids.shape[1]))
    ids = train.ids[pick, torch.from_numpy(which)].long().to(device)
    ids = ids[:, : int((ids != 0).sum(dim=1).max())]
    seen_text = torch.from_numpy((which < CAPTIONS).astype(np.float32)).to(device)
    audio = cast(Any, nets["audio"])
    mel, seen_audio = damage_mel(normal_mel(train.mels[pick], audio.mel, device), silence(audio.mel, device))
    series, seen_radar = damage_radar(torch.from_numpy(train.scenes.radar[rows].astype(np.float32)).to(device))
    found = {
        "image": nets["image"](pixels),
        "text": nets["text"](ids, (ids != 0).long()),
        "audio": audio.from_mel(mel),
        "radar": nets["radar"](series),
    }
    truth, facts = train.truth[pick].to(device), train.facts[pick].to(device)
    told = [attribute_losses(probes[name](features_of(*found[name])), truth) for name in MODALITIES]
    seen = dict(zip(MODALITIES, (seen_image, seen_text, seen_audio, seen_radar), strict=True))
    holds = {name: _holds(facts[:, m], truth) for m, name in enumerate(MODALITIES)}
    pairs = []
    for a, b in combinations(MODALITIES, 2):
        x, y = found[a][1].float(), found[b][1].float()
        weight = 0.3 if b == "radar" else 1.0
        pairs.append(weight * contrast(x, y, scale, holds[a], seen[a], seen[b]))
        pairs.append(weight * contrast(y, x, scale, holds[b], seen[b], seen[a]))
    return {"contrast": torch.stack(pairs).sum() / 3.0, "told": torch.stack(told).sum(), "scale": scale}


def features_of(tokens: Tensor, embedding: Tensor) -> Tensor:
    """What the probes read: mean token and embedding, on one scale, (B, 256)."""
    return torch.cat([tokens.float().mean(dim=1), 8.0 * embedding.float()], dim=1)


def _word_shares(count: int) -> np.ndarray[Any, Any]:
    shares = np.full(count, 0.35 / (count - CAPTIONS))
    shares[:CAPTIONS] = 0.65 / CAPTIONS
    return shares


def _holds(said: Tensor, truth: Tensor) -> Tensor:
    """(B, B) of 0 and 1: whether all that sample i says, (B, K), is true of scene j, (B, K)."""
    return ((said[:, None] < 0) | (said[:, None] == truth[None])).all(dim=2).float()


@torch.no_grad()
def measure(senses: Senses, nets: nn.ModuleDict, probes: nn.ModuleDict, device: str) -> dict[str, float]:
    """Accuracy of every probe, and retrieval among 200 natural scenes, on undamaged validation samples."""
    audio = cast(Any, nets["audio"])
    mel = normal_mel(senses.mels, audio.mel, device)
    ids = senses.ids[:, 0].long().to(device)
    radar = torch.from_numpy(senses.scenes.radar.astype(np.float32)).to(device)
    found = {
        "image": nets["image"](to_pixels(senses.scenes.images[:], device)),
        "text": nets["text"](ids, (ids != 0).long()),
        "audio": audio.from_mel(mel),
        "radar": nets["radar"](radar),
    }
    numbers = {}
    for name in MODALITIES:
        for attribute, logits in probes[name](features_of(*found[name])).items():
            right = logits.argmax(dim=1).cpu() == senses.truth[:, _NAMES.index(attribute)]
            numbers[f"{name}.{attribute}"] = float(right.float().mean())
    natural = np.arange(1, len(senses), 2)[:200]
    index = {name: found[name][1].float().cpu().numpy()[natural] for name in MODALITIES}
    truth, facts = senses.truth.numpy()[natural], senses.scenes.facts[natural]
    for a, b in (("text", "image"), ("image", "text"), ("audio", "image"), ("audio", "text"), ("image", "audio")):
        numbers[f"{a}→{b}"] = top_hit_right(index[a], index[b], facts[:, MODALITIES.index(a)], truth)
    return numbers


STAGE = Stage("encoders", needs=("data", "tokenizer"), run=run)
