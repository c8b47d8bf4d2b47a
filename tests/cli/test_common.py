from __future__ import annotations

from pathlib import Path

import pytest
from chiasm.cli.common import bundle_path, known_modalities, source_uri, split_modalities
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import ChiasmError, InputError
from chiasm.runtime.sinks import write_file

OPTIONS = ("--seconds", "--sink")


@pytest.mark.parametrize(
    "words",
    [
        ["road", "--image", "a.mp4", "--text", "two words"],
        ["--image", "a.mp4", "road", "--text", "two words"],
        ["--image=a.mp4", "--text=two words", "road"],
    ],
)
def test_pairs_and_the_bundle_in_any_order(words: list[str]) -> None:
    assert split_modalities(words, OPTIONS) == ("road", {"image": "a.mp4", "text": "two words"})


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--image", "a.mp4"], "one bundle is needed: found none"),
        (["road", "rail", "--image", "a"], "found road, rail"),
        (["road", "--image"], "--image needs a value"),
        (["road", "--image", "--text", "x"], "--image needs a value"),
        (["road", "--image", "a", "--image", "b"], "given twice"),
        (["road", "-x", "1"], "unknown option"),
        (["road", "--secnds"], "Did you mean --seconds?"),
    ],
)
def test_what_cannot_be_read_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        split_modalities(words, OPTIONS)
    assert complaint in str(caught.value)


def test_names_are_the_manifests(tiny: Path) -> None:
    modalities = open_bundle(tiny).manifest.modalities
    chosen = known_modalities({"radar": "x", "image": "y"}, modalities, OPTIONS)
    assert [modality.name for modality in chosen] == ["radar", "image"]
    with pytest.raises(InputError, match="Did you mean --radar"):
        known_modalities({"rader": "x"}, modalities, OPTIONS)
    with pytest.raises(InputError, match="Did you mean --seconds"):
        known_modalities({"secnds": "x"}, modalities, OPTIONS)
    with pytest.raises(InputError, match="no modality is given"):
        known_modalities({}, modalities, OPTIONS)


def test_words_are_a_source_of_text_only(tiny: Path) -> None:
    bundle = open_bundle(tiny)
    assert source_uri(bundle.modality("text"), "the exit is blocked") == "text:the exit is blocked"
    assert source_uri(bundle.modality("text"), "text:x") == "text:x"
    assert source_uri(bundle.modality("text"), "notes.TXT") == "notes.TXT"
    assert source_uri(bundle.modality("image"), "camera:0") == "camera:0"


def test_a_path_stays_a_path() -> None:
    assert bundle_path("some/road") == Path("some/road")


def test_writing_leaves_nothing_half_written(tmp_path: Path) -> None:
    write_file(tmp_path / "new" / "a.png", b"data")
    assert (tmp_path / "new" / "a.png").read_bytes() == b"data"
    (tmp_path / "taken").mkdir()
    with pytest.raises(ChiasmError, match="cannot be written"):
        write_file(tmp_path / "taken", b"data")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "taken"]
