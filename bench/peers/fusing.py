"""The head of the fused step: weights drawn once, written for the recipe, and the torch module that peers run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.errors import CheckpointError
from .works import Work

if TYPE_CHECKING:
    import torch

__all__ = ["fused_head", "write_weights"]

_LABELS = 3


def _dimensions(work: Work, folder: Path) -> tuple[int, int]:
    """(width of the shared tokens, width of the sound's states)."""
    import json

    clip, sound = (json.loads((folder / each.model / "config.json").read_text())
                   for each in (work.encoders[0], work.encoders[-1]))  # fmt: skip
    return int(clip["projection_dim"]), int(sound["hidden_size"])


def _modules(work: Work, folder: Path) -> tuple[Any, torch.nn.Linear, torch.nn.Linear]:
    """(gated fusion, projection of the sound, hazard head), with whatever weights."""
    import torch

    from ...export.modules.fusion.gated import GatedFusion

    token, states = _dimensions(work, folder)
    fusion = GatedFusion(width=work.width, counts=[1] * len(work.encoders), token=token)
    return fusion, torch.nn.Linear(states, token), torch.nn.Linear(int(fusion.size), _LABELS)


def write_weights(work: Work, folder: Path) -> None:
    """gated.safetensors, audio-wide.safetensors and hazard.safetensors, seeded."""
    from safetensors.torch import save_file

    from ..zoo._write import seeded

    with seeded(7):
        modules = _modules(work, folder)
    for module, name in zip(modules, ("gated", "audio-wide", "hazard"), strict=True):
        save_file(module.state_dict(), folder / f"{name}.safetensors")


def fused_head(work: Work, folder: Path) -> torch.nn.Module:
    """Vectors (1, E) of camera, text and sound, all present and new → (embedding (1, S) of unit length, hazards)."""
    import torch
    from safetensors.torch import load_file

    fusion, wide, hazard = _modules(work, folder)
    for module, name in zip((fusion, wide, hazard), ("gated", "audio-wide", "hazard"), strict=True):
        path = folder / f"{name}.safetensors"
        if not path.exists():
            raise CheckpointError("The fused step has no weights", found=f"no {path}", fix="Export its bundle first")
        module.load_state_dict(load_file(path))

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fusion, self.wide, self.hazard = fusion, wide, hazard

        def forward(
            self, image: torch.Tensor, text: torch.Tensor, sound: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            presence = torch.ones(1, 3)
            tokens = [each[:, None] for each in (image, text, self.wide(sound))]
            state, _ = self.fusion(*tokens, presence, torch.zeros_like(presence))
            return torch.nn.functional.normalize(state, dim=-1), torch.softmax(self.hazard(state), dim=-1)

    return Head().eval()
