"""The image families: checkpoint folder → tower → graph, against the original model called the usual way."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.bench.zoo.image import LABELS, MODELS
from chiasm.export.families import Ask, Tower, family_of
from chiasm.export.graphs import serialise
from chiasm.export.hub import HubFolder
from chiasm.export.interfaces import encoder
from chiasm.export.measure import compare
from chiasm.export.sessions import Runner
from chiasm.export.to_onnx import run_torch, to_onnx
from chiasm.runtime.errors import CheckpointError, ExportError

PLAIN = ("resnet", "efficientnet", "convnext", "mobilenet-v2", "vit", "dinov2")
Checkpoints = Callable[[str], HubFolder]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Name of a zoo model → its tiny checkpoint, made once."""

    @cache
    def made(name: str) -> HubFolder:
        folder = tmp_path_factory.mktemp(name) / name
        MODELS[name].make(folder, "tiny")
        return HubFolder(folder)

    return made


def load(folder: HubFolder, output: str | None = None) -> Tower:
    return family_of(folder)[1].load(folder, Ask("image", "image", output))


def pixels(tower: Tower, seed: int = 0) -> np.ndarray[Any, Any]:
    size = (1, 3, tower.modality.height, tower.modality.width)  # type: ignore[union-attr]
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def original(folder: HubFolder, taken: np.ndarray[Any, Any], *, head: bool = False) -> Any:
    """The outputs of the model that transformers picks for the folder."""
    import torch
    from transformers import AutoModel, AutoModelForImageClassification

    model = (AutoModelForImageClassification if head else AutoModel).from_pretrained(folder.path).eval()
    with torch.inference_mode():
        return model(torch.from_numpy(taken))


def expected(name: str, made: Any, output: str) -> tuple[Any, Any]:
    """(tokens, the vector that the embedding is made of) as the original's outputs give them."""
    last, pooled = made.last_hidden_state.numpy(), made.pooler_output
    pooled = None if pooled is None else pooled.numpy().reshape(1, -1)
    if name in ("vit", "dinov2"):
        first, patches = last[:, 0], last[:, 1:]
        if name == "dinov2":
            pooled = np.concatenate([first, patches.mean(axis=1)], axis=1)
        vectors = {"class": first, "pooled": pooled, "mean": patches.mean(axis=1), "patches": first}
    else:
        patches = last.reshape(1, last.shape[1], -1).transpose(0, 2, 1)
        vectors = {"pooled": pooled, "mean": patches.mean(axis=1), "patches": pooled}
    vector = vectors[output]
    return (patches if output == "patches" else vector[:, None]), vector


@pytest.mark.parametrize("name", PLAIN)
def test_the_tower_gives_what_the_model_gives(name: str, checkpoint: Checkpoints) -> None:
    folder = checkpoint(name)
    for output in family_of(folder)[1].OUTPUTS:
        tower = load(folder, output)
        taken = pixels(tower)
        found = run_torch(tower.module, encoder(tower.modality), {"pixels": taken})
        tokens, vector = expected(name, original(folder, taken), output)
        assert found["tokens"].shape == tokens.shape == (1, *tower.modality.tokens)
        assert abs(found["tokens"] - tokens).max() <= 1e-5 * max(1.0, abs(tokens).max()), output
        assert abs(found["embedding"] - vector / np.linalg.norm(vector)).max() <= 1e-5, output


@pytest.mark.parametrize("name", PLAIN)
def test_the_graph_gives_what_the_tower_gives(name: str, checkpoint: Checkpoints) -> None:
    tower = load(checkpoint(name))
    interface = encoder(tower.modality)
    graph = to_onnx(tower.module, interface, "image")
    feeds = [{"pixels": pixels(tower, seed)} for seed in range(3)]
    answers = [run_torch(tower.module, interface, each) for each in feeds]
    found = compare(answers, [Runner(serialise(graph))(each) for each in feeds])
    assert max(each.max_relative_error for each in found.values()) <= 1e-4
    operators = {node.op_type for node in graph.graph.node}
    assert not operators & {"If", "Loop", "Scan", "Einsum", "GridSample", "IsNaN", "Resize", "NonZero"}
    assert np.std([each["embedding"] for each in answers], axis=0).max() > 1e-3, "the answer follows the picture"


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("resnet-classes", (None, "mean", "patches")),
        ("efficientnet-classes", (None, "mean", "patches")),
        ("convnext-classes", (None, "mean", "patches")),
        ("mobilenet-v2-classes", (None, "patches")),
        ("vit-classes", (None,)),
        ("dinov2-classes", (None,)),
    ],
)
def test_the_classifier_reads_the_mean_of_the_tokens(
    name: str, outputs: tuple[str | None, ...], checkpoint: Checkpoints
) -> None:
    import torch

    folder = checkpoint(name)
    for output in outputs:
        tower = load(folder, output)
        taken = pixels(tower)
        assert tower.classifier is not None
        with torch.inference_mode():
            tokens, _ = tower.module(torch.from_numpy(taken))
            logits = tower.classifier.module(tokens.mean(dim=1)).numpy()
        expected = original(folder, taken, head=True).logits.numpy()
        assert abs(logits - expected).max() <= 1e-5 * max(1.0, abs(expected).max()), output
        assert tower.classifier.labels == ("tench", "crane (1)", "crane (2)", "goldfish", "street sign")


