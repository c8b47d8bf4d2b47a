"""What preprocessor_config.json says of sound, in the manifest's words; what cannot be said is refused by its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chiasm.export.extractors import EXTRACTORS, extractor_of, sound_fields
from chiasm.export.hub import HubFolder
from chiasm.runtime.errors import CheckpointError, ExportError


def fields(kind: str, seconds: float | None = None, **keys: Any) -> dict[str, Any]:
    return sound_fields({"feature_extractor_type": kind, **keys}, "the file", seconds)


WAVE, WHISPER, AST, CLAP, OWN = EXTRACTORS
MEL = {"frame_length": 400, "hop": 160, "fft_size": 512, "n_mels": 40}


def folder(path: Path, **files: Any) -> HubFolder:
    for stem, values in ({"config": {"model_type": "wav2vec2"}} | files).items():
        (path / f"{stem}.json").write_text(json.dumps(values))
    return HubFolder(path)


def test_the_class_may_be_left_unsaid(tmp_path: Path) -> None:
    found, where = extractor_of(folder(tmp_path, preprocessor_config={"sampling_rate": 8000}), WAVE)
    assert found == {"feature_extractor_type": WAVE, "sampling_rate": 8000}
    assert where.endswith("preprocessor_config.json")


def test_newer_folders_keep_it_in_processor_config(tmp_path: Path) -> None:
    inner = {"feature_extractor_type": CLAP, "max_length_s": 5}
    found, where = extractor_of(folder(tmp_path, processor_config={"feature_extractor": inner}), WAVE)
    assert found == inner
    assert where.endswith("processor_config.json")


def test_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"found no preprocessor_config\.json, expected the one of its Wav2Vec2"):
        extractor_of(folder(tmp_path), WAVE)


def test_keys_that_the_class_does_not_read_change_nothing() -> None:
    assert fields(CLAP, n_fft=99, chunk_length_s=3, top_db=80, processor_class="ClapProcessor") == fields(CLAP)
    assert fields(WHISPER, nb_max_frames=1, n_samples=2, feature_extractor_type=WHISPER) == fields(WHISPER)


def test_defaults_are_the_published_ones() -> None:
    assert fields(WAVE) == {
        "sample_rate": 16000, "samples": 16000, "pad": "after", "normalise": "length", "mask": False
    }  # fmt: skip
    assert fields(WAVE, return_attention_mask=True)["normalise"] == "sound"
    assert fields(WAVE, do_normalize=False)["normalise"] == "none"
    whisper, ast, clap = fields(WHISPER), fields(AST), fields(CLAP)
    assert (whisper["samples"], whisper["length"], whisper["pad"]) == (480000, 480000, "after")
    assert (ast["samples"], ast["length"], ast["pad"]) == (164080, 164080, "frames")
    assert (clap["samples"], clap["pad"], clap["crops"]) == (480000, "repeat-whole", 4)
    assert (clap["mel"].scale, clap["mel"].norm) == ("htk", "none")
    cut = fields(CLAP, truncation="rand_trunc")
    assert (cut["crops"], cut["mel"].scale, cut["mel"].norm) == (1, "slaney", "slaney")


@pytest.mark.parametrize(
    ("kind", "keys", "words"),
    [
        (
            "SeamlessM4TFeatureExtractor",
            {},
            "feature_extractor_type = 'SeamlessM4TFeatureExtractor', expected one of Wav2",
        ),
        (WAVE, {"padding_side": "left"}, "padding_side = 'left', expected right"),
        (WAVE, {"padding_value": 1.0}, r"padding_value = 1\.0, expected 0"),
        (WAVE, {"feature_size": 2}, "feature_size = 2, expected 1"),
        (WAVE, {"sampling_rate": 0}, "sampling_rate = 0, expected a number from 1"),
        (WAVE, {"sampling_rate": True}, "sampling_rate = True"),
        (WAVE, {"sampling_rate": "fast"}, "sampling_rate = 'fast'"),
        (WAVE, {"do_normalize": "yes"}, "do_normalize = 'yes', expected true or false"),
        (WHISPER, {"dither": 0.1}, r"dither = 0\.1, expected 0"),
        (WHISPER, {"chunk_length": 2.5}, r"chunk_length = 2\.5, expected a whole number"),
        (AST, {"sampling_rate": 8000}, "sampling_rate = 8000, expected 16000"),
        (AST, {"std": 0.0}, r"std = 0\.0"),
        (AST, {"mean": float("nan")}, "mean = nan"),
        (CLAP, {"truncation": "middle"}, "truncation = 'middle', expected one of fusion, rand_trunc"),
        (CLAP, {"padding": "reflect"}, "padding = 'reflect', expected one of repeatpad, repeat, pad"),
        (CLAP, {"frequency_max": 30000}, "frequency_max = 30000, expected a number from 1 to 24000"),
        (OWN, {}, "has a mel that cannot be used: found mel: Expected `object`"),
        (OWN, {"mel": {"hop": 1}}, "mel: Object missing required field `frame_length`"),
        (OWN, {"mel": MEL | {"bands": 3}}, "unknown field `bands`"),
        (OWN, {"mel": MEL, "pad": "mirror"}, "pad = 'mirror'"),
        (OWN, {"mel": MEL, "crops": 4}, "crops = 4, expected a number from 0 to 1"),
    ],
)
def test_what_cannot_be_reproduced_is_named(kind: str, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        fields(kind, **keys)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the file ")


def test_seconds() -> None:
    assert fields(WAVE, 0.25)["samples"] == 4000
    assert fields(WHISPER, 5.0)["samples"] == 80000
    assert fields(CLAP, 30.0)["samples"] == 1440000
    own = {"feature_extractor_type": OWN, "mel": MEL, "seconds": 2.0}
    assert sound_fields(own, "the file", 0.5)["samples"] == 8000
    assert sound_fields(own, "the file")["samples"] == 32000
    for kind, keys, most in [(WHISPER, {}, 30), (AST, {}, 10.255), (CLAP, {"truncation": "rand_trunc"}, 10)]:
        with pytest.raises(
            ExportError, match=rf"window of the file does not fit: found 31 s, expected up to {most:g} s"
        ):
            fields(kind, 31.0, **keys)
    for wrong in (0.0, -1.0, float("nan"), 1e9, 1e-9):
        with pytest.raises(ExportError, match="does not fit"):
            fields(WAVE, wrong)
