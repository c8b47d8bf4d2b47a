"""Evaluation: right answers count as right, wrong ones as wrong, and the shipped checkpoint keeps its promises."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from chiasm.reference import BUNDLE, CHECKPOINT
from chiasm.reference.card import card, tables
from chiasm.reference.dataset import ATTRIBUTES, MODALITIES
from chiasm.reference.held_out import HeldOut, hazard_table, picture_table, render_held_out, retrieval_table
from chiasm.reference.metrics import SUBSETS, subset_name, top_hit_right
from chiasm.reference.scene import HAZARDS, facts, holds, sample_scene
from numpy.typing import NDArray

pytest.importorskip("cv2", reason="scenes are drawn with OpenCV (pip install 'chiasm[camera]')")


@pytest.fixture(scope="module")
def scenes() -> HeldOut:
    return render_held_out("hazard", 200)


class Oracle:
    """Knows the truth of every scene, or (``wrong``) the truth of the next one."""

    kinds = ("adaptive",)
    default = "adaptive"
    steps = (1, 4)

    def __init__(self, *, wrong: bool = False) -> None:
        self._shift = 1 if wrong else 0

    def answers(self, scenes: HeldOut, kind: str, members: tuple[int, ...]) -> dict[str, NDArray[np.int64]]:
        known = len(members) == 4
        return {
            name: np.roll(scenes.truth(name), self._shift) if known else np.full(len(scenes), -1)
            for name in ("hazard", "weather", "object")
        }

    def embeddings(self, scenes: HeldOut) -> dict[str, NDArray[np.float32]]:
        """One direction per scene."""
        eye = np.eye(len(scenes), dtype=np.float32)
        return {"image": eye, "text": np.roll(eye, self._shift, axis=0), "audio": eye, "radar": eye}

    def close(self) -> None:
        pass

    def pictures(self, scenes: HeldOut, steps: int) -> NDArray[np.uint8]:
        return np.roll(scenes.images, 0 if steps == 4 else 1, axis=0)


def test_subsets_are_all_fifteen() -> None:
    assert len(set(SUBSETS)) == 15
    assert subset_name((0, 2)) == "image+audio"
    assert SUBSETS[-1] == (0, 1, 2, 3)


def test_right_and_wrong_hazards(scenes: HeldOut) -> None:
    done: list[int] = []
    right = hazard_table(Oracle(), scenes, ("adaptive",), done.append)["adaptive"]
    assert right["image+text+audio+radar"] == 1.0
    assert right["(weather, all four)"] == 1.0
    assert right["image"] == 0.0
    assert sum(done) == 15
    wrong = hazard_table(Oracle(wrong=True), scenes, ("adaptive",), done.append)["adaptive"]
    assert wrong["image+text+audio+radar"] < 0.5


def test_right_and_wrong_hits(scenes: HeldOut) -> None:
    assert set(retrieval_table(Oracle(), scenes).values()) == {1.0}
    assert retrieval_table(Oracle(wrong=True), scenes)["text → image"] < 0.2


def test_top_hit_counts_what_the_query_says() -> None:
    queries = np.eye(3, dtype=np.float32)
    said = np.array([[1, -1], [0, 0], [-1, -1]], np.int8)
    truth = np.array([[1, 5], [0, 1], [9, 9]])
    assert top_hit_right(queries, queries, said, truth) == pytest.approx(2 / 3)


def test_facts_table_agrees_with_holds(scenes: HeldOut) -> None:
    """The vectorised test of retrieval is `scene.holds`."""
    rows = range(40)
    made = [sample_scene(int(scenes.seeds[row]), balance="hazard") for row in rows]
    truth = scenes.attributes.astype(np.int64)
    for m, name in enumerate(MODALITIES):
        for i in rows:
            said = scenes.facts[i, m]
            quick = ((said < 0) | (said == truth[:40])).all(axis=1)
            query = facts(made[i], "caption" if name == "text" else name)
            assert quick.tolist() == [holds(query, other) for other in made]


def test_pictures_are_read_by_the_reader(scenes: HeldOut) -> None:
    known = {picture.tobytes(): row for row, picture in enumerate(scenes.images)}

    def read(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = [known[picture.tobytes()] for picture in pictures]
        return scenes.truth("weather")[rows], scenes.truth("object")[rows]

    table = picture_table(Oracle(), scenes, read, lambda done: None)
    assert list(table) == ["true", "1", "4"]
    assert table["true"]["both"] == table["4"]["both"] == 1.0
    assert table["1"]["both"] <= min(table["1"]["weather"], table["1"]["object"]) < 1.0


def test_held_out_scenes_are_the_same_every_time() -> None:
    first, second = render_held_out("natural", 3, offset=7), render_held_out("natural", 3, offset=7)
    assert (first.images == second.images).all()
    assert (first.sound == second.sound).all()
    assert first.notes == second.notes
    assert first.attributes.shape == (3, len(ATTRIBUTES))


def _numbers() -> dict[str, object]:
    row = {subset_name(members): 0.5 for members in SUBSETS}
    return {
        "hazard": {"adaptive": row, "late": {**row, "image": 0.123}},
        "retrieval": {"text → image": 0.9},
        "pictures": {
            "true": {"weather": 1.0, "object": 0.99, "both": 0.99},
            "1": dict.fromkeys(("weather", "object", "both"), 0.7),
        },
        "default": "adaptive",
        "sizes": {"scenes": 10, "galleries": 1, "pictures": 5},
        "machine": {"processor": "Abacus", "cores": 2, "python": "3.11", "seconds": 3.0},
    }


def test_card_holds_every_number() -> None:
    text = card(_numbers(), {"image": 1234, "heads": 66})
    assert "| image | 50.0 | 12.3 |" in text
    assert "| text → image | 90.0 |" in text
    assert "| 1 step | 70.0 | 70.0 | 70.0 |" in text
    assert "1,300 learned values" in text
    assert tables(_numbers()) in text


def test_a_model_without_a_decoder_has_no_picture_table() -> None:
    numbers = _numbers()
    del numbers["pictures"]
    assert "recogniser" not in tables(numbers)


def test_shipped_checkpoint_keeps_its_promises(scenes: HeldOut) -> None:
    """The card's promises on a few scenes: four modalities know, one alone does not, a caption finds its picture."""
    pytest.importorskip("torch", reason="the checkpoint is evaluated in torch (pip install 'chiasm[export]')")
    from chiasm.reference.torch_model import TorchModel

    model = TorchModel(CHECKPOINT)
    assert set(model.kinds) == {"early", "middle", "late", "hybrid", "gated", "adaptive"}
    for name, row in hazard_table(model, scenes, model.kinds, lambda done: None).items():
        assert row["image+text+audio+radar"] >= 0.95, name
        assert max(row[modality] for modality in MODALITIES) <= 0.75, name
    found = retrieval_table(model, render_held_out("natural", 200, offset=100_000))
    assert min(found.values()) >= 0.80, found


