"""From a pipeline's folder to a decoder: sizes, schedules, defaults, and what is said when something is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="its classes are what is loaded")

import torch
from chiasm.bench.zoo.diffusion import MODELS
from chiasm.export import export
from chiasm.export.assemble import RECIPE, assemble, open_assembly
from chiasm.export.assembly import Assembly
from chiasm.export.diffusion.folder import load_network
from chiasm.export.recipe import DecoderRecipe, Recipe
from chiasm.export.suggest import suggest
from chiasm.runtime.errors import CheckpointError, ChiasmError, ExportError
from chiasm.runtime.manifest import DiffusionDecoder
from drawn_twice import WARNINGS
from safetensors.torch import load_file, save_file

pytestmark = [pytest.mark.filterwarnings(each) for each in WARNINGS]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    for name, model in MODELS.items():
        model.make(folder / name, "tiny")
    return folder


def _assembly(zoo: Path, **table: Any) -> Assembly:
    return assemble(Recipe(decoder=DecoderRecipe(**table)), zoo, name="x")


def _decoder(zoo: Path, **table: Any) -> DiffusionDecoder:
    decoder = _assembly(zoo, **table).decoder
    assert isinstance(decoder, DiffusionDecoder)
    return decoder


def test_what_a_pipeline_says_of_itself(zoo: Path) -> None:
    lcm, turbo, sd2, sdxl, sd3 = (_decoder(zoo, checkpoint=name) for name in ("lcm", "turbo", "sd2", "sdxl", "sd3"))
    assert (lcm.schedule.kind, lcm.schedule.strength, lcm.guidance, lcm.steps) == ("lcm", "squeeze", 8.5, (1, 2, 4, 8))
    assert (turbo.schedule.timestep_spacing, turbo.guidance, turbo.default_steps) == ("trailing", 1.0, 4)
    assert (sd2.schedule.prediction_type, sd2.guidance, sd2.default_steps) == ("v_prediction", 7.5, 20)
    assert (sdxl.unprompted, list(sdxl.prompts), sdxl.latent) == ("zeros", ["clip", "clip_2"], (4, 16, 16))
    assert (sd3.schedule.shift, list(sd3.prompts), sd3.default_steps) == (3.0, ["clip", "clip_2", "t5"], 28)
    assert (sd2.prompts["clip"].pad_id, sd2.prompts["clip"].length) == (0, 77)
    assert sd3.prompts["t5"].length == 256


def test_what_a_recipe_changes(zoo: Path) -> None:
    tcd = _decoder(zoo, checkpoint="sd15", schedule={"kind": "tcd"}, vae="taesd", height=48, width=16, steps=(4, 2))
    assert (tcd.schedule.kind, tcd.schedule.eta, tcd.guidance) == ("tcd", 0.3, 1.0)
    assert (tcd.latent, tcd.picture, tcd.steps, tcd.default_steps) == ((4, 24, 8), (48, 16), (2, 4), 4)
    assert (tcd.pictures, tcd.default) == ({"tiny": "picture.tiny"}, "tiny")
    both = _decoder(zoo, checkpoint="sd15", schedule={"kind": "ddim", "eta": 0.5}, vae="taesd", keep_vae=True,
                    guidance=30.0, default_steps=7, encoder=False)  # fmt: skip
    assert (list(both.pictures), both.default, both.encoder) == (["full", "tiny"], "tiny", None)
    assert (both.schedule.eta, both.guidance_range, both.default_steps) == (0.5, (1.0, 30.0), 7)
    three = _decoder(zoo, checkpoint="sd3", drop=("text_encoder_3",))
    assert list(three.prompts) == ["clip", "clip_2"]
    assert _decoder(zoo, checkpoint="sd3", length=20).prompts["t5"].length == 20


def test_a_single_folder_needs_no_recipe(zoo: Path) -> None:
    assembly, recipe = open_assembly(zoo / "sd15")
    assert recipe is not None
    assert recipe.decoder == DecoderRecipe(checkpoint=".", schedule={"kind": "ddim"})
    assert (assembly.model.name, assembly.modalities, assembly.fusion) == ("sd15", (), None)
    assert {RECIPE, "clip.tokenizer.json"} == set(assembly.files)


def test_folders_are_put_together(zoo: Path) -> None:
    from chiasm.bench.zoo.pairs import MODELS as PAIRS

    PAIRS["clip"].make(zoo / "clip", "tiny")
    made = suggest([zoo / "turbo", zoo / "clip", zoo / "taesd"], zoo)
    assert made.decoder == DecoderRecipe(checkpoint="turbo", vae="taesd")
    assert sorted(made.modalities) == ["image", "text"]
    assembly = assemble(made, zoo, name="both")
    assert list(assembly.parts)[:4] == ["image", "text", "fuse.mean", "heads"]
    assert "denoiser" in assembly.parts
    with pytest.raises(ExportError, match="found 2 pipelines and 0 autoencoders"):
        suggest([zoo / "turbo", zoo / "lcm"], zoo)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"checkpoint": "nowhere"}, "nowhere is not a diffusers pipeline: found no such folder"),
        ({"checkpoint": "taesd"}, "taesd is not a diffusers pipeline: found no model_index.json"),
        ({"checkpoint": "sd15"}, "Not a sampler of ours: found PNDMScheduler.*Ask for another schedule"),
        ({"checkpoint": "turbo", "schedule": {"kind": "heun"}}, "Not a sampler of ours: found heun"),
        ({"checkpoint": "turbo", "schedule": {"kind": 3}}, "kind: found 3"),
        ({"checkpoint": "turbo", "schedule": {"gamma": 3}}, "constants of .* cannot be used.*gamma"),
        ({"checkpoint": "turbo", "height": 33}, "33 × 32, expected height and width that are multiples of 2"),
        ({"checkpoint": "sd3", "width": 34}, "multiples of 4"),
        ({"checkpoint": "turbo", "steps": (4000,)}, "steps cannot be planned: steps: found 4000"),
        ({"checkpoint": "turbo", "guidance": 3.0, "guidance_range": (1.0, 2.0)}, "found 3.0, expected 1 to 2"),
        ({"checkpoint": "turbo", "drop": ("text_encoder",)}, "cannot do without that: found text_encoder"),
        ({"checkpoint": "turbo", "length": 20}, "for T5, which this pipeline has not"),
        ({"checkpoint": "turbo", "keep_vae": True}, "expected a vae"),
        ({"checkpoint": "turbo", "vae": "turbo/vae", "keep_vae": True}, "two autoencoders of one kind"),
        ({"checkpoint": "turbo", "vae": "turbo/unet"}, "no autoencoder that chiasm knows: found UNet2DCondition"),
        ({"checkpoint": "turbo", "vae": "sd3/vae"}, "does not fit the denoiser.*16 channels.*4 channels"),
        ({"checkpoint": "sd3", "length": 1}, "2 to 4096 tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_done(zoo: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises((CheckpointError, ExportError), match=f"(?s){message}") as caught:
        _assembly(zoo, **table)
    assert len(str(caught.value).splitlines()) == 1


def _index(folder: Path, **changes: Any) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def _config(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))

    return change


def _pickled(name: str, file: str = "diffusion_pytorch_model") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for path in (folder / name).glob("*.safetensors"):
            path.rename(folder / name / f"{file}.bin")

    return change


def _without(name: str) -> Callable[[Path], object]:
    return lambda folder: shutil.rmtree(folder / name)


def _tensor(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name / "diffusion_pytorch_model.safetensors"
        tensors = load_file(path) | changes
        save_file({key: value for key, value in tensors.items() if value is not None}, path)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: _index(folder, _class_name="StableDiffusionXLPipelin"), "does not know.*Did you mean StableD"),
        (
            lambda folder: _index(folder, _class_name="FluxPipeline"),
            "found FluxPipeline, expected one of .*export",
        ),
        (lambda folder: _index(folder, unet=["my_code", "MyUNet"]), "class that chiasm does not know: found MyUNet"),
        (lambda folder: _index(folder, vae=[None, None]), "model_index.json without vae"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "is not JSON"),
        (_without("text_encoder"), "not a whole StableDiffusionPipeline: found no folder text_encoder"),
        (_without("unet"), "found no folder unet"),
        (_without("scheduler"), "found no folder scheduler"),
        (_without("tokenizer"), "found no folder tokenizer"),
        (lambda folder: (folder / "tokenizer" / "vocab.json").unlink(), "is not a CLIP tokenizer"),
        (_config("unet", in_channels=5), "5 channels in, 4 out"),
        (_config("unet", class_embed_type="timestep"), "an input that nothing gives it"),
        (_config("unet", sample_size=None), "does not say how large"),
        (_config("text_encoder", use_attention_mask=True), "reads a mask"),
        (_pickled("unet"), "format that can run code.*diffusion_pytorch_model.bin.*Convert it.*unet/diffusion_pyt"),
        (_pickled("vae"), "format that can run code.*vae/diffusion_pytorch_model.safetensors"),
        (_pickled("text_encoder", "pytorch_model"), "format that can run code.*model.safetensors"),
        (lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink(), "has no weights"),
        (lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"x"), "cannot be read"),
        (_tensor("unet", **{"conv_in.weight": None}), "lacks weights: found 1: conv_in.weight"),
        (_tensor("unet", extra=torch.zeros(1)), "no place for: found 1: extra"),
        (_tensor("vae", **{"decoder.conv_in.bias": torch.zeros(3)}), "unusable shape: found 1: decoder.conv_in.bias"),
        (_config("unet", block_out_channels=[16]), "is not of a UNet2DConditionModel"),
    ],
)
def test_a_damaged_pipeline_is_refused_and_leaves_nothing(
    zoo: Path, tmp_path: Path, change: Callable[[Path], Any], message: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(zoo / "turbo", folder)
    change(folder)
    with pytest.raises(ChiasmError, match=f"(?s){message}") as caught:
        _load_all(tmp_path, "copy")
    assert len(str(caught.value).splitlines()) == 1


def _load_all(root: Path, checkpoint: str) -> None:
    for source in _assembly(root, checkpoint=checkpoint).parts.values():
        source.load()


def test_an_export_that_fails_leaves_nothing_behind(zoo: Path, tmp_path: Path) -> None:
    """Pickles are refused before any work; a broken file when its part's turn comes."""
    for change, message in ((_pickled("vae"), "format that can run code"),
                            (_config("text_encoder", hidden_size=48), "unusable shape")):  # fmt: skip
        shutil.copytree(zoo / "turbo", tmp_path / "copy")
        change(tmp_path / "copy")
        with pytest.raises(CheckpointError, match=message):
            export(tmp_path / "copy", tmp_path / "out.chiasm")
        assert [each.name for each in tmp_path.iterdir()] == ["copy"]
        shutil.rmtree(tmp_path / "copy")


