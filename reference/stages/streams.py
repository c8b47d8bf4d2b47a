"""Stage ``streams``: in a stream, words outlive what they speak of.

A caption is true when it is spoken and wrong three seconds later; a blocked exit stays blocked. The default head and
the task heads learn this on top of the ``fusion`` stage. The states of fresh packets are held where they are, so the
decoder, which is trained on those, still reads them. (The name of the stage sorts after ``fusion``: its parts are the
ones that end up in the checkpoint.)
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ...export.weights import build_module
from ..context import Context, Stage
from ._steps import cheap, rate, set_rate
from ._tokens import encode_split, load_encoders
from .fusion import DEFAULT, accuracies, task_losses

_PEAK, _BATCH = 8.0e-4, 256
_HOLD = 8.0
"""Weight of the squared distance between the states of fresh packets before and now."""


def run(ctx: Context) -> None:
    """Fine-tune, measure all 15 subsets again, publish both parts anew."""
    encoders = load_encoders(ctx)
    bank = encode_split(ctx, encoders, "train")
    entries = ctx.config("fusion")["modules"]
    part = f"fuse.{DEFAULT}"
    head, before, heads = (build_module(name, entries[name]).to(ctx.device) for name in (part, part, "heads"))
    for module, name in ((head, part), (before, part), (heads, "heads")):
        module.load_state_dict(ctx.weights(name, "fusion"))
    before.eval().requires_grad_(False)
    both = nn.ModuleList([head, heads])
    adam = torch.optim.AdamW(both.parameters(), weight_decay=0.0, betas=(0.9, 0.98))
    state = ctx.resume({"both": both}, {"adam": adam})
    total, size = ctx.pick(1600, quick=2), ctx.pick(_BATCH, quick=16)
    for step in ctx.steps(state, total, "old words"):
        set_rate(adam, _PEAK * rate(step, total))
        passing = bank.batch(ctx.rng("stream", step), size, ctx.device, "stream")
        fresh = bank.batch(ctx.rng("fresh", step), size // 2, ctx.device, "fresh")
        with cheap(ctx):
            losses = task_losses(
                head(*passing.tokens, passing.presence, passing.age)[0],
                heads,
                passing,
                bank.meaning[passing.rows].to(ctx.device),
            )
            with torch.no_grad():
                goal = before(*fresh.tokens, fresh.presence, fresh.age)[0]
            now = head(*fresh.tokens, fresh.presence, fresh.age)[0]
        moved = functional.mse_loss(now.float(), goal.float())
        task = losses["hazard"] + 0.5 * (losses["weather"] + losses["object"]) + losses["embedding"]
        adam.zero_grad(set_to_none=True)
        (task + _HOLD * moved).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        adam.step()
        ctx.note(moved=float(moved.detach()), **{name: float(value.detach()) for name, value in losses.items()})
    both.eval()
    ctx.result(**accuracies(encode_split(ctx, encoders, "validation"), head, heads, ctx.device))
    ctx.publish(part, head)
    ctx.publish("heads", heads)


STAGE = Stage("streams", needs=("fusion",), run=run)