def test_bundle_answers_as_the_checkpoint_does() -> None:
    pytest.importorskip("torch", reason="the checkpoint is evaluated in torch (pip install 'chiasm[export]')")
    pytest.importorskip("onnxruntime", reason="the bundle runs on ONNX Runtime (pip install 'chiasm[cpu]')")
    if not (BUNDLE / "manifest.json").exists():
        pytest.skip("no bundle has been exported yet (chiasm export)")
    from chiasm.reference.bundle_model import BundleModel
    from chiasm.reference.torch_model import TorchModel

    few = render_held_out("hazard", 40)
    with closing(BundleModel("reference")) as bundle:
        torch_model = TorchModel(CHECKPOINT)
        for members in ((0, 1, 2, 3), (1,), (0, 2)):
            found, known = (each.answers(few, "late", members)["hazard"] for each in (bundle, torch_model))
            assert (found == known).mean() >= 0.95
        ours, theirs = bundle.embeddings(few), torch_model.embeddings(few)
        for name in MODALITIES:
            assert (ours[name] * theirs[name]).sum(axis=1).min() > 0.97


def test_shipped_labels_are_those_of_the_scenes() -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    assert tuple(config["heads"]["hazard"]["labels"]) == HAZARDS


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--checkpoint", "nowhere"], "not a checkpoint"),
        (["--fusion", "psychic"], "Unknown fusion kind"),
        (["--write", "--fusion", "late"], "whole checkpoint"),
        (["--bundle", "nowhere"], "nowhere"),
    ],
)
def test_bad_orders_are_one_line_and_exit_2(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    pytest.importorskip("torch", reason="the checkpoint is evaluated in torch (pip install 'chiasm[export]')")
    import typer
    from chiasm.reference import evaluate
    from typer.testing import CliRunner

    app = typer.Typer()
    app.command()(evaluate.main)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert complaint in result.output
    assert "Traceback" not in result.output
