"""`chiasm tune` from the command line: the table, the JSON, where it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import tiny_bundle
from chiasm.bench.tune import field, opener, plans
from chiasm.runtime.backends.base import SessionOptions


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    few = {"ort": ((SessionOptions(threads=1),), ())}
    for module in (field, opener, plans):
        monkeypatch.setattr(module, "candidates", lambda cores: few)
    return tiny_bundle(tmp_path, modalities=("text",), kinds=("gated",), precisions=("fp32", "int8-cpu"), decoder=False)


def test_the_table_names_candidates_reasons_and_the_file(chiasm: Callable, bundle: Path) -> None:
    done = chiasm("tune", bundle, "--budget", "0.05", "--plot", bundle / "front.png")
    assert done.code == 0
    assert "candidates, by latency" in done.out
    assert "fp32 ort 1thr" in done.out
    assert "no labelled samples are there" in done.out
    (file,) = (bundle / "tuned").glob("*.json")
    assert str(file) in done.err
    assert (bundle / "front.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_what_was_written(chiasm: Callable, bundle: Path, tmp_path: Path) -> None:
    done = chiasm("tune", bundle, "--budget", "0.05", "--json", "--out", tmp_path / "x" / "mine.json")
    assert json.loads(done.out) == json.loads((tmp_path / "x" / "mine.json").read_text())
    assert set(json.loads(done.out)["choices"]) == {"text", "fuse.gated", "heads"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [(("--objective", "beauty"), "No such objective: found beauty"), (("--plot", "x.doc"), "x.doc")],
)
def test_mistakes_are_one_line_before_anything_is_measured(
    chiasm: Callable, bundle: Path, words: tuple[str, str], complaint: str
) -> None:
    done = chiasm("tune", bundle, *words)
    assert done.code == 2
    assert complaint in done.err
    assert not list(bundle.glob("tuned/*.json"))


def test_a_place_that_cannot_be_written_is_said_first(chiasm: Callable, bundle: Path) -> None:
    done = chiasm("tune", bundle, "--out", "/proc/nowhere/x.json")
    assert done.code == 2
    assert "CHIASM_TUNED" in done.err
