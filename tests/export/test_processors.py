"""Processor files of checkpoints: their constants, the complaints, and the same pictures as transformers makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chiasm.bench.zoo.processors import SETTINGS, agreement, pictures
from chiasm.export.hub import HubFolder
from chiasm.export.processors import image_constants
from chiasm.runtime.errors import CheckpointError

SIZES = ((1, 1), (3, 2), (5, 300), (300, 5), (97, 101), (224, 224), (240, 321), (600, 150), (257, 200))
"""A few of the fifty: `python -m chiasm.bench.zoo.processors` takes all."""


def folder(path: Path, model_type: str = "vit", **files: Any) -> HubFolder:
    path.mkdir(exist_ok=True)
    for stem, values in {"config": {"model_type": model_type}, **files}.items():
        (path / f"{stem}.json").write_text(json.dumps(values))
    return HubFolder(path)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_pictures_are_those_of_transformers(name: str) -> None:
    found = agreement(SETTINGS[name], pictures(SIZES))
    assert found.processor.endswith("Pil"), "without torchvision the Pillow ones are picked"
    assert found.largest <= 1.01
    assert found.identical >= 0.999


def test_a_wrong_filter_would_show() -> None:
    """What the comparison is worth: one setting off, and it fails."""
    from chiasm.bench.zoo import processors

    changed = dict(SETTINGS["vit"], resample=3)
    _, run = processors.theirs(SETTINGS["vit"])
    modality = processors.modality_of(changed)
    largest, same, total = processors.compare(modality, run, pictures(((240, 321),)))
    assert largest > 1.01
    assert same / total < 0.999


def test_the_published_files(tmp_path: Path) -> None:
    clip = image_constants(folder(tmp_path, "clip", preprocessor_config=SETTINGS["clip"]))
    assert (clip["height"], clip["width"], clip["edge"]) == (224, 224, 224)
    assert (clip["resize"], clip["crop"], clip["filter"]) == ("shortest-edge", "centre", "bicubic")
    convnext = image_constants(folder(tmp_path, "convnext", preprocessor_config=SETTINGS["convnext 224"]))
    assert (convnext["edge"], convnext["height"]) == (256, 224)
    align = image_constants(folder(tmp_path, "align", preprocessor_config=SETTINGS["align"]))
    assert (align["resized"], align["height"], align["mean"]) == ((346, 346), 289, (1.0, 1.0, 1.0))
    top = image_constants(folder(tmp_path, "efficientnet", preprocessor_config=SETTINGS["efficientnet"]))
    assert top["filter"] == "nearest"
    assert top["std"] == pytest.approx((0.229, 0.224, 0.225), rel=1e-4), "a standard deviation and its square root"


def test_a_nested_file_goes_first(tmp_path: Path) -> None:
    nested = {"image_processor": {"image_processor_type": "ViTImageProcessor", "size": {"height": 30, "width": 40}}}
    made = folder(tmp_path, preprocessor_config=SETTINGS["vit"], processor_config=nested)
    assert image_constants(made)["height"] == 30


def test_a_file_without_a_class_is_read_by_the_model(tmp_path: Path) -> None:
    made = image_constants(folder(tmp_path, "mobilenet_v2", preprocessor_config={}))
    assert (made["edge"], made["height"], made["filter"]) == (256, 224, "bilinear")


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({"do_flip_channel_order": True}, "do_flip_channel_order = True"),
        ({"image_processor_type": "DetrImageProcessor"}, "an image processor that chiasm does not know"),
        ({"size": {"shortest_edge": 224, "longest_edge": 400}}, "found {'shortest_edge': 224, 'longest_edge': 400}"),
        ({"size": {"shortest_edge": 224}}, "tensors of varying size"),
        ({"resample": 9}, "found 9, expected 0 to 5"),
        ({"image_mean": [0.5, 0.5]}, "image_mean is not for three channels"),
        ({"do_center_crop": True, "crop_size": {"shortest_edge": 3}}, "crop_size is not a height and a width"),
        ({"data_format": "channels_last"}, "expected channels_first"),
        ({"size": "large"}, "unusable value"),
        ({"do_center_crop": True, "crop_size": 9, "do_pad": True, "pad_size": {"height": 20, "width": 20}}, "a pad"),
    ],
)
def test_what_cannot_be_reproduced_is_named(tmp_path: Path, found: dict[str, Any], complaint: str) -> None:
    made = folder(tmp_path, preprocessor_config={"image_processor_type": "ViTImageProcessor", **found})
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json") as caught:
        image_constants(made)
    assert complaint in str(caught.value)


def test_settings_that_change_no_pixel_and_steps_that_are_off(tmp_path: Path) -> None:
    plain = image_constants(folder(tmp_path, preprocessor_config=SETTINGS["vit"]))
    more = {**SETTINGS["vit"], "do_convert_rgb": True, "processor_class": "X", "do_flip": False, "crop_pct": None}
    assert image_constants(folder(tmp_path, preprocessor_config=more)) == plain


def test_a_folder_without_the_file_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json"):
        image_constants(folder(tmp_path))
