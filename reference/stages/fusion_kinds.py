"""Stage ``fusion_kinds``: the other five fusion kinds, taught to reach the same states as the default one.

The heads stay as they are: each kind is trained through them on the same tasks, and its state is pulled to the
default's.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ...export.modules.fusion import FUSIONS
from ...export.weights import build_module
from ..context import Context, Stage
from ._steps import cheap, rate, set_rate
from ._tokens import encode_split, load_encoders
from .fusion import DEFAULT, accuracies, task_losses

_PEAK, _BATCH = 1.5e-3, 256


def run(ctx: Context) -> None:
    """Train the five side by side on the same batches, measure, publish."""
    encoders = load_encoders(ctx)
    bank = encode_split(ctx, encoders, "train")
    entries = ctx.config("fusion")["modules"]
    teacher, heads = (build_module(part, entries[part]) for part in (f"fuse.{DEFAULT}", "heads"))
    teacher.load_state_dict(ctx.weights(f"fuse.{DEFAULT}", "streams"))
    heads.load_state_dict(ctx.weights("heads", "streams"))
    for frozen in (teacher, heads):
        frozen.to(ctx.device).eval().requires_grad_(False)
    kinds = nn.ModuleDict({name: build_module("fusion", {"kind": name}) for name in FUSIONS if name != DEFAULT}).to(
        ctx.device
    )
    adam = torch.optim.AdamW(kinds.parameters(), weight_decay=0.02, betas=(0.9, 0.98))
    state = ctx.resume({"kinds": kinds}, {"adam": adam})
    total = ctx.pick(1500, quick=3)
    for step in ctx.steps(state, total, "kinds"):
        set_rate(adam, _PEAK * rate(step, total))
        batch = bank.batch(ctx.rng("batch", step), ctx.pick(_BATCH, quick=16), ctx.device, "stream")
        meaning = bank.meaning[batch.rows].to(ctx.device)
        adam.zero_grad(set_to_none=True)
        with cheap(ctx), torch.no_grad():
            goal = teacher(*batch.tokens, batch.presence, batch.age)[0].float()
        for name, kind in kinds.items():
            with cheap(ctx):
                fused, _ = kind(*batch.tokens, batch.presence, batch.age)
                losses = task_losses(fused, heads, batch, meaning)
            apart = functional.mse_loss(fused.float(), goal)
            loss = losses["hazard"] + 0.5 * (losses["weather"] + losses["object"]) + losses["embedding"] + 2.0 * apart
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(kind.parameters(), 1.0)
            ctx.note(**{f"{name}.apart": float(apart.detach()), f"{name}.hazard": float(losses["hazard"].detach())})
        adam.step()
    kinds.eval()
    held_out = encode_split(ctx, encoders, "validation")
    for name, kind in kinds.items():
        ctx.result(
            **{f"{name}: {members}": value for members, value in accuracies(held_out, kind, heads, ctx.device).items()}
        )
        ctx.publish(f"fuse.{name}", kind)
    ctx.configure(
        {
            "modules": {f"fuse.{name}": {"kind": name} for name in kinds},
            "fusion": {"kinds": {name: f"fuse.{name}" for name in kinds}},
        }
    )


STAGE = Stage("fusion_kinds", needs=("streams",), run=run)
