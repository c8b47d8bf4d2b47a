from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from caption_bundles import caption_bundle

pytest.importorskip("cv2", reason="OpenCV reads the pictures")
pytest.importorskip("onnxruntime", reason="captions run graphs")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return caption_bundle(tmp_path_factory.mktemp("words"))


def test_one_picture_gives_its_caption(chiasm: Callable, bundle: Path, media: Path) -> None:
    from chiasm.runtime import load
    from chiasm.runtime.sources.pictures import read_picture

    picture = media / "pictures" / "0.png"
    with load(bundle) as pipeline:
        asked = {"beams": 3, "max_tokens": 5, "prompt": "a red"}
        expected = pipeline.caption(image=read_picture(picture), **asked).text
    options = ("--beams", "3", "--max-tokens", "5", "--prompt", "a red")
    outcome = chiasm("caption", bundle, "--image", picture, *options)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == expected + "\n"
    assert expected.startswith("a red")


def test_several_pictures_give_a_line_each(chiasm: Callable, bundle: Path, media: Path) -> None:
    pictures = media / "pictures"
    outcome = chiasm("caption", bundle, "--image", pictures)
    assert outcome.code == 0, outcome.err
    assert [line.split(": ")[0] for line in outcome.out.splitlines()] == [str(pictures / f"{i}.png") for i in range(3)]
    named = chiasm("caption", bundle, "--image", pictures / "0.png", pictures / "1.png", pictures / "2.png")
    assert named.out == outcome.out
    assert len({line.split(": ")[1] for line in outcome.out.splitlines()}) > 1


def test_json(chiasm: Callable, bundle: Path, media: Path) -> None:
    answer = json.loads(chiasm("caption", bundle, media / "pictures", "--json", "--max-tokens", "4").out)
    assert answer["bundle"] == "tiny"
    assert [Path(each["file"]).name for each in answer["captions"]] == ["0.png", "1.png", "2.png"]
    for each in answer["captions"]:
        assert set(each) == {"file", "text", "score", "tokens", "timings"}
        assert 2 <= len(each["tokens"]) <= 5


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "no picture is given"),
        (["--image", "nowhere.jpg"], "nowhere.jpg"),
        (["--image", "{empty}"], "holds no picture"),
        (["--image", "{broken}"], "cannot be decoded"),
        (["--image", "{picture}", "--max-tokens", "12"], "from 1 to 11"),
        (["--image", "{picture}", "--beams", "40"], "Not a number of beams"),
        (["--image", "{picture}", "--beems", "3"], "--beams"),
    ],
)
def test_what_cannot_be_described(
    chiasm: Callable, bundle: Path, media: Path, tmp_path: Path, words: list[str], complaint: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    paths = {"picture": media / "pictures" / "0.png", "empty": tmp_path / "empty", "broken": tmp_path / "broken.png"}
    outcome = chiasm("caption", bundle, *(word.format(**paths) for word in words))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert complaint in outcome.err


def test_a_bundle_that_does_not_describe(chiasm: Callable, tiny: Path, media: Path) -> None:
    outcome = chiasm("caption", tiny, "--image", media / "pictures" / "0.png")
    assert outcome.code == 2
    assert "does not describe pictures" in outcome.err


def test_inspect_says_how(chiasm: Callable, bundle: Path, tiny: Path, tmp_path: Path) -> None:
    assert "of image, the likeliest token each time, at most 8 tokens" in chiasm("inspect", bundle).out
    made = caption_bundle(tmp_path, beams=3, prompt="a red")
    assert "by 3 beams, beginning with 'a red'" in chiasm("inspect", made).out
    shutil.rmtree(made)
    assert "captions" in chiasm("inspect", tiny).out
