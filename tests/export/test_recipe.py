"""Recipes: read strictly, written back the same."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the export package's extra")

from chiasm.export.recipe import (
    CaptionsRecipe,
    DecoderRecipe,
    ExportRecipe,
    FusionRecipe,
    HeadRecipe,
    ModalityRecipe,
    ModelRecipe,
    Recipe,
    read_recipe,
    to_toml,
)
from chiasm.runtime import ExportError

WHOLE = Recipe(
    model=ModelRecipe(name='a "quoted" name', version="2", licence="MIT", description="über\nzwei Zeilen"),
    modalities={
        "image": ModalityRecipe(checkpoint="clip", kind="image", output="pooled", rate_hz=30.0),
        "sound": ModalityRecipe(module="nets.py:build", kind="audio", preprocess={"sample_rate": 16000}),
    },
    fusion=FusionRecipe(kind="gated", weights="gated.safetensors", options={"width": 32}),
    heads={"hazard": HeadRecipe(labels=("clear", "brake"), weights="hazard.safetensors")},
    decoder=DecoderRecipe(
        checkpoint="sd", schedule={"kind": "tcd", "eta": 0.2}, steps=(1, 4), guidance_range=(1.0, 2.0)
    ),
    captions=CaptionsRecipe(modality="image", prompt="a picture of", beams=3, early_stopping="never"),
    export=ExportRecipe(precisions=("fp32", "int8-cpu"), calibration={"image": "frames", "sound": "sounds"}, samples=8),
)


def _written(folder: Path, text: str) -> Path:
    path = folder / "street.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_comes_back_as_it_was(tmp_path: Path) -> None:
    assert read_recipe(_written(tmp_path, to_toml(WHOLE))) == WHOLE


def test_what_is_as_by_default_is_left_out() -> None:
    assert to_toml(Recipe(modalities={"image": ModalityRecipe(checkpoint="vit")})).split() == [
        "[modalities.image]", "checkpoint", "=", '"vit"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[modalities.image]\nchekpoint = "x"', r"unknown key in modalities\.\*: found chekp.* Did you mean checkp"),
        ("[modalitis.image]", "unknown key in the top level: found modalitis.*Did you mean modalities"),
        ('[fusion]\nweigths = "x"', "unknown key in fusion: found weigths.*Did you mean weights"),
        ("[modalities.image]\ncheckpoint = 3", r"modalities\.\*\.checkpoint is not as it should be.*got 'int'"),
        ('[export]\nprecisions = ["int4"]', r"export\.precisions.*int4"),
        ("[captions]\nmodalty = 'image'", "unknown key in captions: found modalty.*Did you mean modality"),
        ("[captions]\nbeams = 3", "captions is not as it should be: found Object missing required field 'modality'"),
        ("[captions]\nmodality = 'i'\nbeams = 'many'", r"captions\.beams is not as it should be.*got 'str'"),
        ("[captions]\nmodality = 'i'\nearly_stopping = 'ever'", r"captions\.early_stopping.*ever"),
        ("x = ", "is not TOML"),
        ("", "names nothing to export"),
        ("[modalities.image]", "image: found neither, expected either checkpoint or module"),
        ('[modalities.image]\ncheckpoint = "a"\nmodule = "b:c"', "found both"),
        ('[modalities.image]\nmodule = "b:c"', "module of your own: expected its kind"),
        ('[modalities.image]\ncheckpoint = "a"\n[export.calibration]\nimages = "f"', "no modality.*images.*image"),
        ('[decoder]\nchekpoint = "x"', "unknown key in decoder: found chekpoint.*Did you mean checkpoint"),
        ("[decoder]\nlora_scale = 2.0", "decoder: found neither, expected either checkpoint or module"),
        ('[decoder]\ncheckpoint = "x"\nnoise = [1, 2]', "decoder is a pipeline: found noise"),
        ('[decoder]\ncheckpoint = "x"\n[fusion]\nkind = "mean"', "has a fusion or heads: found no modalities"),
        (
            '[decoder]\ncheckpoint = "x"\n[export.calibration]\nimage = "f"',
            "found image, expected some of prompt, pict",
        ),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ExportError, match=f"(?s){message}"):
        read_recipe(_written(tmp_path, text))


def test_no_recipe_at_all(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot be read: found No such file.*nowhere\.toml"):
        read_recipe(tmp_path / "nowhere.toml")
