"""Stage ``image_student``: the picture's encoder that ships, a small one that learns to say what the trained one says.

The camera has the highest rate of all senses, so its encoder runs most often and should cost least. The student learns
the tokens and the embedding of the frozen encoder (Hinton et al. 2015), and how near its pictures lie to sounds and
words (relations: Park et al. 2019), on pictures as they are and damaged. Fusion, which was trained on the teacher's
tokens, reads the student's in their place. (The name of the stage sorts after ``encoders``: its picture encoder is the
one that ends up in the checkpoint.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...export.modules.encoders import PatchImageEncoder
from ...export.modules.layers import ConvUnit2d
from ...export.weights import build_module
from ..context import Context, Stage
from ._augment import damage_pixels
from ._senses import load_senses, normal_mel, to_pixels
from ._steps import cheap, conv_optimisers, rate, set_rate, to_bytes
from ._tokens import load_encoders

__all__ = ["Lesson", "equalise", "lesson", "student_losses"]

_NUMBERS: dict[str, Any] = {"kind": "image_patches", "channels": [48, 64, 112]}
_PEAK, _BATCH = 3.0e-3, 256
_CHUNK = 250
_VIEWS = 3
_SHARPNESS = 30.0
"""What cosines are multiplied by before the softmax: the few nearest count, as they do for whoever searches."""


@dataclass(frozen=True)
class Lesson:
    """Views of each scene, one undamaged, and what the teacher says of each: pictures (N, 64, 64, 3) uint8, tokens
    (N, 16, 128) and embeddings (N, 128) in fp16. `others` (N, 2, 128): embeddings of the scene's sound and caption.
    """

    pictures: NDArray[np.uint8]
    tokens: Tensor
    embeddings: Tensor
    others: Tensor

    def __len__(self) -> int:
        return len(self.pictures)


def student_losses(said: tuple[Tensor, Tensor], tokens: Tensor, embedding: Tensor, others: Tensor) -> dict[str, Tensor]:
    """How far tokens (B, 16, 128) and embedding (B, 128) are from the teacher's.

    `tokens`: mean squared distance, of tokens that have unit variance. `embedding`: 1 - cosine. `relations`: divergence
    of the softmax over the batch of cosines with `others` (B, 2, 128), from picture to others and back.
    """
    tokens_said, embedding_said = said[0].float(), said[1].float()
    relations = []
    for other in others.unbind(dim=1):
        found, wanted = _SHARPNESS * embedding_said @ other.T, _SHARPNESS * embedding @ other.T
        for axis in (0, 1):
            logs, goal = functional.log_softmax(found, axis), functional.log_softmax(wanted, axis)
            relations.append(functional.kl_div(logs, goal, log_target=True, reduction="sum") / len(other))
    return {
        "tokens": functional.mse_loss(tokens_said, tokens),
        "embedding": 1.0 - (embedding_said * embedding).sum(dim=1).mean(),
        "relations": torch.stack(relations).mean(),
    }


@torch.no_grad()
def lesson(ctx: Context, nets: nn.ModuleDict, split: str, variants: int) -> Lesson:
    """What the teacher says of every picture of a split, and of `variants` - 1 damaged views of each."""
    senses = load_senses(ctx.data(split), ctx.stage_folder("tokenizer") / "tokenizer.json", ctx.device)
    audio = cast(Any, nets["audio"])
    ctx.seed_torch("damage", split)
    pictures, tokens, embeddings, others = [], [], [], []
    with ctx.progress(f"the teacher on {split}", len(senses)) as advance:
        for at in range(0, len(senses), _CHUNK):
            rows = slice(at, at + _CHUNK)
            ids = senses.ids[rows, 0].long().to(ctx.device)
            with cheap(ctx):
                heard = audio.from_mel(normal_mel(senses.mels[rows], audio.mel, ctx.device))[1]
                read = nets["text"](ids, (ids != 0).long())[1]
            clean = to_pixels(senses.scenes.images[rows], ctx.device)
            for variant in range(variants):
                shown = to_bytes(damage_pixels(clean)[0] if variant else clean)
                with cheap(ctx):
                    said = nets["image"](to_pixels(shown, ctx.device))
                pictures.append(shown)
                tokens.append(said[0].half().cpu())
                embeddings.append(said[1].half().cpu())
                others.append(torch.stack([heard, read], dim=1).half().cpu())
            advance(len(ids))
    return Lesson(np.concatenate(pictures), torch.cat(tokens), torch.cat(embeddings), torch.cat(others))


def run(ctx: Context) -> None:
    """Train, measure how near it comes on the validation scenes, publish in the place of the teacher."""
    nets = load_encoders(ctx)
    taught = lesson(ctx, nets, "train", _VIEWS)
    net = cast(PatchImageEncoder, build_module("image", _NUMBERS)).to(ctx.device)
    optimisers = conv_optimisers([net])
    state = ctx.resume({"net": net}, optimisers)
    total, size = ctx.pick(4000, quick=3), ctx.pick(_BATCH, quick=16)
    net.train()
    for step in ctx.steps(state, total, "student"):
        rows = np.sort(ctx.rng("batch", step).choice(len(taught), min(size, len(taught)), replace=False))
        index = torch.from_numpy(rows)
        goals = (each[index].to(ctx.device).float() for each in (taught.tokens, taught.embeddings, taught.others))
        with cheap(ctx):
            said = net(to_pixels(taught.pictures[rows], ctx.device))
        losses = student_losses(said, *goals)
        loss = losses["tokens"] + losses["embedding"] + 0.2 * losses["relations"]
        for each in optimisers.values():
            set_rate(each, _PEAK * rate(step, total))
            each.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for each in optimisers.values():
            each.step()
        ctx.note(**{name: float(value.detach()) for name, value in losses.items()})
    net.eval()
    equalise([net.patches, *cast("Sequence[ConvUnit2d]", net.stages)], to_pixels(taught.pictures[:_CHUNK], ctx.device))
    ctx.result(**measure(net, lesson(ctx, nets, "validation", 1), ctx.device))
    ctx.publish("image", net)
    ctx.configure({"modules": {"image": _NUMBERS}})


@torch.no_grad()
def equalise(units: Sequence[ConvUnit2d], pixels: Tensor) -> None:
    """Bring the channels between two convolutions nearer to one range; what comes out stays the same.

    INT8 has one step for all channels of an activation. A channel that reaches a, read by weights of up to w, is
    divided by √(a / w), and the weights are multiplied by it: then both reach √(a·w) (Nagel et al. 2019). ReLU lets
    the factor pass.
    """
    x = pixels
    for unit, reader in pairwise(units):
        x = unit(x)
        reached, read = x.amax((0, 2, 3)), reader.conv.weight.abs().amax((0, 2, 3))
        factor = (reached.clamp(min=1e-3 * float(reached.max())) / read.clamp(min=1e-6)).sqrt()
        unit.norm.weight.div_(factor)
        unit.norm.bias.div_(factor)
        reader.conv.weight.mul_(factor[None, :, None, None])
        x = x / factor[None, :, None, None]


@torch.no_grad()
def measure(net: nn.Module, taught: Lesson, device: str) -> dict[str, float]:
    """The losses over a whole split, and the least cosine of an embedding with the teacher's."""
    said = net(to_pixels(taught.pictures, device))
    goals = [each.to(device).float() for each in (taught.tokens, taught.embeddings, taught.others)]
    losses = student_losses(said, goals[0], goals[1], goals[2])
    cosines = (said[1] * goals[1]).sum(dim=1)
    return {name: float(value) for name, value in losses.items()} | {"least cosine": float(cosines.min())}


STAGE = Stage("image_student", needs=("encoders",), run=run)