def test_labels_that_come_twice_stay_apart() -> None:
    assert len(set(LABELS)) < len(LABELS)


@pytest.mark.parametrize(("name", "output"), [("vit-classes", "mean"), ("dinov2-classes", "class")])
def test_an_output_that_the_head_does_not_read_has_no_classifier(
    name: str, output: str, checkpoint: Checkpoints
) -> None:
    assert load(checkpoint(name), output).classifier is None


def test_dinov2_runs_at_another_size_than_it_was_trained_at(checkpoint: Checkpoints) -> None:
    folder = checkpoint("dinov2")
    assert folder.config["image_size"] == 56
    assert load(folder).modality.height == 32  # type: ignore[union-attr]


def test_a_picture_goes_the_same_way_as_in_transformers(checkpoint: Checkpoints) -> None:
    from chiasm.runtime.preprocess.image import image_tensor
    from transformers import AutoImageProcessor

    picture = np.random.default_rng(0).integers(0, 256, (50, 71, 3), dtype=np.uint8)
    for name in PLAIN:
        folder = checkpoint(name)
        tower = load(folder)
        taken = AutoImageProcessor.from_pretrained(folder.path)(picture, return_tensors="np")["pixel_values"]
        ours = image_tensor(picture, tower.modality)  # type: ignore[arg-type]
        assert abs(ours - taken).max() < 1e-5, name


# --- what cannot be read -----------------------------------------------------------------------------------------


def copied(folder: HubFolder, target: Path, **config: Any) -> Path:
    """The checkpoint in a new folder, with keys of config.json changed."""
    import shutil

    shutil.copytree(folder.path, target)
    (target / "config.json").write_text(json.dumps(folder.config | config))
    return target


def changed_weights(path: Path, change: Callable[[dict[str, Any]], object]) -> HubFolder:
    from safetensors.torch import load_file, save_file

    state = load_file(path / "model.safetensors")
    change(state)
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    return HubFolder(path)


def test_an_output_that_there_is_not(checkpoint: Checkpoints) -> None:
    with pytest.raises(ExportError, match="no such output: found class, expected one of pooled, mean, patches"):
        load(checkpoint("resnet"), "class")


def test_a_missing_weight_is_named(checkpoint: Checkpoints, tmp_path: Path) -> None:
    path = copied(checkpoint("vit"), tmp_path / "vit")
    folder = changed_weights(path, lambda state: state.pop("layernorm.weight"))
    with pytest.raises(CheckpointError, match=r"lacks weights: found 1: layernorm\.weight"):
        load(folder)


def test_a_pooler_is_missed_only_where_it_is_asked_for(checkpoint: Checkpoints) -> None:
    folder = checkpoint("vit-classes")
    load(folder, "class")
    with pytest.raises(CheckpointError, match=r"lacks weights: found 2: pooler\.dense"):
        load(folder, "pooled")


def test_an_unexpected_weight_is_named(checkpoint: Checkpoints, tmp_path: Path) -> None:
    import torch

    path = copied(checkpoint("resnet"), tmp_path / "resnet")
    folder = changed_weights(path, lambda state: state.update({"adapter.weight": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match=r"no place for: found 1: adapter\.weight"):
        load(folder)


def test_a_folder_of_pickles_is_told_how_to_convert_them(checkpoint: Checkpoints, tmp_path: Path) -> None:
    path = copied(checkpoint("vit"), tmp_path / "vit")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin, expected model\.safetensors\. Convert it"):
        load(HubFolder(path))


def test_a_processor_of_another_model(checkpoint: Checkpoints, tmp_path: Path) -> None:
    path = copied(checkpoint("vit"), tmp_path / "vit")
    (path / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')
    with pytest.raises(CheckpointError, match=r"pictures of 224 × 224, expected 32 × 32, as config\.json says"):
        load(HubFolder(path))


def test_code_of_the_checkpoint_is_never_run(checkpoint: Checkpoints, tmp_path: Path) -> None:
    path = copied(checkpoint("vit"), tmp_path / "vit")
    mapped = {"image_processor_type": "MyProcessor", "auto_map": {"AutoImageProcessor": "mine.MyProcessor"}}
    (path / "preprocessor_config.json").write_text(json.dumps(mapped))
    with pytest.raises(CheckpointError, match="Such code is never run"):
        load(HubFolder(path))
    with pytest.raises(CheckpointError, match="asks for code of its own"):
        HubFolder(copied(checkpoint("vit"), tmp_path / "other", auto_map={"AutoModel": "mine.Model"}))


def test_an_unknown_family_lists_the_known_ones(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = HubFolder(copied(checkpoint("vit"), tmp_path / "vit", model_type="vitt"))
    with pytest.raises(CheckpointError, match="Did you mean vit"):
        load(folder)
