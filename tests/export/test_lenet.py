"""LeNet as a user has it: a file of code, a state_dict, and the constants of its pictures in the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chiasm.bench.zoo.image import LENET_RECIPE, MODELS
from chiasm.export.assemble import open_assembly
from chiasm.export.graphs import serialise
from chiasm.export.modules.adapters import TokensAndEmbedding
from chiasm.export.own_code import own_module
from chiasm.export.sessions import Runner
from chiasm.export.to_onnx import to_onnx
from chiasm.runtime.errors import CheckpointError, ExportError
from chiasm.runtime.preprocess.image import image_tensor
from PIL import Image

WORD = "lenet.py:lenet"


@pytest.fixture
def lenet(tmp_path: Path) -> Path:
    MODELS["lenet"].make(tmp_path / "lenet", "tiny")
    return tmp_path / "lenet"


def test_lenet_from_a_picture_to_digits(lenet: Path) -> None:
    assembly, recipe = open_assembly(lenet / "recipe.toml", [WORD])
    assert recipe is not None
    modality: Any = assembly.modalities[0]
    assert (modality.channels, modality.tokens) == (1, (1, 10))
    assert assembly.heads["digit"].labels == tuple("0123456789")
    picture = np.random.default_rng(0).integers(0, 256, (60, 45, 3), dtype=np.uint8)
    taken = image_tensor(picture, modality)
    grey = Image.fromarray(picture).convert("L").resize((32, 32), Image.Resampling.BILINEAR)
    assert taken == pytest.approx((np.asarray(grey, np.float32)[None, None] / 255 - 0.1307) / 0.3081, abs=1e-6)
    source = assembly.parts["image"]
    found = Runner(serialise(to_onnx(source.load(), source.interface, "image")))({"pixels": taken})
    model = own_module(WORD, lenet, [WORD], weights="lenet.safetensors")
    with torch.inference_mode():
        expected = model(torch.from_numpy(taken)).numpy()
    assert abs(found["tokens"][0] - expected).max() <= 1e-5 * abs(expected).max()
    assert np.linalg.norm(found["embedding"]) == pytest.approx(1.0, abs=1e-5)


def test_code_runs_only_when_it_is_allowed(lenet: Path) -> None:
    with pytest.raises(ExportError, match=r"you have not allowed\. Read it; if you trust it, add: --module"):
        open_assembly(lenet / "recipe.toml")


def test_weights_of_another_network(lenet: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(lenet / "lenet.safetensors")
    del state["0.bias"]
    save_file(state, lenet / "lenet.safetensors")
    with pytest.raises(CheckpointError, match=r"0\.bias"):
        open_assembly(lenet / "recipe.toml", [WORD])


def test_three_channels_into_a_network_for_one(lenet: Path) -> None:
    recipe = lenet / "recipe.toml"
    words = LENET_RECIPE.replace("channels = 1\n", "").replace("[0.1307]", "[0.1, 0.1, 0.1]")
    recipe.write_text(words.replace("[0.3081]", "[1, 1, 1]"))
    with pytest.raises(ExportError, match="cannot be run on pixels"):
        open_assembly(recipe, [WORD])


def test_every_place_of_a_feature_map_is_a_token() -> None:
    whole = TokensAndEmbedding(torch.nn.Identity())
    features = torch.arange(24.0).reshape(1, 4, 2, 3)
    tokens, embedding = whole(features)
    assert tokens.shape == (1, 6, 4)
    assert tokens[0, 5].tolist() == features[0, :, 1, 2].tolist()
    assert embedding.tolist() == features.mean(dim=(2, 3)).tolist()
