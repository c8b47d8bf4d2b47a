"""Tuning a tiny bundle: what is planted is refused for the right reason, and what is chosen is used and resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import chiasm
import numpy as np
import onnx
import pytest
from bundles import edit_manifest, tiny_bundle
from chiasm.bench.tune import field, opener, plans, search
from chiasm.bench.tune.footprint import footprint
from chiasm.bench.tune.front import draw
from chiasm.bench.tune.race import Lane
from chiasm.bench.tune.search import default_out, tune
from chiasm.bench.tune.state import Row, Wish, partial_file
from chiasm.export.calibrate import Calibration
from chiasm.export.captures import without_captures
from chiasm.runtime.backends.base import SessionOptions
from chiasm.runtime.bundle import Bundle, open_bundle
from chiasm.runtime.errors import BackendError, InputError
from chiasm.runtime.tuned import Choice
from onnx import helper, numpy_helper
from pretended_tune import labelled

WISH = Wish(budget_s=60.0, samples=20)  # it ends long before, when everybody ran 200 rounds
ORT = {"ort": ((SessionOptions(threads=1),), ({"arena": False},))}


@pytest.fixture(autouse=True)
def _few_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ONNX Runtime on one thread, with and without arena: the search is under test, not its width."""
    for module in (field, opener, plans):
        monkeypatch.setattr(module, "candidates", lambda cores: ORT)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, modalities=("image", "text"), kinds=("gated",), precisions=("fp32", "int8-cpu"),
                       decoder=False)  # fmt: skip


def _plant(path: Path, part: str, change: Callable[[Any], None]) -> None:
    """Change a part's INT8 graph, and the manifest so that it is the one that belongs there."""
    file = path / f"parts/{part}.int8-cpu.onnx"
    model = onnx.load(file)
    change(model)
    data = model.SerializeToString()
    file.write_bytes(data)

    def rewrite(manifest: dict[str, Any]) -> None:
        for each in manifest["parts"][part]["variants"]:
            if each["precision"] == "int8-cpu":
                each.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))

    edit_manifest(path, rewrite)


def _extra_work(model: Any) -> None:
    """Eight products of 384 × 384 whose result, times nothing, is added to the tokens: the same answer, slower."""
    graph = model.graph
    big = np.random.default_rng(0).standard_normal((384, 384)).astype(np.float32) / 20
    graph.initializer.extend([numpy_helper.from_array(big, "big"), numpy_helper.from_array(np.float32(0), "nothing")])
    made = [helper.make_node("ReduceMean", ["pixels"], ["load"], keepdims=0),
            helper.make_node("Mul", ["big", "load"], ["load_0"])]  # fmt: skip
    made += [helper.make_node("MatMul", [f"load_{i}", "big"], [f"load_{i + 1}"]) for i in range(8)]
    made += [helper.make_node("ReduceMean", ["load_8"], ["load_end"], keepdims=0),
             helper.make_node("Mul", ["load_end", "nothing"], ["load_none"])]  # fmt: skip
    tokens = next(node for node in graph.node if "tokens" in node.output)
    made.append(helper.make_node("Add", [tokens.input[0], "load_none"], ["loaded"]))
    tokens.input[0] = "loaded"
    nodes = [*made[:-1], *graph.node]
    nodes.insert(nodes.index(tokens), made[-1])
    del graph.node[:]
    graph.node.extend(nodes)


def _broken_scale(model: Any) -> None:
    """Weights that are dequantised 40 times too large."""
    scale = next(node.input[1] for node in model.graph.node if node.op_type == "DequantizeLinear")
    for each in model.graph.initializer:
        if each.name == scale:
            each.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each) * np.float32(-40), scale))


def _rows(rows: list[Row], precision: str) -> Iterator[Row]:
    return (row for row in rows if row.choice.precision == precision)


def _tune(path: Path, calibration: Calibration | None = None, wish: Wish = WISH) -> search.Finding:
    opened = open_bundle(path)
    return tune(opened, calibration or labelled(path), wish, default_out(opened))


def test_a_planted_slower_int8_is_refused_as_slower(bundle: Path) -> None:
    _plant(bundle, "image", _extra_work)
    found = _tune(bundle)
    planted = list(_rows(found.parts["image"].rows, "int8-cpu"))
    assert planted
    assert {row.verdict for row in planted} == {"slower"}
    assert all("slower than FP32" in row.why and row.ratio is not None and row.ratio > 2 for row in planted)
    assert all(row.drop == pytest.approx(0.0, abs=0.01) for row in planted)
    assert found.tuned.choices["image"].precision == "fp32"
    assert found.drop <= WISH.max_drop


def test_a_planted_broken_scale_is_refused_for_what_it_loses(bundle: Path) -> None:
    _plant(bundle, "text", _broken_scale)
    found = _tune(bundle)
    (planted,) = _rows(found.parts["text"].rows, "int8-cpu")
    assert planted.verdict == "refused"
    assert planted.why.startswith("outside the drop: loses ")
    assert "text" in planted.where
    assert planted.drop is not None
    assert planted.drop > 0.1
    assert planted.ratio is None  # nobody raced it
    assert found.tuned.choices["text"].precision == "fp32"
    assert found.drop <= WISH.max_drop


