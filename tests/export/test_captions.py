"""A BLIP from its checkpoint to captions: token for token what transformers' `generate` gives; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export package's extra")

from chiasm.bench.zoo.captions import blip  # noqa: E402
from chiasm.bench.zoo.image import MODELS as IMAGES  # noqa: E402
from chiasm.cli.verify import _load as what_verify_compares_with  # noqa: E402
from chiasm.export import Calibration, Settings, export  # noqa: E402
from chiasm.export.assemble import open_assembly  # noqa: E402
from chiasm.export.assembly import Assembly  # noqa: E402
from chiasm.export.model import parse  # noqa: E402
from chiasm.export.recipe import CaptionsRecipe  # noqa: E402
from chiasm.export.report import FILE, decode  # noqa: E402
from chiasm.export.suggest import suggest  # noqa: E402
from chiasm.export.verify import verify  # noqa: E402
from chiasm.runtime import ChiasmError, InputError, Packet, Pipeline, load  # noqa: E402

WEIGHTS = ((1, 0.3, 3.0), (2, 0.3, 2.5), (4, 0.4, 4.0))
"""Seed, spread and the end token's bias of checkpoints whose captions differ, and of which some end by themselves."""
WHOLE = WEIGHTS[1]
"""The one that is exported in every precision, the others in FP32."""
PICTURES = 20


class Made(NamedTuple):
    folder: Path
    model: Any
    pixels: Any
    """picture → pixel values, by transformers' own processor."""
    pipeline: Pipeline


