"""From a recipe to an assembly, with modules of the user's own: what fits, and what is said when it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export package's extra")

from bundles import tokenizer_json  # noqa: E402
from chiasm.export.assemble import RECIPE, open_assembly  # noqa: E402
from chiasm.export.assembly import Assembly  # noqa: E402
from chiasm.export.modules.fusion import FUSIONS  # noqa: E402
from chiasm.export.to_onnx import example, run_torch  # noqa: E402
from chiasm.runtime import CheckpointError, ExportError  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

NETS = """
import torch
from torch import nn

class LeNet(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, classes))
    def forward(self, pixels):
        return self.body(pixels)

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(64, 6)
    def forward(self, ids, mask):
        return self.table(ids) * mask[..., None]

def lenet(): return LeNet()
def words(): return Words()
def mean(): return Mean()
def broken(): raise OSError("no disk")
def number(): return 3

class Mean(nn.Module):
    def forward(self, image, text, presence, age):
        share = presence / presence.sum()
        state = share[:, :1] * image.mean(1) + share[:, 1:] * text.mean(1) * torch.exp(-age[:, 1:])
        return state, share
"""
IMAGE = """
[modalities.image]
module = "nets.py:lenet"
kind = "image"
weights = "lenet.safetensors"
preprocess = { height = 32, width = 32, resize = "exact", filter = "bilinear", crop = "none", scale = 0.00392,\
 mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }
"""
TEXT = """
[modalities.text]
module = "nets.py:words"
kind = "text"
length = 8
preprocess = { tokenizer = "tokenizer.json", length = 8, pad_id = 0 }
"""
ALLOWED = ("nets.py:lenet", "nets.py:words", "nets.py:mean", "nets.py:broken", "nets.py:number")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_json())
    torch.manual_seed(0)
    space: dict[str, Any] = {}
    exec(NETS, space)
    save_file(space["LeNet"]().state_dict(), tmp_path / "lenet.safetensors")
    save_file({"weight": torch.randn(6, 3), "bias": torch.randn(6)}, tmp_path / "wider.safetensors")
    save_file({"weight": torch.randn(2, 6)}, tmp_path / "hazard.safetensors")
    return tmp_path


def _open(folder: Path, text: str, allowed: tuple[str, ...] = ALLOWED) -> Assembly:
    path = folder / "street.toml"
    path.write_text(text)
    return open_assembly(path, allowed)[0]


def _run(assembly: Assembly, part: str, seed: int = 0, **given: Any) -> dict[str, Any]:
    source = assembly.parts[part]
    return run_torch(source.load(), source.interface, {**example(source.interface.inputs, seed), **given})


def test_one_network_whose_output_are_logits(folder: Path) -> None:
    assembly = _open(folder, IMAGE + '[heads.digit]\nlabels = ["one", "two", "three"]\n')
    assert list(assembly.parts) == ["image", "fuse.mean", "heads"]
    assert assembly.model.name == "street"
    assert assembly.modalities[0].tokens == (1, 3)
    assert RECIPE in assembly.files
    encoded = _run(assembly, "image")
    state = _run(assembly, "fuse.mean", image=encoded["tokens"], presence=np.ones((1, 1), np.float32))
    np.testing.assert_allclose(state["state"], encoded["tokens"][0], rtol=1e-6)
    answers = _run(assembly, "heads", state=state["state"])
    np.testing.assert_allclose(answers["digit"], torch.softmax(torch.tensor(encoded["tokens"][0]), -1), rtol=1e-5)
    assert np.linalg.norm(answers["embedding"]) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(answers["embedding"], encoded["embedding"], atol=1e-5)


@pytest.mark.parametrize("kind", sorted(FUSIONS))
def test_every_learned_fusion_takes_any_modalities(folder: Path, kind: str) -> None:
    senses = {"counts": (1, 8), "token": 6, "state": 32}
    extra = {"lifetimes": (1.0, 1.0)} if kind == "adaptive" else {}
    save_file(FUSIONS[kind](width=16, **senses, **extra).state_dict(), folder / "fusion.safetensors")
    save_file({"weight": torch.randn(2, 32)}, folder / "hazard.safetensors")
    assembly = _open(
        folder,
        IMAGE + 'projection = "wider.safetensors"\n' + TEXT
        + f'[fusion]\nkind = "{kind}"\nweights = "fusion.safetensors"\noptions = {{ width = 16, state = 32 }}\n'
        + '[heads.hazard]\nweights = "hazard.safetensors"\nlabels = ["clear", "brake"]\n',
    )  # fmt: skip
    assert assembly.fusion.order == ("image", "text")
    assert assembly.fusion.state == 32
    assert [each.tokens for each in assembly.modalities] == [(1, 6), (8, 6)]
    alone = _run(assembly, f"fuse.{kind}", presence=np.array([[1, 0]], np.float32))
    assert alone["weights"].tolist() == [pytest.approx([1, 0], abs=1e-4)]
    assert _run(assembly, "heads", state=alone["state"])["hazard"].sum() == pytest.approx(1)


def test_a_fusion_of_ones_own(folder: Path) -> None:
    text = IMAGE + 'projection = "wider.safetensors"\n' + TEXT + '[fusion]\nmodule = "nets.py:mean"\n'
    assembly = _open(folder, text)
    assert assembly.fusion.kinds == {"own": "fuse.own"}
    assert assembly.fusion.state == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (IMAGE + TEXT, "tokens differ in width.*image 3, text 6.*projection"),
        (IMAGE + 'projection = "hazard.safetensors"\n', r"projection of 'image' does not fit.*\(2, 6\).*\(any, 3\)"),
        (IMAGE + 'projection = "wider.safetensors"\n' + TEXT, "do not share a space.*learned fusion"),
        (IMAGE + '[fusion]\nkind = "gated"\n', "'gated' is learned.*no weights"),
        (IMAGE + '[fusion]\nkind = "gatet"\nweights = "wider.safetensors"\n', "Unknown kind of module.*gatet"),
        (IMAGE + '[fusion]\nkind = "gated"\nweights = "wider.safetensors"\n', "are not those of its module"),
        (IMAGE + '[fusion]\nmodule = "nets.py:lenet"\n', "fusion module cannot be run.*presence"),
        (IMAGE + '[heads.h]\nlabels = ["a", "b"]\n', "heads.h has no weights"),
        (IMAGE + '[heads.h]\nlabels = ["a"]\nweights = "hazard.safetensors"\n', r"do not fit.*\(2, 6\).*\(1, 3\)"),
        (IMAGE + '[heads.h]\nweights = "nowhere.safetensors"\n', "weights of 'head h' are missing"),
        (IMAGE.replace("lenet.saf", "wider.saf"), "tensors of 'nets.py:lenet' are not those of its module"),
        (IMAGE.replace("nets.py:lenet", "nets.py:broken"), "nets.py:broken failed: found OSError: no disk"),
        (IMAGE.replace("nets.py:lenet", "nets.py:number"), "gave no torch module: found int"),
        (IMAGE.replace("height = 32", "height = 16"), "module of 'image' cannot be run on pixels float32"),
        (IMAGE.replace("height = 32, ", ""), "does not describe image input.*height"),
        (TEXT.replace('"tokenizer.json"', '"other.json"'), "text: no such tokenizer.*other.json"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(folder: Path, text: str, message: str) -> None:
    with pytest.raises((ExportError, CheckpointError), match=f"(?s){message}"):
        _open(folder, text)


def test_code_is_run_only_when_it_was_allowed(folder: Path) -> None:
    (folder / "nets.py").write_text("raise SystemExit('run')")
    with pytest.raises(ExportError, match=r"nets\.py:lenet, which you have not allowed.*--module nets\.py:lenet"):
        _open(folder, IMAGE, allowed=())


@pytest.mark.parametrize("word", ["nets.py", "nowhere.py:build", "no_such_package.at_all:build", "nets.py:none", ":x"])
def test_code_that_is_not_there(folder: Path, word: str) -> None:
    with pytest.raises(ExportError):
        _open(folder, IMAGE.replace("nets.py:lenet", word), allowed=(word,))
