"""Zero-shot classification: prompt ensembling, probabilities, and what is kept for the next time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import tiny_bundle, tiny_inputs
from chiasm.runtime import InputError, Pipeline, ZeroShot, load
from chiasm.runtime.manifest import Space
from chiasm.runtime.spaces import digest, probabilities, space_of
from chiasm.runtime.zero_shot import TEMPLATES, cache_folder, read_templates

LABELS = ["car", "bus", "red truck"]
SENTENCES = ("a {} ahead", "{} in the rain")


def with_space(folder: Path, name: str = "pair", **space: Any) -> Path:
    facts = {"modalities": ["image", "text", "audio"], "scale": 12.0, **space}
    return tiny_bundle(folder, name=name, mutate=lambda manifest: manifest.update(spaces={"shared": facts}))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with load(with_space(tmp_path_factory.mktemp("pair"))) as pipeline:
        yield pipeline


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return cache_folder()


def test_the_mean_of_unit_vectors_stands_for_a_label(pair: Pipeline) -> None:
    sort = ZeroShot(pair, LABELS, SENTENCES)
    for row, label in enumerate(LABELS):
        vectors = [pair.encode(text=each.replace("{}", label))["text"] for each in SENTENCES]
        mean = np.mean([each / np.linalg.norm(each) for each in vectors], axis=0)
        assert sort.vectors[row] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_probabilities_follow_scale_and_softmax(pair: Pipeline) -> None:
    sort = ZeroShot(pair, LABELS, SENTENCES)
    picture = tiny_inputs()["image"]
    found = sort(image=picture)
    seen = pair.encode(image=picture)["image"]
    logits = 12.0 * (sort.vectors @ seen)
    assert found.cosines == pytest.approx(sort.vectors @ seen, abs=1e-6)
    assert found.probabilities == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=1e-6)
    ranked = found.ranked(2)
    assert [name for name, _ in ranked] == [LABELS[index] for index in np.argsort(-logits)[:2]]
    assert found.modality == "image"


def test_any_modality_of_the_space_can_be_asked_about(pair: Pipeline) -> None:
    sort = ZeroShot(pair, LABELS)
    inputs = tiny_inputs()
    assert sort(audio=inputs["audio"]).probabilities.sum() == pytest.approx(1.0)
    assert sort(text="car").ranked(1)[0][0] == "car", "words are nearest to themselves"
    for wrong in ({}, {"radar": inputs["radar"]}, {"image": inputs["image"], "audio": inputs["audio"]}):
        with pytest.raises(InputError, match="takes one capture"):
            sort(**wrong)


def test_sigmoid_lets_every_label_stand_alone(tmp_path: Path) -> None:
    space = Space(modalities=("a", "b"), scale=10.0, bias=-2.0, link="sigmoid")
    cosines = np.float32([0.9, 0.2, -1.0])
    assert probabilities(space, cosines) == pytest.approx(1 / (1 + np.exp(-(10 * cosines.astype(float) - 2))), abs=1e-9)
    with load(with_space(tmp_path, link="sigmoid", bias=-3.0)) as pipeline:
        found = ZeroShot(pipeline, ["car"])(text="bus")
        assert found.probabilities == pytest.approx(1 / (1 + np.exp(-(12 * found.cosines.astype(float) - 3))), abs=1e-6)


def test_large_logits_do_not_overflow() -> None:
    space = Space(modalities=("a", "b"), scale=1e4, bias=1e4)
    assert probabilities(space, np.float32([1.0, -1.0])).tolist() == [1.0, 0.0]
    alone = Space(modalities=("a", "b"), scale=1e4, link="sigmoid")
    assert probabilities(alone, np.float32([1.0, -1.0])).tolist() == [1.0, 0.0]


def test_labels_are_encoded_once(pair: Pipeline, caches: Path) -> None:
    first = ZeroShot(pair, LABELS, SENTENCES)
    runs = pair.runs["text"]
    second = ZeroShot(pair, LABELS, SENTENCES)
    assert pair.runs["text"] == runs
    assert (first.vectors == second.vectors).all()
    assert first.kept == second.kept
    assert list(caches.iterdir()) == [first.kept]


def test_whatever_changes_the_vectors_changes_the_key(pair: Pipeline, tmp_path: Path, caches: Path) -> None:
    ZeroShot(pair, LABELS, SENTENCES)
    ZeroShot(pair, LABELS[::-1], SENTENCES)
    ZeroShot(pair, LABELS, SENTENCES[:1])
    with load(with_space(tmp_path, scale=13.0)) as other:
        assert digest(other.manifest) != digest(pair.manifest)
        ZeroShot(other, LABELS, SENTENCES)
    assert len(list(caches.iterdir())) == 4


@pytest.mark.parametrize("damage", [b"", b"no array", "wrong shape", "not unit", "pickle"])
def test_a_damaged_cache_is_written_anew(pair: Pipeline, damage: Any) -> None:
    right = ZeroShot(pair, LABELS, SENTENCES)
    assert right.kept is not None
    if isinstance(damage, bytes):
        right.kept.write_bytes(damage)
    elif damage == "pickle":
        np.save(right.kept, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        np.save(right.kept, right.vectors[:2] if damage == "wrong shape" else 2 * right.vectors)
    assert (ZeroShot(pair, LABELS, SENTENCES).vectors == right.vectors).all()
    assert np.load(right.kept).shape == right.vectors.shape


def test_without_a_cache_nothing_is_kept(pair: Pipeline, caches: Path, tmp_path: Path) -> None:
    assert ZeroShot(pair, LABELS, cache=False).kept is None
    assert not caches.exists()
    mine = ZeroShot(pair, LABELS, cache=tmp_path / "mine")
    assert mine.kept is not None
    assert mine.kept.parent == tmp_path / "mine"
    (tmp_path / "file").write_text("in the way")
    assert ZeroShot(pair, LABELS, cache=tmp_path / "file").kept is None, "a cache that cannot be written is no error"


def test_the_templates_of_openai() -> None:
    templates = read_templates("openai80")
    assert len(set(templates)) == 80
    assert templates[0] == "a bad photo of a {}."
    assert templates[-1] == "a tattoo of the {}."
    assert all(read_templates(name) for name in TEMPLATES)


def test_templates_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("# a comment\na {} here\n\n  the {} \n")
    assert read_templates(file) == ("a {} here", "the {}")
    file.write_text("a picture\n")
    with pytest.raises(InputError, match="no place for the label: found 'a picture'"):
        read_templates(file)
    file.write_text("# nothing\n")
    with pytest.raises(InputError, match="There is no template in"):
        read_templates(file)
    with pytest.raises(InputError, match="expected openai80, photo, sound, plain, or a text file"):
        read_templates("openai81")


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([], "found 0 labels, expected at least 2"),
        (["car"], "found 1 labels"),
        (["car", " "], "an empty label"),
        (["car", "bus", "car "], "found car twice"),
    ],
)
def test_labels_that_cannot_be_told_apart(pair: Pipeline, labels: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        ZeroShot(pair, labels)


def test_bundles_without_a_space(tiny: Path, pair: Pipeline) -> None:
    with load(tiny) as pipeline, pytest.raises(InputError, match="no space that modalities share: found none"):
        ZeroShot(pipeline, LABELS)
    with pytest.raises(InputError, match="no such space: found clip, expected shared"):
        ZeroShot(pair, LABELS, space="clip")
    with pytest.raises(InputError, match=r"no space that image and radar share: found shared \(image, text, audio\)"):
        space_of(pair.manifest, "image", "radar")


def test_a_space_without_text(tmp_path: Path) -> None:
    with (
        load(with_space(tmp_path, modalities=["image", "audio"])) as pipeline,
        pytest.raises(InputError, match="No modality of this space is text"),
    ):
        ZeroShot(pipeline, LABELS)