def test_without_labels_cosines_judge_and_that_is_said(bundle: Path) -> None:
    _plant(bundle, "text", _broken_scale)
    found = _tune(bundle, without_captures(open_bundle(bundle).manifest.modalities))
    (planted,) = _rows(found.parts["text"].rows, "int8-cpu")
    assert "cosine" in found.judged
    assert "no labelled samples" in found.judged
    assert planted.verdict == "refused"
    assert any("made-up" in note for note in found.notes)


def test_what_is_chosen_is_what_load_uses(bundle: Path, tmp_path: Path) -> None:
    found = _tune(bundle)
    assert set(found.tuned.choices) == {"image", "text", "fuse.gated", "heads"}
    with chiasm.load(bundle) as pipeline:
        assert not pipeline.notes
        assert dict(pipeline.precisions) == {part: each.precision for part, each in found.tuned.choices.items()}
    raw = json.loads(default_out(open_bundle(bundle)).read_bytes())
    assert raw["evidence"]["drop"] == found.drop
    assert set(raw["evidence"]["parts"]) == set(found.parts)
    assert found.whole is not None
    assert found.whole.taken or found.whole.ratio <= 1.03
    assert not partial_file(default_out(open_bundle(bundle))).exists()
    draw(found, tmp_path / "front.svg")
    assert b"heads" in (tmp_path / "front.svg").read_bytes() or (tmp_path / "front.svg").stat().st_size > 5000


def test_an_interrupted_run_goes_on_after_the_last_part(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, calibration = open_bundle(bundle), labelled(bundle)
    out = default_out(opened)
    done: list[str] = []
    for name in ("judged", "measure"):
        real = getattr(field.Field, name)

        def noted(self: Any, part: str, *rest: Any, name: str = name, real: Any = real) -> Any:
            done.append(f"{name} {part}")
            return real(self, part, *rest)

        monkeypatch.setattr(field.Field, name, noted)

    def stop(title: str, share: float) -> None:
        if title == "measuring text":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(opened, calibration, WISH, out, stop)
    assert partial_file(out).exists()
    assert not out.exists()
    with chiasm.load(bundle) as pipeline:
        assert not pipeline.notes  # what is half done is no choice
    before, parts = list(done), ("fuse.gated", "heads", "image", "text")
    done.clear()
    tune(opened, calibration, WISH, out)
    assert sum(each.startswith("judged") for each in before) == 8
    assert not any(each.startswith("judged") for each in done)
    measured = [each for each in (*before, *done) if each.startswith("measure")]
    assert sorted(measured) == [f"measure {part}" for part in parts]
    assert "measure text" in done
    done.clear()
    tune(opened, calibration, Wish(budget_s=60.0, samples=20, max_drop=0.5), out)  # another wish starts anew
    assert sum(each.startswith("measure") for each in done) == 4


def test_what_an_earlier_version_left_is_not_gone_on_with(bundle: Path) -> None:
    opened = open_bundle(bundle)
    out = default_out(opened)
    out.parent.mkdir()
    partial_file(out).write_text('{"basis": {}, "wish": {}, "parts": {}}')
    found = tune(opened, labelled(bundle), WISH, out)
    assert set(found.parts) == {"image", "text", "fuse.gated", "heads"}


@pytest.mark.parametrize("wish", [Wish(objective="beauty"), Wish(max_drop=1.5)])
def test_wishes_that_make_no_sense(bundle: Path, wish: Wish) -> None:
    with pytest.raises(InputError):
        _tune(bundle, without_captures(open_bundle(bundle).manifest.modalities), wish)


@pytest.mark.parametrize("objective", ["p99", "throughput", "memory"])
def test_other_objectives_end_with_a_choice(bundle: Path, objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field, "footprint", _pretended_footprint)
    found = _tune(bundle, wish=Wish(objective=objective, budget_s=60.0, samples=20))
    assert found.tuned.objective == objective
    assert set(found.tuned.choices) == {"image", "text", "fuse.gated", "heads"}
    assert (found.whole is None) == (objective == "memory")
    fit = found.parts["image"].rows[0]
    assert fit.ratio is not None
    assert fit.ratio <= 1.0


def _pretended_footprint(path: Path, part: str, choices: Sequence[Choice], *rest: object) -> dict[Choice, Lane]:
    """INT8 takes half."""
    sizes = {each: 1.0 if each.precision == "fp32" else 0.5 for each in choices}
    return {each: Lane([0.0], size, size, size, size) for each, size in sizes.items()}


def test_a_footprint_is_that_of_a_process_of_its_own(bundle: Path) -> None:
    found = footprint(bundle, "heads", [Choice("fp32", "ort", threads=1)], lambda share: None)
    (lane,) = found.values()
    assert lane.ratio == 1.0
    assert 0.01 < 1e3 * lane.seconds < 100  # MiB
    with pytest.raises(BackendError, match="process of its own"):
        footprint(bundle, "heads", [Choice("fp32", "abacus")], lambda share: None)


def test_a_variant_that_does_not_open_is_refused_with_the_reason(bundle: Path) -> None:
    def wonder(model: Any) -> None:
        model.graph.node[-1].op_type = "Wonder"

    _plant(bundle, "heads", wonder)
    found = _tune(bundle)
    (row,) = _rows(found.parts["heads"].rows, "int8-cpu")
    assert row.verdict == "refused"
    assert "Wonder" in row.why or "cannot open" in row.why


def test_bundle_is_as_it_was(bundle: Path) -> None:
    opened: Bundle = open_bundle(bundle)
    _tune(bundle)
    opened.check_files()
