"""The checkpoint reader: what it loads, and everything it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="a checkpoint holds torch modules (pip install 'chiasm[export]')")

import torch
from chiasm.export.checkpoints import assemble_checkpoint, load_checkpoint, read_config
from chiasm.export.modules import KINDS
from chiasm.runtime.errors import CheckpointError
from safetensors.torch import load_file, save_file
from small_checkpoint import small_checkpoint, small_config


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    change(config)
    path.write_text(json.dumps(config), encoding="utf-8")


def test_loads_every_part_in_fp32_and_eval_mode(whole: Path) -> None:
    checkpoint = load_checkpoint(whole)
    assert list(checkpoint.modules) == list(checkpoint.config.parts())
    assert {"image", "fuse.late", "heads", "denoiser", "picture"} <= set(checkpoint.modules)
    for module in checkpoint.modules.values():
        assert not module.training
        assert all(value.dtype == torch.float32 for value in module.parameters())
    assert set(checkpoint.files) == {"tokenizer.json"}


def test_interfaces_follow_the_configuration(whole: Path) -> None:
    parts = assemble_checkpoint(load_checkpoint(whole)).parts
    known = {part: source.interface for part, source in parts.items()}
    fusion = known["fuse.late"]
    assert [(each.name, each.shape) for each in fusion.inputs] == [
        ("image", (1, 16, 128)), ("text", (1, 8, 128)), ("audio", (1, 8, 128)), ("radar", (1, 8, 128)),
        ("presence", (1, 4)), ("age", (1, 4)),
    ]  # fmt: skip
    assert known["heads"].outputs == ("embedding", "hazard", "weather", "object")
    assert [each.dtype for each in known["text"].inputs] == ["int64", "int64"]


def test_a_checkpoint_without_a_decoder(tmp_path: Path) -> None:
    config = load_checkpoint(small_checkpoint(tmp_path, decoder=False)).config
    assert config.decoder is None
    assert "denoiser" not in config.parts()


def test_a_sampler_over_parts_of_the_usual_names(folder: Path) -> None:
    whole = read_config(folder).decoder

    def shorten(config: dict[str, Any]) -> None:
        keys = ("schedule", "steps", "default_steps", "guidance", "guidance_range")
        config["sampler"] = {key: config["decoder"][key] for key in keys}
        del config["decoder"]

    _edit(folder, shorten)
    assert read_config(folder).decoder == whole


def test_every_kind_names_a_class() -> None:
    import importlib

    for kind, home in KINDS.items():
        file, name = home.split(":")
        module = importlib.import_module(f"chiasm.export.modules.{file}")
        assert issubclass(getattr(module, name), torch.nn.Module), kind


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format="pickle"), "format 'pickle'"),
        (lambda c: c.update(version=2), "found 2, expected 1"),
        (lambda c: c.pop("heads"), "heads"),
        (lambda c: c.update(order=["image", "text"]), "order"),
        (lambda c: c["fusion"].update(default="none"), "found none"),
        (lambda c: c["modalities"]["image"].update(colour="yes"), "colour"),
        (lambda c: c["modalities"]["image"].update(height="tall"), "height"),
        (lambda c: c["modules"].pop("radar"), "radar"),
        (lambda c: c["modules"]["radar"].update(kind="magic"), "magic"),
        (lambda c: c["modules"]["radar"].update(depth=3), "depth"),
        (lambda c: c["modules"].pop("denoiser"), "denoiser"),
        (lambda c: c.pop("latent"), "latent"),
        (lambda c: c["modalities"]["image"].update(part="../image"), "../image"),
        (lambda c: c["modalities"]["text"].update(tokenizer="other.json"), "other.json"),
    ],
)
def test_refuses_a_spoilt_configuration(folder: Path, change: Callable[[dict[str, Any]], object], words: str) -> None:
    _edit(folder, change)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert words in str(caught.value)


def test_refuses_what_is_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        load_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_bytes(b"\x80\x04not json")
    with pytest.raises(CheckpointError, match="not JSON"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CheckpointError, match="format None"):
        load_checkpoint(tmp_path)


def test_refuses_missing_or_truncated_weights(folder: Path) -> None:
    path = folder / "heads.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"heads\.safetensors is not a readable"):
        load_checkpoint(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match="weights of 'heads' are missing"):
        load_checkpoint(folder)


def test_refuses_wrong_tensors(folder: Path) -> None:
    path = folder / "heads.safetensors"
    good = load_file(path)
    save_file({**good, "extra": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="extra"):
        load_checkpoint(folder)
    save_file({name: value for name, value in good.items() if name != "embed.bias"}, path)
    with pytest.raises(CheckpointError, match=r"embed\.bias"):
        load_checkpoint(folder)
    save_file({**good, "embed.bias": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"found \(3,\), expected \(128,\)"):
        load_checkpoint(folder)
    save_file({**good, "embed.bias": torch.full((128,), float("nan"))}, path)
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(folder)


def test_the_small_configuration_is_read_without_its_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(small_config()), encoding="utf-8")
    assert read_config(tmp_path).order == ("image", "text", "audio", "radar")
