"""A LoRA fused into a denoiser: W + scale·(alpha/r)·B·A (Hu et al. 2021), for products and convolutions.

Read are the spellings of diffusers (`unet.….lora_A.weight`, `….lora.down.weight`) and kohya
(`lora_unet_….lora_down.weight`, `.alpha`), as the published LCM-LoRAs have them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...runtime.errors import CheckpointError
from ..weights import read_tensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["fuse"]

_KINDS = {
    "lora_A.weight": "down", "lora_B.weight": "up", "lora.down.weight": "down", "lora.up.weight": "up",
    "lora_down.weight": "down", "lora_up.weight": "up", "lora_linear_layer.down.weight": "down",
    "lora_linear_layer.up.weight": "up", "lora_A.default.weight": "down", "lora_B.default.weight": "up",
    "alpha": "alpha",
}  # fmt: skip
_PROCESSOR = re.compile(r"\.processor\.(to_[qkv]|to_out)_lora\.(down|up)\.weight$")
"""As diffusers wrote them in 2023."""
_PREFIXES = ("base_model.model.", "unet.", "transformer.", "lora_unet_", "lora_transformer_")


class _Pair(NamedTuple):
    down: Tensor
    up: Tensor
    alpha: float


def fuse(network: nn.Module, path: Path, scale: float = 1.0) -> None:
    """Add a LoRA to the weights of a denoiser, for good. Raises `CheckpointError`: a tensor that fits nothing."""
    import torch

    layers = {name: layer for name, layer in network.named_modules() if hasattr(layer, "weight")}
    places = {name.replace(".", "_"): name for name in layers}
    with torch.no_grad():
        for name, pair in _pairs(path, places).items():
            layer = layers[name]
            weight: torch.Tensor = layer.weight
            change = pair.up.float().flatten(1) @ pair.down.float().flatten(1)
            if change.numel() != weight.numel() or len(change) != len(weight):
                raise CheckpointError(
                    f"{path} does not fit the denoiser at {name}",
                    found=f"{tuple(pair.up.shape)}·{tuple(pair.down.shape)}",
                    expected=f"a change of {tuple(weight.shape)}", fix="Give a LoRA of the same architecture",
                )  # fmt: skip
            share = scale * pair.alpha / pair.down.shape[0]
            layer.weight = torch.nn.Parameter(weight + share * change.reshape(weight.shape), requires_grad=False)


def _pairs(path: Path, places: dict[str, str]) -> dict[str, _Pair]:
    """Name of a layer → what is added to it."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in read_tensors(path, "the LoRA").items():
        stem, kind = _split(key)
        name = _place(stem, places) if kind else None
        if name is None:
            raise CheckpointError(
                f"{path} changes something that is not in the denoiser", found=key,
                expected="lora_A and lora_B, or lora_down, lora_up and alpha, of layers of the denoiser",
                fix="Only LoRAs of the U-Net or transformer can be fused, not those of text encoders",
            )  # fmt: skip
        found.setdefault(name, {})[kind] = tensor
    if not found:
        raise CheckpointError(f"{path} is no LoRA", found="no tensors")
    pairs = {}
    for name, each in found.items():
        if not {"down", "up"} <= set(each) or each["down"].shape[0] != each["up"].flatten(1).shape[1]:
            raise CheckpointError(f"{path} has half a LoRA", found=f"{', '.join(sorted(each))} of {name}",
                                  expected="down and up of one rank")  # fmt: skip
        rank = each["down"].shape[0]
        pairs[name] = _Pair(each["down"], each["up"], float(each["alpha"]) if "alpha" in each else float(rank))
    return pairs


def _split(key: str) -> tuple[str, str]:
    """A tensor's name → the layer's, and what it is: down, up, alpha or nothing known."""
    old = _PROCESSOR.search(key)
    if old is not None:
        return f"{key[: old.start()]}.{old[1]}", old[2]
    for ending, kind in _KINDS.items():
        if key.endswith(f".{ending}"):
            return key[: -len(ending) - 1], kind
    return key, ""


def _place(stem: str, places: dict[str, str]) -> str | None:
    for prefix in _PREFIXES:
        stem = stem.removeprefix(prefix)
    flat = stem.replace(".", "_")
    return places.get(flat) or places.get(f"{flat}_0")  # to_out is a list whose first entry is the layer
