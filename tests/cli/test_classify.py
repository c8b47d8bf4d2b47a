from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import tiny_bundle

pytest.importorskip("cv2", reason="OpenCV reads the pictures")
SPACE = {"shared": {"modalities": ["image", "text", "audio"], "scale": 10.0}}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("pair"), mutate=lambda manifest: manifest.update(spaces=SPACE))


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches"


def test_labels_in_words(chiasm: Callable, pair: Path, media: Path) -> None:
    picture = media / "pictures" / "0.png"
    outcome = chiasm("classify", pair, "--image", picture, "--labels", "car, bus,red truck", "--templates", "openai80")
    assert outcome.code == 0, outcome.err
    shares = [float(line.split(" %")[0]) for line in outcome.out.splitlines()]
    assert sorted(line.split("  ")[-1] for line in outcome.out.splitlines()) == ["bus", "car", "red truck"]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.02)


def test_json_and_a_file_of_labels(chiasm: Callable, pair: Path, media: Path, tmp_path: Path, caches: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("siren, far away\ncar\n\n")
    words = ("classify", pair, "--audio", media / "sound.wav", "--labels", labels, "--json", "--top", "1")
    answer = json.loads(chiasm(*words).out)
    assert (answer["modality"], answer["space"], answer["templates"]) == ("audio", "shared", "sound")
    assert len(answer["heads"]["labels"]) == 1
    assert answer["heads"]["labels"][0]["label"] in ("siren, far away", "car")
    assert len(list((caches / "chiasm" / "zero-shot").iterdir())) == 1
    assert json.loads(chiasm(*words, "--no-cache").out) == answer
    assert len(list((caches / "chiasm" / "zero-shot").iterdir())) == 1


def test_without_labels_the_bundles_own_classes(chiasm: Callable, tiny: Path, media: Path) -> None:
    outcome = chiasm("classify", tiny, "--image", media / "pictures" / "0.png", "--text", "a car", "--top", "2")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert [line for line in lines if line.endswith(":")] == ["hazard:", "weather:", "object:"]
    assert len(lines) == 9


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--image", "{picture}", "--labels", "car"], "at least 2, all different"),
        (["--image", "{picture}", "--labels", "car,bus", "--templates", "openai81"], "No such set of templates"),
        (["--image", "{picture}", "--text", "a car", "--labels", "car,bus"], "takes one capture"),
        (["--radar", "{radar}", "--labels", "car,bus"], "takes one capture"),
        (["--labels", "car,bus"], "no modality is given"),
    ],
)
def test_what_cannot_be_classified(chiasm: Callable, pair: Path, media: Path, words: list[str], complaint: str) -> None:
    paths = {"picture": media / "pictures" / "0.png", "radar": media / "radar.npz"}
    outcome = chiasm("classify", pair, *(word.format(**paths) for word in words))
    assert (outcome.code, outcome.out) == (2, "")
    assert complaint in outcome.err


def test_a_bundle_with_neither(chiasm: Callable, tmp_path: Path, media: Path) -> None:
    def only_embedding(manifest: dict) -> None:
        manifest["heads"] = {name: head for name, head in manifest["heads"].items() if head["kind"] == "embedding"}

    bundle = tiny_bundle(tmp_path, mutate=only_embedding)
    picture = media / "pictures" / "0.png"
    assert "no classes of its own" in chiasm("classify", bundle, "--image", picture).err
    assert "no space" in chiasm("classify", bundle, "--image", picture, "--labels", "a,b").err
