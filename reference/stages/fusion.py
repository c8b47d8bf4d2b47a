"""Stage ``fusion``: the default fusion head and the task heads, on frozen tokens, with every set of senses.

What is trained beside the tasks keeps the state rich enough to draw a picture from it: side, colour, path … are read
from it too. Afterwards the states of the training scenes are saved for the decoder's stages (``states.npy``).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...export.weights import build_module
from ..context import Context, Stage
from ..dataset import ATTRIBUTES, CAPTIONS, MODALITIES
from ..metrics import SUBSETS, subset_name
from ..scene import HAZARDS, OBJECTS, WEATHERS
from ._steps import cheap, rate, set_rate
from ._tokens import Batch, TokenBank, encode_split, load_encoders
from .encoders import Probes, attribute_losses

__all__ = ["DEFAULT", "STATE_SETS", "accuracies", "task_losses"]

DEFAULT = "adaptive"
_ASIDE = tuple(name for name in ATTRIBUTES if name not in ("hazard", "weather", "object"))
_NAMES = tuple(ATTRIBUTES)
_PEAK, _BATCH = 1.5e-3, 256
STATE_SETS: dict[tuple[str, ...], float] = {
    ("text",): 0.35,
    ("text", "audio"): 0.18,
    ("text", "audio", "radar"): 0.24,
    ("text", "radar"): 0.06,
    ("audio",): 0.07,
    ("audio", "radar"): 0.06,
    ("radar",): 0.04,
}
"""Which senses stand behind the saved states, and how often. Never the picture itself."""


def task_losses(state: Tensor, heads: nn.Module, batch: Batch, meaning: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of hazard, weather and object, and 1 - cosine of the embedding to ``meaning`` (B, 128)."""
    embedding, hazard, weather, kind = heads(state)
    answers = {"hazard": hazard, "weather": weather, "object": kind}
    losses = {
        name: functional.cross_entropy(x.float(), batch.truth[:, _NAMES.index(name)]) for name, x in answers.items()
    }
    return {**losses, "embedding": 1.0 - (embedding.float() * meaning).sum(dim=1).mean()}


def run(ctx: Context) -> None:
    """Train, measure all 15 subsets on the validation scenes, publish, save the states."""
    nets = load_encoders(ctx)
    bank = encode_split(ctx, nets, "train")
    modules: dict[str, dict[str, Any]] = {f"fuse.{DEFAULT}": {"kind": DEFAULT}, "heads": {"kind": "heads"}}
    head = build_module("fusion", modules[f"fuse.{DEFAULT}"]).to(ctx.device)
    heads = build_module("heads", modules["heads"]).to(ctx.device)
    probes = Probes(_ASIDE, 256).to(ctx.device)
    parts = nn.ModuleList([head, heads, probes])
    adam = torch.optim.AdamW(parts.parameters(), weight_decay=0.02, betas=(0.9, 0.98))
    state = ctx.resume({"all": parts}, {"adam": adam})
    total = ctx.pick(2200, quick=3)
    for step in ctx.steps(state, total, DEFAULT):
        set_rate(adam, _PEAK * rate(step, total))
        batch = bank.batch(ctx.rng("batch", step), ctx.pick(_BATCH, quick=16), ctx.device)
        with cheap(ctx):
            fused, _ = head(*batch.tokens, batch.presence, batch.age)
            losses = task_losses(fused, heads, batch, bank.meaning[batch.rows].to(ctx.device))
            aside = attribute_losses(probes(fused), batch.truth)
        loss = losses["hazard"] + 0.5 * (losses["weather"] + losses["object"]) + losses["embedding"] + 0.15 * aside
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        adam.step()
        ctx.note(aside=float(aside.detach()), **{name: float(value.detach()) for name, value in losses.items()})
    parts.eval()
    ctx.result(**accuracies(encode_split(ctx, nets, "validation"), head, heads, ctx.device))
    save_states(ctx, bank, head)
    ctx.publish(f"fuse.{DEFAULT}", head)
    ctx.publish("heads", heads)
    ctx.configure({"modules": modules, **_description()})


