"""A user's own encoder: LeNet from a file, and what goes wrong with code and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chiasm.bench.zoo.image import MODELS
from chiasm.export.graphs import serialise
from chiasm.export.interfaces import encoder
from chiasm.export.own_code import build, factory
from chiasm.export.plain import plain_tower
from chiasm.export.sessions import Runner
from chiasm.export.to_onnx import run_torch, to_onnx
from chiasm.runtime.errors import CheckpointError, ExportError
from chiasm.runtime.manifest import ImageModality, SeriesModality
from chiasm.runtime.preprocess.image import image_tensor
from torch import nn

DIGITS = tuple("0123456789")
PICTURE = ImageModality(
    name="image", part="image", rate_hz=30.0, max_age_s=None, tokens=(1, 1), height=32, width=32, resize="exact",
    filter="bilinear", crop="none", scale=1 / 255, mean=(0.1307,), std=(0.3081,), channels=1, order="pillow",
)  # fmt: skip


@pytest.fixture
def lenet(tmp_path: Path) -> Path:
    MODELS["lenet"].make(tmp_path / "lenet", "tiny")
    return tmp_path / "lenet"


def test_lenet_from_a_picture_to_logits(lenet: Path) -> None:
    model = build("lenet.py:lenet", lenet / "lenet.safetensors", lenet)
    tower = plain_tower(model, PICTURE, DIGITS)
    assert tower.modality.tokens == (1, 10)
    assert tower.classifier is not None
    assert tower.classifier.labels == DIGITS
    picture = np.random.default_rng(0).integers(0, 256, (60, 45, 3), dtype=np.uint8)
    taken = image_tensor(picture, PICTURE)
    interface = encoder(tower.modality)
    graph = to_onnx(tower.module, interface, "image")
    found = Runner(serialise(graph))({"pixels": taken})
    with torch.inference_mode():
        expected = model(torch.from_numpy(taken)).numpy()
    assert abs(found["tokens"][0] - expected).max() <= 1e-5 * abs(expected).max()
    assert np.linalg.norm(found["embedding"]) == pytest.approx(1.0, abs=1e-6)


class Shaped(nn.Module):
    """Gives whatever it was made with."""

    def __init__(self, *answers: torch.Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, rows: torch.Tensor) -> Any:
        made = tuple(each + 0.0 * rows.sum() for each in self.answers)
        return made if len(made) > 1 else made[0]


ROWS = SeriesModality(
    name="rows", part="rows", rate_hz=1.0, max_age_s=None, tokens=(1, 1), frames=4, channels=2, sample_rate=1.0,
    mean=0.0, std=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "tokens", "width"),
    [
        ((torch.ones(1, 6),), (1, 6), 6),
        ((torch.ones(1, 5, 2, 3),), (6, 5), 5),
        ((torch.ones(1, 7, 4),), (7, 4), 4),
        ((torch.ones(1, 7, 4), torch.ones(1, 9)), (7, 4), 9),
    ],
)
def test_what_a_module_may_give(answers: tuple[torch.Tensor, ...], tokens: tuple[int, int], width: int) -> None:
    tower = plain_tower(Shaped(*answers), ROWS)
    found = run_torch(tower.module, encoder(tower.modality), {"series": np.zeros((1, 4, 2), np.float32)})
    assert found["tokens"].shape == (1, *tokens) == (1, *tower.modality.tokens)
    assert found["embedding"].shape == (1, width)
    assert np.linalg.norm(found["embedding"]) == pytest.approx(1.0, abs=1e-6)


def test_modules_that_do_not_fit(lenet: Path) -> None:
    model = build("lenet.py:lenet", lenet / "lenet.safetensors", lenet)
    with pytest.raises(ExportError, match=r"does not run on \(1, 4, 2\)"):
        plain_tower(model, ROWS)
    with pytest.raises(ExportError, match="found 3 labels, expected 10, one for each logit"):
        plain_tower(model, PICTURE, ("a", "b", "c"))
    with pytest.raises(ExportError, match="gives no encoding: found tensors of 5 axes"):
        plain_tower(Shaped(torch.ones(1, 1, 1, 1, 1), torch.ones(1, 1)), ROWS)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("lenet.py", r"expected FILE\.py:FACTORY"),
        ("other.py:lenet", r"other\.py is not there"),
        ("lenet.py:alexnet", "has no factory 'alexnet': found lenet, expected a function"),
        ("no.such.package:lenet", "cannot be imported: found ModuleNotFoundError"),
        ("broken.py:lenet", "cannot be run: found ZeroDivisionError"),
    ],
)
def test_code_that_is_not_there(lenet: Path, name: str, complaint: str) -> None:
    (lenet / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ExportError, match=complaint):
        factory(name, lenet)


def test_weights_that_do_not_fit(lenet: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = lenet / "lenet.safetensors"
    state = load_file(file)
    bias = state.pop("0.bias")
    save_file(state, file)
    with pytest.raises(CheckpointError, match=r"lacks weights: found 1: 0\.bias"):
        build("lenet.py:lenet", file, lenet)
    save_file(state | {"0.bias": bias, "13.bias": bias.clone()}, file)
    with pytest.raises(CheckpointError, match=r"no place for: found 1: 13\.bias"):
        build("lenet.py:lenet", file, lenet)
    save_file(state | {"0.bias": bias[:2].clone()}, file)
    with pytest.raises(CheckpointError, match=r"another shape: found 1: 0\.bias"):
        build("lenet.py:lenet", file, lenet)
    file.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        build("lenet.py:lenet", file, lenet)
    with pytest.raises(CheckpointError, match="Convert it where you trust it"):
        build("lenet.py:lenet", lenet / "lenet.pth", lenet)


def test_a_factory_that_gives_no_module(lenet: Path) -> None:
    (lenet / "none.py").write_text("def none():\n    return 3\n")
    with pytest.raises(ExportError, match=r"gave no module: found int, expected a torch\.nn\.Module"):
        build("none.py:none", lenet / "lenet.safetensors", lenet)
