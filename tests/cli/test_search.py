"""`chiasm index` and `chiasm search`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import tiny_bundle

pytest.importorskip("usearch", reason="the extra `search` brings usearch")
pytest.importorskip("cv2", reason="OpenCV reads the pictures")
SPACE = {"shared": {"modalities": ["image", "text", "audio"], "scale": 10.0}}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("pair"), mutate=lambda manifest: manifest.update(spaces=SPACE))


def test_index_a_folder_and_search_it(chiasm: Callable, pair: Path, media: Path, tmp_path: Path) -> None:
    index = tmp_path / "new" / "pictures.index"
    outcome = chiasm("index", pair, media / "pictures", "--out", index)
    assert (outcome.code, outcome.out) == (0, "")
    assert "3 files, by image of tiny" in outcome.err
    assert list(index.parent.iterdir()) == [index]
    picture = media / "pictures" / "1.png"
    outcome = chiasm("search", pair, index, "--image", picture, "--top", "2")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0] == f" 1.0000  {picture}"
    assert len(outcome.out.splitlines()) == 2
    answer = json.loads(chiasm("search", "--text", "a red car", pair, index, "--json").out)
    assert (answer["query"], answer["modality"], answer["entries"], answer["exact"]) == ("text", "image", 3, True)
    assert len(answer["hits"]) == 3


def test_a_sound_is_found_at_its_second_and_a_text_at_its_line(
    chiasm: Callable, pair: Path, media: Path, tmp_path: Path
) -> None:
    made = json.loads(chiasm("index", pair, media, "--out", tmp_path / "i", "--modality", "audio", "--json").out)
    assert (made["files"], made["entries"], made["refused"]) == (1, 1, {})
    assert "sound.wav  at 0.0 s" in chiasm("search", pair, tmp_path / "i", "--audio", media / "sound.wav").out
    words = tmp_path / "words"
    words.mkdir()
    (words / "notes.txt").write_text("a car\na bus\n")
    chiasm("index", pair, words, "--out", tmp_path / "t")
    assert "notes.txt  line 2" in chiasm("search", pair, tmp_path / "t", "--text", "a bus", "--top", "1").out


def test_a_bad_file_is_named(chiasm: Callable, pair: Path, media: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "good.png").write_bytes((media / "pictures" / "0.png").read_bytes())
    (folder / "bad.png").write_bytes(b"")
    outcome = chiasm("index", pair, folder, "--out", tmp_path / "i")
    assert outcome.code == 0
    assert "left out: bad.png" in outcome.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["{pair}", "--text", "a"], "a bundle and an index are needed"),
        (["{pair}", "{index}", "more", "--text", "a"], "a bundle and an index are needed"),
        (["{pair}", "{index}"], "no modality is given"),
        (["{pair}", "{index}", "--txt", "a"], "Did you mean --text?"),
        (["{pair}", "{index}", "--text", "a", "--image", "{picture}"], "a search takes one query"),
        (["{tiny}", "{index}", "--text", "a"], "made with another bundle"),
        (["{pair}", "{picture}", "--text", "a"], "no index of chiasm's"),
    ],
)
def test_what_cannot_be_searched(
    chiasm: Callable, pair: Path, tiny: Path, media: Path, tmp_path: Path, words: list[str], complaint: str
) -> None:
    paths = {"pair": pair, "tiny": tiny, "index": tmp_path / "i", "picture": media / "pictures" / "0.png"}
    chiasm("index", pair, media / "pictures", "--out", tmp_path / "i")
    outcome = chiasm("search", *(word.format(**paths) for word in words))
    assert (outcome.code, outcome.out) == (2, "")
    assert complaint in outcome.err