@torch.no_grad()
def accuracies(bank: TokenBank, head: nn.Module, heads: nn.Module, device: str) -> dict[str, float]:
    """Hazard accuracy of every subset, weather and object from all four: undamaged packets of the balanced rows."""
    rows = torch.arange(0, len(bank), 2)
    first = torch.zeros_like(rows)
    tokens = bank.gather([rows] * 4, [first, first + CAPTIONS, first, first], device)
    truth = bank.truth[rows]
    numbers = {}
    for members in SUBSETS:
        presence = torch.zeros(len(rows), 4, device=device)
        presence[:, list(members)] = 1.0
        state, _ = head(*tokens, presence, torch.zeros_like(presence))
        for name, logits in zip(("hazard", "weather", "object"), heads(state)[1:], strict=True):
            if name == "hazard" or len(members) == 4:
                right = logits.argmax(dim=1).cpu() == truth[:, _NAMES.index(name)]
                numbers[subset_name(members) if name == "hazard" else name] = float(right.float().mean())
    return numbers


@torch.no_grad()
def save_states(ctx: Context, bank: TokenBank, head: nn.Module, per_scene: int = 4) -> None:
    """``states.npy`` (N, 4, 256) fp16: states without the picture, from truthful captions, undamaged sound and radar.

    ``state_sets.npy`` (N, 4) says which of `STATE_SETS` each one has. The state that stands for "no condition" in
    classifier-free guidance is zero.
    """
    rng, count = ctx.rng("states"), len(bank)
    sets = rng.choice(len(STATE_SETS), (count, per_scene), p=list(STATE_SETS.values()))
    table = np.array([[float(name in members) for name in MODALITIES] for members in STATE_SETS], np.float32)
    captions = rng.integers(0, CAPTIONS, (count, per_scene))
    kept = np.zeros((count, per_scene, 256), np.float16)
    for at in range(0, count, 500):
        rows = torch.arange(at, min(at + 500, count))
        first = torch.zeros_like(rows)
        for i in range(per_scene):
            tokens = bank.gather([rows] * 4, [first, torch.from_numpy(captions[rows, i]), first, first], ctx.device)
            presence = torch.from_numpy(table[sets[rows, i]]).to(ctx.device)
            state, _ = head(*tokens, presence, torch.zeros_like(presence))
            kept[rows, i] = state.cpu().numpy()
    for name, array in (("states", kept), ("state_sets", sets.astype(np.int8))):
        np.save(ctx.folder / f"{name}.part.npy", array)
        os.replace(ctx.folder / f"{name}.part.npy", ctx.folder / f"{name}.npy")


def _description() -> dict[str, Any]:
    """The pieces of config.json that describe the senses, the fusion and the answers."""
    senses: dict[str, dict[str, Any]] = {
        "image": {
            "kind": "image",
            "rate_hz": 30.0,
            "max_age_s": 3.0,
            "tokens": [16, 128],
            "height": 64,
            "width": 64,
            "resize": "shortest-edge",
            "filter": "area",
            "crop": "centre",
            "scale": 1.0 / 255.0,
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
        },
        "text": {
            "kind": "text",
            "rate_hz": 0.1,
            "max_age_s": None,
            "tokens": [8, 128],
            "tokenizer": "tokenizer.json",
            "length": 32,
            "pad_id": 0,
        },
        "audio": {
            "kind": "audio",
            "rate_hz": 10.0,
            "max_age_s": 3.0,
            "tokens": [8, 128],
            "sample_rate": 16000,
            "samples": 16000,
        },
        "radar": {
            "kind": "series",
            "rate_hz": 20.0,
            "max_age_s": 3.0,
            "tokens": [8, 128],
            "frames": 32,
            "channels": 32,
            "sample_rate": 20.0,
            "mean": 0.0,
            "std": 1.0,
        },
    }
    labels = {"hazard": HAZARDS, "weather": WEATHERS, "object": OBJECTS}
    return {
        "model": {
            "name": "reference-street",
            "version": "1",
            "licence": "Apache-2.0",
            "description": "A street seen, heard, told and sensed by radar: hazard, weather, main object, and a "
            "picture from any of the other senses. Trained on drawn scenes; not for real traffic.",
        },
        "order": list(MODALITIES),
        "state": 256,
        "modalities": {name: {**fields, "part": name} for name, fields in senses.items()},
        "fusion": {"default": DEFAULT, "kinds": {DEFAULT: f"fuse.{DEFAULT}"}},
        "heads": {
            "embedding": {"kind": "embedding"},
            **{name: {"kind": "classes", "labels": list(words)} for name, words in labels.items()},
        },
    }


STAGE = Stage("fusion", needs=("encoders",), run=run)
