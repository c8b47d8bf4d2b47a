"""A choice that was measured is followed while it holds, named when it does not, and never stops a bundle."""

from __future__ import annotations

import os
from pathlib import Path

import chiasm
import msgspec
import numpy as np
import pytest
from bundles import tiny_bundle
from chiasm.runtime import tuned
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.tuned import Basis, Choice, Tuned

PACKETS = {"image": np.full((90, 120, 3), 80, np.uint8), "text": "a siren ahead"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, precisions=("fp32", "int8-cpu"))


def _write(path: Path, choices: dict[str, Choice], **changes: object) -> Path:
    opened = open_bundle(path)
    basis = msgspec.structs.replace(tuned.basis_of(opened), **changes)
    folder = tuned.tuned_folder(path)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{basis.key}.json"
    file.write_bytes(tuned.encode(Tuned(basis, "latency", 0.01, "2026-11-25", choices)))
    return file


def test_load_follows_what_was_chosen_part_by_part(bundle: Path) -> None:
    _write(bundle, {"heads": Choice("fp32", "ort", level="basic"), "image": Choice("int8-cpu", "ort", arena=False),
                    "text": Choice("fp32", "null")})  # fmt: skip
    with chiasm.load(bundle) as pipeline:
        assert pipeline.precisions["heads"] == "fp32"
        assert pipeline.precisions["image"] == "int8-cpu"
        assert pipeline.backends["text"] == "null"
        assert pipeline.backends["audio"] == "ort"
        assert pipeline(**PACKETS).present == ("image", "text")
        assert dict(pipeline.notes) == {}
        np.testing.assert_allclose(pipeline.encode(text="a siren")["text"], 1 / 16)


@pytest.mark.parametrize("asked", [{"backend": "ort"}, {"precision": "fp32"}, {"threads": 1}])
def test_who_asks_for_something_gets_that(bundle: Path, asked: dict[str, object]) -> None:
    _write(bundle, {"text": Choice("fp32", "null")})
    with chiasm.load(bundle, **asked) as pipeline:
        assert set(pipeline.backends.values()) == {"ort"}
        assert not pipeline.notes


def test_a_stale_choice_is_not_used_and_what_differs_is_said(bundle: Path) -> None:
    versions = tuned.basis_of(open_bundle(bundle)).versions
    _write(bundle, {"text": Choice("fp32", "null")}, cpu="Cortex-A76", cores=99,
           versions={**versions, "onnxruntime": "0.9", "openvino": "1.0"})  # fmt: skip
    with chiasm.load(bundle) as pipeline:
        note = pipeline.notes["tuned"]
        assert set(pipeline.backends.values()) == {"ort"}
    assert "2026-11-25 is stale: cpu was Cortex-A76, is " in note
    assert "cores was 99, is " in note
    assert f"onnxruntime was 0.9, is {versions['onnxruntime']}" in note
    assert "openvino was 1.0, is " in note
    assert "chiasm tune" in note


def test_a_bundle_exported_anew_makes_it_stale(bundle: Path) -> None:
    _write(bundle, {"text": Choice("fp32", "null")}, manifest="0" * 64)
    with chiasm.load(bundle) as pipeline:
        assert "the bundle was exported anew" in pipeline.notes["tuned"]


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"\xff\xfe", b"[1]", b'{"basis": 3}'],
    ids=["empty", "no fields", "no text", "a list", "wrong types"],
)
def test_a_file_that_is_no_choice_stops_nothing(bundle: Path, raw: bytes) -> None:
    _write(bundle, {}).write_bytes(raw)
    with chiasm.load(bundle) as pipeline:
        assert "cannot be used" in pipeline.notes["tuned"]
        assert pipeline(**PACKETS).present


@pytest.mark.parametrize(
    "choice",
    [{"nowhere": Choice("fp32", "ort")}, {"text": Choice("fp64", "ort")}, {"text": Choice("fp32", "ort", threads=0)}],
    ids=["part", "precision", "threads"],
)
def test_a_choice_of_what_is_not_there_is_not_used(bundle: Path, choice: dict[str, Choice]) -> None:
    _write(bundle, choice)
    with chiasm.load(bundle) as pipeline:
        assert "cannot be used" in pipeline.notes["tuned"]


def test_a_backend_that_is_gone_leaves_its_part_to_the_usual_one(bundle: Path) -> None:
    _write(bundle, {"text": Choice("fp32", "abacus")})
    with chiasm.load(bundle) as pipeline:
        assert "not as tuned: No such backend: found abacus" in pipeline.notes["text"]
        assert pipeline.backends["text"] == "ort"
        assert pipeline(**PACKETS).present


def test_it_can_lie_elsewhere(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIASM_TUNED", str(tmp_path / "elsewhere"))
    file = _write(bundle, {"text": Choice("fp32", "null")})
    assert file.parent == tmp_path / "elsewhere" / bundle.name
    with chiasm.load(bundle) as pipeline:
        assert pipeline.backends["text"] == "null"


def test_hashes_and_files_of_the_bundle_are_as_before(bundle: Path) -> None:
    before = open_bundle(bundle).files
    _write(bundle, {"text": Choice("fp32", "null")})
    opened = open_bundle(bundle)
    opened.check_files()
    assert opened.files == before


def test_the_key_is_of_everything_it_holds_for() -> None:
    one = Basis("a", "x86_64", 2, ("avx2",), {"chiasm": "1"}, "00")
    others = [
        msgspec.structs.replace(one, **change)
        for change in ({"cpu": "b"}, {"arch": "c"}, {"cores": 3}, {"isa": ()}, {"versions": {}}, {"manifest": "01"})
    ]
    assert len({each.key for each in (one, *others)}) == 7
    assert all(one.differences(each) for each in others)


def test_the_newest_of_several_stale_ones_is_named(bundle: Path) -> None:
    os.utime(_write(bundle, {}, cpu="older"), (1, 1))
    _write(bundle, {}, cpu="newer")
    assert "cpu was newer" in (tuned.look_up(open_bundle(bundle))[1] or "")