def pictures(count: int = PICTURES) -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    sizes = random.integers(20, 90, (count, 2))
    return [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


def bundle_of(folder: Path, out: Path, precisions: tuple[str, ...]) -> Path:
    captures = Calibration({"image": [Packet("image", each) for each in pictures(6)]})
    return export(folder, out, calibration=captures, settings=Settings(precisions, rounds=1))


@pytest.fixture(scope="module", params=WEIGHTS, ids=lambda each: f"seed {each[0]}")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    from transformers import AutoImageProcessor, BlipForConditionalGeneration

    seed, spread, ending = request.param
    place = tmp_path_factory.mktemp("captions")
    blip(place / "blip", "tiny", seed, spread=spread, ending=ending)
    model = BlipForConditionalGeneration.from_pretrained(place / "blip").eval()
    processor = AutoImageProcessor.from_pretrained(place / "blip")
    precisions = ("fp32", "fp16", "int8-cpu") if request.param == WHOLE else ("fp32",)
    with load(bundle_of(place / "blip", place / "blip.chiasm", precisions), precision="fp32") as pipeline:
        yield Made(place / "blip", model, lambda each: processor(each, return_tensors="pt")["pixel_values"], pipeline)


def expected(made: Made, picture: Any, **asked: Any) -> Any:
    with torch.inference_mode():
        return made.model.generate(
            pixel_values=made.pixels(picture), return_dict_in_generate=True, output_scores=True, **asked
        )


def test_greedy_captions_are_those_of_generate(made: Made) -> None:
    found = [made.pipeline.caption(image=each) for each in pictures()]
    assert [list(each.tokens) for each in found] == [
        expected(made, each, max_new_tokens=20).sequences[0].tolist() for each in pictures()
    ]
    assert len({each.tokens for each in found}) > PICTURES // 2, "the captions follow the pictures"
    lengths = [len(each.tokens) for each in found]
    assert sorted(lengths)[3] < 21 == max(lengths), "some captions end by themselves, and some must be cut off"


@pytest.mark.parametrize("penalty", [1.0, 0.0, -1.0, 2.0])
def test_captions_by_three_beams_are_those_of_generate(made: Made, penalty: float) -> None:
    for picture in pictures() if penalty == 1.0 else pictures(6):
        asked = expected(made, picture, max_new_tokens=12, num_beams=3, length_penalty=penalty)
        found = made.pipeline.caption(image=picture, beams=3, max_tokens=12, length_penalty=penalty)
        assert list(found.tokens) == asked.sequences[0].tolist()
        assert found.score == pytest.approx(float(asked.sequences_scores[0]), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("early", [True, "never"])
def test_every_way_of_stopping(made: Made, early: bool | str) -> None:
    for picture in pictures(6):
        asked = expected(made, picture, max_new_tokens=12, num_beams=4, early_stopping=early)
        found = made.pipeline.caption(image=picture, beams=4, max_tokens=12, early_stopping=early)
        assert list(found.tokens) == asked.sequences[0].tolist()


@pytest.mark.parametrize("beams", [1, 3])
def test_captions_that_begin_with_a_prompt(made: Made, beams: int) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    for picture in pictures(10):
        ids = tokenizer("a picture of", return_tensors="pt")["input_ids"]
        given = int(ids.shape[1]) - 1
        asked = expected(made, picture, input_ids=ids, max_new_tokens=10, num_beams=beams).sequences[0].tolist()
        found = made.pipeline.caption(image=picture, prompt="a picture of", beams=beams, max_tokens=10)
        assert list(found.tokens) == asked
        assert len(found.tokens) > given
        assert found.text == tokenizer.decode(asked, skip_special_tokens=True)


@pytest.mark.parametrize("made", [WHOLE], indirect=True)
def test_a_bundle_in_every_precision_is_verified(made: Made) -> None:
    bundle = made.pipeline.bundle
    report = decode((bundle.path / FILE).read_bytes())
    assert list(report.parts) == ["image", "fuse.mean", "heads", "caption.prefill", "caption.step"]
    for part in ("caption.prefill", "caption.step"):
        there = {each.precision for each in bundle.manifest.parts[part].variants}
        refused = {each.precision for each in report.refused if each.part == part}
        assert there | refused == {"fp32", "fp16", "int8-cpu"}
        outputs = report.parts[part].variants["fp32"].outputs
        assert set(outputs) == {each.name for each in bundle.manifest.parts[part].outputs}
        assert max(each.max_relative_error for each in outputs.values()) <= 1e-4
    feeds = {part: each.feeds for part, each in report.parts.items()}
    assert feeds["caption.step"] >= 6
    shares = {name: each.same_token for name, each in report.parts["caption.step"].variants.items()}
    assert shares["fp32"] == 1.0
    assert all(share is not None and 0.5 <= share <= 1 for share in shares.values())
    assert report.parts["caption.prefill"].variants["fp32"].same_token is None
    captures = Calibration({"image": [Packet("image", each) for each in pictures(6)]})
    for assembly in (None, what_verify_compares_with(str(made.folder))):
        again = verify(bundle, captures, assembly=assembly)
        assert again.passed
        assert {part: each.feeds for part, each in again.parts.items()} == feeds
    with load(bundle.path, precision="fp16") as half:
        for picture in pictures(3):
            first = [each.caption(image=picture, max_tokens=1).tokens for each in (half, made.pipeline)]
            assert first[0] == first[1]


def test_the_table_of_words_is_stored_once(made: Made) -> None:
    """The words that go in and the words that come out are the same weights, a fifth of the real decoder."""
    weights = parse(made.pipeline.bundle.graph("caption.step", "fp32")).weights
    own = made.pipeline.manifest.captioner
    assert own is not None
    assert sum(own.vocabulary in each.shape and each.ndim == 2 for each in weights.values()) == 1


def test_the_step_is_fed_with_captions(made: Made) -> None:
    """What calibrates and compares the step are the states in which it is when pictures are described."""
    from chiasm.export.calibrate import part_feeds, prepare

    bundle = made.pipeline.bundle
    manifest, own = bundle.manifest, bundle.manifest.captioner
    assert own is not None
    packets = [Packet("image", each) for each in pictures(2)]
    graphs = {part: bundle.graph(part, "fp32") for part in manifest.parts}
    feeds = part_feeds(manifest, graphs, {"image": prepare(manifest, bundle.read, packets)}, 100)
    assert len(feeds[own.prefill]) == 2
    told = [made.pipeline.caption(image=each.data).tokens[:-1] for each in packets]
    read = [(each["position"].item(), each["token"].item()) for each in feeds[own.step]]
    assert sorted(read) == sorted(pair for tokens in told for pair in enumerate(tokens))
    for each in feeds[own.step]:
        position = each["position"].item()
        assert not each["keys"][:, :, position:].any()
        assert np.abs(each["keys"][:, :, :position]).min(initial=1.0, axis=(0, 1, 3)).all()


# recipes


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints `blip` and `vit`."""
    place = tmp_path_factory.mktemp("folders")
    blip(place / "blip", "tiny")
    IMAGES["vit"].make(place / "vit", "tiny")
    return place


def opened(folders: Path, tmp_path: Path, captions: str, image: str = 'checkpoint = "blip"') -> Assembly:
    recipe = tmp_path / "told.toml"
    text = f"[modalities.image]\n{image}\n[captions]\n{captions}\n".replace('"blip"', f'"{folders}/blip"')
    recipe.write_text(text.replace('"vit"', f'"{folders}/vit"'), encoding="utf-8")
    return open_assembly(recipe)[0]


def test_a_recipe_says_how_captions_are_made(folders: Path, tmp_path: Path) -> None:
    asked = 'modality = "image"\nlength = 30\nprompt = "a picture of"\nbeams = 4\nmax_tokens = 9\nlength_penalty = -0.5'
    assembly = opened(folders, tmp_path, asked + '\nearly_stopping = "never"')
    made = assembly.captioner
    assert made is not None
    assert (made.length, made.prompt, made.beams, made.max_tokens) == (30, "a picture of", 4, 9)
    assert (made.length_penalty, made.early_stopping) == (-0.5, "never")
    assert list(assembly.parts)[-2:] == [made.prefill, made.step]
    assert made.tokenizer in assembly.files
    usual = opened(folders, tmp_path, 'modality = "image"').captioner
    assert usual is not None
    assert (usual.length, usual.prompt, usual.beams, usual.max_tokens) == (48, "", 1, 20)


def test_folders_that_describe_pictures_are_found(folders: Path) -> None:
    assert suggest([folders / "vit"], folders).captions is None
    both = suggest([folders / "vit", folders / "blip"], folders)
    assert both.captions == CaptionsRecipe(modality="image_blip")
    assembly, recipe = open_assembly(folders / "blip")
    assert recipe is not None
    assert recipe.captions == CaptionsRecipe(modality="image")
    assert b"[captions]" in assembly.files["recipe.toml"]


@pytest.mark.parametrize(
    ("captions", "image", "complaint"),
    [
        ('modality = "image"', 'checkpoint = "vit"', "cannot be described in words: found vit, expected one of blip"),
        ('modality = "image"', 'checkpoint = "blip"\noutput = "pooled"', "need its patches: found pooled"),
        ('modality = "image"', 'checkpoint = "blip"\nprojection = "p.safetensors"', "has a projection"),
        ('modality = "image"', 'module = "nets.py:net"\nkind = "image"', "is a network of your own"),
        ('modality = "image"\nlength = 49', 'checkpoint = "blip"', "found length 49, expected 2 to 48"),
        ('modality = "image"\nbeams = 452', 'checkpoint = "blip"', "Not a number of beams: found 452"),
        ('modality = "image"\nmax_tokens = 48', 'checkpoint = "blip"', "Not a number of max_tokens: found 48"),
        ('modality = "image"\nlength = 4\nprompt = "a picture of"', 'checkpoint = "blip"', "The prompt is too long"),
        ('modality = "image"\nlength_penalty = 1e9', 'checkpoint = "blip"', "Not a length penalty"),
        ('modality = "sound"', 'checkpoint = "blip"', "captions.modality names no modality.*found sound.*image"),
    ],
)
def test_captions_that_cannot_be_made(folders: Path, tmp_path: Path, captions: str, image: str, complaint: str) -> None:
    with pytest.raises(ChiasmError, match=f"(?s){complaint}") as caught:
        opened(folders, tmp_path, captions, image)
    assert not isinstance(caught.value, InputError)


def test_a_checkpoint_as_older_transformers_wrote_it(tmp_path: Path) -> None:
    """The published ones hold positions and tied weights as tensors of their own, and the search in config.json."""
    from safetensors.torch import load_file, save_file

    blip(tmp_path / "blip", "tiny")
    expected = open_assembly(tmp_path / "blip")[0]
    path = tmp_path / "blip" / "model.safetensors"
    tensors = load_file(path)
    table = tensors["text_decoder.bert.embeddings.word_embeddings.weight"]
    tensors["text_decoder.bert.embeddings.position_ids"] = torch.arange(48)[None]
    tensors["text_decoder.cls.predictions.decoder.weight"] = table.clone()
    tensors["text_decoder.cls.predictions.decoder.bias"] = tensors["text_decoder.cls.predictions.bias"].clone()
    save_file(tensors, path, metadata={"format": "pt"})
    (tmp_path / "blip" / "generation_config.json").unlink()
    config = json.loads((tmp_path / "blip" / "config.json").read_text())
    told = {"max_length": 20, "min_length": 0, "num_beams": 1, "do_sample": False, "repetition_penalty": 1.0}
    config["text_config"].update(told)
    (tmp_path / "blip" / "config.json").write_text(json.dumps(config))
    found = open_assembly(tmp_path / "blip")[0]
    assert found.captioner == expected.captioner
    steps = [each.parts["caption.step"].load().state_dict() for each in (found, expected)]
    assert all(torch.equal(value, steps[1][name]) for name, value in steps[0].items())


def test_a_checkpoint_that_answers_questions_is_another(tmp_path: Path) -> None:
    blip(tmp_path / "blip", "tiny")
    path = tmp_path / "blip" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["BlipForQuestionAnswering"]}))
    with pytest.raises(ChiasmError, match="found BlipForQuestionAnswering"):
        open_assembly(tmp_path / "blip")


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        ("repetition_penalty", 1.5, "a search that chiasm does not have: found repetition_penalty 1.5"),
        ("do_sample", True, "found do_sample True"),
    ],
)
def test_searches_that_there_are_not(
    folders: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: Any, complaint: str
) -> None:
    """The text decoder's own settings count, as in `generate`; transformers 5 reads none from config.json for it."""
    from chiasm.export.families import blip as family

    whole = family._whole

    def changed(folder: Any) -> Any:
        model = whole(folder)
        setattr(model.text_decoder.generation_config, setting, value)
        return model

    monkeypatch.setattr(family, "_whole", changed)
    with pytest.raises(ChiasmError, match=complaint):
        open_assembly(folders / "blip")
