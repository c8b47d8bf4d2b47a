"""From a diffusers folder to a picture on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("diffusers", reason="its classes are what is loaded")

from chiasm.bench.zoo.diffusion import MODELS
from chiasm.export import workshop
from chiasm.runtime.bundle import open_bundle
from drawn_twice import WARNINGS, traced_once

pytestmark = [pytest.mark.filterwarnings(each) for each in WARNINGS]
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def turbo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    MODELS["turbo"].make(folder / "turbo", "tiny")
    MODELS["sd15"].make(folder / "sd15", "tiny")
    MODELS["taesd"].make(folder / "taesd", "tiny")
    return folder


def test_a_first_recipe(chiasm: Call, turbo: Path) -> None:
    done = chiasm("recipe", "init", turbo / "sd15", turbo / "taesd", "--out", turbo / "first.toml")
    assert done.code == 0, done.err
    text = (turbo / "first.toml").read_text("utf-8")
    assert '[decoder]\ncheckpoint = "sd15"\nvae = "taesd"\n\n[decoder.schedule]\nkind = "ddim"\n' in text


def test_a_folder_becomes_pictures(chiasm: Call, turbo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "to_onnx", traced_once)
    out = tmp_path / "turbo.chiasm"
    done = chiasm("export", turbo / "turbo", "--out", out)
    assert done.code == 0, done.err
    assert '[decoder]\ncheckpoint = "."' in done.err
    assert "Nothing is fused in this bundle." in done.out
    assert "No captures were given" in " ".join(done.out.split())
    manifest = open_bundle(out).manifest
    assert {"fp32", "fp16"} <= {each.precision for each in manifest.parts["denoiser"].variants}
    report = json.loads((out / "verify.json").read_text("utf-8"))
    assert report["passed"]
    assert "int8-cpu" in report["parts"]["prompt.clip"]["variants"]
    assert "started from a picture" in " ".join(chiasm("inspect", out).out.split())
    checked = chiasm("verify", out, "--no-write", "--checkpoint", turbo / "turbo")
    assert checked.code == 0, checked.err
    assert "compared with torch" in checked.out
    pictures = []
    for words in (["--prompt", "a red bus"], ["--text", "a red bus"], ["--prompt", "rain"]):
        made = chiasm("generate", out, *words, "--out", tmp_path / "x.png", "--precision", "fp32")
        assert made.code == 0, made.err
        assert "from text, 4 steps" in made.err
        pictures.append((tmp_path / "x.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_pickles_are_refused_in_one_line(chiasm: Call, turbo: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(turbo / "turbo", tmp_path / "pickled")
    unet = tmp_path / "pickled" / "unet"
    (unet / "diffusion_pytorch_model.safetensors").rename(unet / "diffusion_pytorch_model.bin")
    done = chiasm("export", tmp_path / "pickled", "--out", tmp_path / "out.chiasm")
    assert done.code == 2
    assert "format that can run code" in done.err
    assert "Convert it where you trust it" in done.err
    assert done.err.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["pickled"]
