"""The shipped checkpoint in torch, as something to evaluate: FP16 weights as stored, computed in FP32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from ..export.checkpoints import load_checkpoint
from .dataset import MODALITIES
from .held_out import PICTURE_FROM, HeldOut

__all__ = ["TorchModel"]

_BATCH = 200


class TorchModel:
    """`load_checkpoint`'s modules in batches of 200. Tokens of the last scenes are kept between questions."""

    def __init__(self, folder: Path) -> None:
        checkpoint = load_checkpoint(folder)
        self._config, self._nets = checkpoint.config, checkpoint.modules
        self._coder = Tokenizer.from_str(checkpoint.files["tokenizer.json"].decode("utf-8"))
        self.kinds = tuple(self._config.fusion.kinds)
        self.default = self._config.fusion.default
        decoder = self._config.decoder
        self.steps = decoder.steps if decoder is not None else ()
        self._seen: dict[tuple[int, str], tuple[list[Tensor], list[Tensor]]] = {}

    @property
    def parameters(self) -> dict[str, int]:
        """Learned values of each part."""
        return {part: sum(each.numel() for each in net.parameters()) for part, net in self._nets.items()}

    @torch.no_grad()
    def _encode(self, scenes: HeldOut, words: str) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens (N, n, 128) and embeddings (N, 128) of each modality; ``words``: captions or notes."""
        key = (id(scenes), words)
        if key not in self._seen:
            pieces = [self._encode_rows(scenes, slice(at, at + _BATCH), words) for at in range(0, len(scenes), _BATCH)]
            self._seen[key] = (
                [torch.cat([piece[m][0] for piece in pieces]) for m in range(4)],
                [torch.cat([piece[m][1] for piece in pieces]) for m in range(4)],
            )
        return self._seen[key]

    def _encode_rows(self, scenes: HeldOut, rows: slice, words: str) -> list[tuple[Tensor, Tensor]]:
        pixels = (torch.from_numpy(scenes.images[rows]).permute(0, 3, 1, 2).float() / 255.0 - 0.5) / 0.5
        lines = [several[0] for several in (scenes.captions if words == "captions" else scenes.notes)[rows]]
        ids = torch.tensor([encoding.ids for encoding in self._coder.encode_batch(lines)])
        wave = torch.from_numpy(scenes.sound[rows]).float() / 32767.0
        series = torch.from_numpy(scenes.radar[rows].astype(np.float32))
        inputs: dict[str, tuple[Tensor, ...]] = {
            "image": (pixels,),
            "text": (ids, (ids != 0).long()),
            "audio": (wave,),
            "radar": (series,),
        }
        return [cast("tuple[Tensor, Tensor]", self._nets[name](*inputs[name])) for name in MODALITIES]

    @torch.no_grad()
    def _states(self, scenes: HeldOut, kind: str, members: tuple[int, ...], words: str) -> Tensor:
        tokens, _ = self._encode(scenes, words)
        presence = torch.zeros(len(scenes), 4)
        presence[:, list(members)] = 1.0
        net = self._nets[self._config.fusion.kinds[kind]]
        states = [
            net(
                *(t[at : at + _BATCH] for t in tokens),
                presence[at : at + _BATCH],
                torch.zeros_like(presence[at : at + _BATCH]),
            )[0]
            for at in range(0, len(scenes), _BATCH)
        ]
        return torch.cat(states)

    @torch.no_grad()
    def answers(self, scenes: HeldOut, kind: str, members: tuple[int, ...]) -> dict[str, NDArray[np.int64]]:
        """See `held_out.Model`."""
        outputs = self._nets["heads"](self._states(scenes, kind, members, "notes"))
        named = zip(self._config.heads.items(), outputs, strict=True)
        return {name: logits.argmax(dim=1).numpy() for (name, head), logits in named if head.kind == "classes"}

    def embeddings(self, scenes: HeldOut) -> dict[str, NDArray[np.float32]]:
        """See `held_out.Model`."""
        return {name: each.numpy() for name, each in zip(MODALITIES, self._encode(scenes, "captions")[1], strict=True)}

    @torch.no_grad()
    def pictures(self, scenes: HeldOut, steps: int) -> NDArray[np.uint8]:
        """See `held_out.Model`; noise from seed 0, the checkpoint's guidance."""
        from .sampling import few_steps, fresh_noise

        decoder = cast(Any, self._config.decoder)
        state = self._states(scenes, self.default, tuple(MODALITIES.index(name) for name in PICTURE_FROM), "captions")
        times = {len(times): times for times in decoder.schedule.times}[steps]
        denoiser = self._nets[decoder.denoiser]
        noise = fresh_noise(steps, (len(scenes), *decoder.latent), seed=0)
        made = []
        for at in range(0, len(scenes), _BATCH):
            rows = slice(at, at + _BATCH)
            *_, latents = few_steps(denoiser, state[rows], noise[:, rows], times, decoder.guidance)
            picture = self._nets[decoder.pictures[decoder.default]](latents)
            made.append(((picture.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8))
        return np.ascontiguousarray(torch.cat(made).permute(0, 2, 3, 1).numpy())

    def close(self) -> None:
        """See `held_out.Model`; forgets the tokens."""
        self._seen.clear()