def test_t5_needs_its_tokenizer_in_one_file(zoo: Path, tmp_path: Path) -> None:
    shutil.copytree(zoo / "sd3", tmp_path / "sd3")
    (tmp_path / "sd3" / "tokenizer_3" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json.*Make it"):
        _assembly(tmp_path, checkpoint="sd3")


def test_weights_in_several_files_in_half_precision_and_of_2022(zoo: Path, tmp_path: Path) -> None:
    """The same tensors: split by an index, FP16 alone, and with the names that attention once had."""
    import diffusers

    shutil.copytree(zoo / "turbo" / "vae", tmp_path / "vae")
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    model = diffusers.AutoencoderKL.from_pretrained(tmp_path / "vae").state_dict()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, value in tensors.items():
        for new, before in old.items():
            if f".{new}." in name:
                name = name.replace(f".{new}.", f".{before}.")
                value = value[..., None, None] if value.ndim == 2 else value
        renamed[name] = value.half().contiguous()
    names = sorted(renamed)
    path.unlink()
    for index, chosen in enumerate((names[::2], names[1::2])):
        save_file({name: renamed[name] for name in chosen}, tmp_path / "vae" / f"part-{index}.safetensors")
    where = {name: f"part-{index % 2}.safetensors" for index, name in enumerate(names)}
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    _same(load_network(tmp_path / "vae", "AutoencoderKL"), model)
    save_file(renamed, tmp_path / "vae" / "diffusion_pytorch_model.fp16.safetensors")
    _same(load_network(tmp_path / "vae", "AutoencoderKL"), model)


def _same(network: torch.nn.Module, expected: dict[str, torch.Tensor]) -> None:
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        np.testing.assert_allclose(tensor.numpy(), expected[name].numpy(), rtol=1e-3, atol=1e-4)
