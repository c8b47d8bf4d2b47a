"""A fused LoRA: W + scale·alpha/r·B·A, in every spelling, and what does not fit."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("diffusers", reason="its U-Net is what is changed")

import torch
from chiasm.bench.zoo.diffusion import MODELS
from chiasm.export.diffusion.folder import load_network
from chiasm.export.diffusion.lora import fuse
from chiasm.runtime.errors import CheckpointError
from drawn_twice import WARNINGS, original
from safetensors.torch import save_file

pytestmark = [pytest.mark.filterwarnings(each) for each in WARNINGS]
RANK = 3
LAYERS = (  # a product, an output that is a list's first entry, a convolution, a product inside a resnet
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
    "mid_block.resnets.0.conv1",
    "mid_block.resnets.0.time_emb_proj",
)


@pytest.fixture(scope="module")
def turbo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lora") / "turbo"
    MODELS["turbo"].make(path, "tiny")
    return path


def _unet(turbo: Path) -> Any:
    return load_network(turbo / "unet", "UNet2DConditionModel")


def _changes(unet: Any) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Layer → (down, up), random."""
    torch.manual_seed(1)
    made = {}
    for name in LAYERS:
        weight = unet.get_submodule(name).weight
        rest = tuple(weight.shape[2:])
        down = torch.randn(RANK, weight.shape[1], *rest) * 0.1
        made[name] = down, torch.randn(weight.shape[0], RANK, *(1 for _ in rest)) * 0.1
    return made


def _kohya(name: str) -> tuple[str, str, str]:
    stem = f"lora_unet_{name.replace('.', '_')}"
    return f"{stem}.lora_down.weight", f"{stem}.lora_up.weight", f"{stem}.alpha"


def _peft(name: str) -> tuple[str, str, None]:
    return f"unet.{name}.lora_A.weight", f"unet.{name}.lora_B.weight", None


def _early(name: str) -> tuple[str, str, None]:
    if ".attn" in name:
        layer = name.removesuffix(".0")
        stem, _, last = layer.rpartition(".")
        return f"unet.{stem}.processor.{last}_lora.down.weight", f"unet.{stem}.processor.{last}_lora.up.weight", None
    return f"unet.{name}.lora.down.weight", f"unet.{name}.lora.up.weight", None


@pytest.mark.parametrize("spell", [_kohya, _peft, _early])
def test_the_formula_in_every_spelling(turbo: Path, tmp_path: Path, spell: Any) -> None:
    before, after = _unet(turbo), _unet(turbo)
    tensors: dict[str, torch.Tensor] = {}
    for name, (down, up) in _changes(before).items():
        first, second, alpha = spell(name)
        tensors |= {first: down, second: up} | ({} if alpha is None else {alpha: torch.tensor(6.0)})
    save_file(tensors, tmp_path / "lora.safetensors")
    fuse(after, tmp_path / "lora.safetensors", 0.5)
    share = 0.5 * (6.0 / RANK if spell is _kohya else 1.0)
    for name, (down, up) in _changes(before).items():
        expected = before.get_submodule(name).weight.double().clone()
        for row in range(expected.shape[0]):  # explicitly, and not by a product of matrices
            for rank in range(RANK):
                expected[row] += share * up[row, rank].double().squeeze() * down[rank].double()
        torch.testing.assert_close(after.get_submodule(name).weight.double(), expected, rtol=1e-5, atol=1e-6)
    others = set(before.state_dict()) - {f"{name}.weight" for name in LAYERS}
    assert all(torch.equal(before.state_dict()[name], after.state_dict()[name]) for name in others)


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="diffusers fuses by way of peft")
def test_diffusers_fuses_the_same(turbo: Path, tmp_path: Path) -> None:
    fused = _unet(turbo)
    tensors: dict[str, torch.Tensor] = {}
    for name, (down, up) in _changes(fused).items():
        first, second, alpha = _kohya(name)
        tensors |= {first: down, second: up, alpha: torch.tensor(6.0)}
    save_file(tensors, tmp_path / "pytorch_lora_weights.safetensors")
    fuse(fused, tmp_path / "pytorch_lora_weights.safetensors")
    pipeline = original("StableDiffusionPipeline", turbo)
    pipeline.load_lora_weights(tmp_path)
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    theirs = pipeline.unet.state_dict()
    for name, tensor in fused.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "is no LoRA: found no tensors"),
        ({"lora_te_text_model_x.lora_down.weight": (3, 4)}, "not in the denoiser: found lora_te.*text encoders"),
        ({"unet.conv_in.diff": (3, 4)}, "not in the denoiser: found unet.conv_in.diff"),
        ({"unet.conv_in.lora_A.weight": (3, 4)}, "half a LoRA: found down of conv_in"),
        ({"unet.conv_in.lora_A.weight": (3, 4), "unet.conv_in.lora_B.weight": (16, 2)}, "half a LoRA"),
        ({"unet.conv_in.lora_A.weight": (3, 4), "unet.conv_in.lora_B.weight": (16, 3)}, r"fit the denoiser at conv_in"),
    ],
)
def test_what_does_not_fit(turbo: Path, tmp_path: Path, tensors: dict[str, tuple[int, ...]], message: str) -> None:
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / "lora.safetensors")
    with pytest.raises(CheckpointError, match=message):
        fuse(_unet(turbo), tmp_path / "lora.safetensors")


def test_no_file(turbo: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="weights of 'the LoRA' are missing"):
        fuse(_unet(turbo), tmp_path / "lora.safetensors")
