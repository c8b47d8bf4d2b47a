"""Tables of tunings in a document: what is shown of a file, and that making them again changes nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from chiasm.bench.tune.document import BEGIN, END, _main, rewritten, table
from chiasm.bench.tune.state import REFERENCE, PartResult, Row, Whole, Wish
from chiasm.runtime.errors import InputError
from chiasm.runtime.tuned import Basis, Choice, Tuned, encode

FP32, INT8 = Choice("fp32", "ort", threads=2), Choice("int8-cpu", "ort", threads=2)
OTHER = Choice("fp32", "openvino", threads=1)


def _tuned(taken: bool = False, short: str | None = None) -> Tuned:
    image = PartResult([Row(INT8, 0.4, 0.35, 0.45, 40.0, 50), Row(FP32, 1.0, 1.0, 1.0, 100.0, 50, why=REFERENCE),
                        Row(OTHER, 0.9, 0.8, 1.1, 90.0, 50, verdict="slower"),
                        Row(Choice("fp32", "openvino", threads=2), 0.7, 0.6, 0.8, 70.0, 50)])  # fmt: skip
    heads = PartResult([Row(FP32, 1.0, 1.0, 1.0, 0.1, 20, why=REFERENCE),
                        Row(INT8, verdict="refused", why="outside the drop: loses 0.5 (image)")])  # fmt: skip
    whole = Whole(INT8, 0.95, 0.9, 0.99, 41.0, 43.0, 30, taken, rivals=4)
    evidence = {"judged": "accuracy lost on 24 labelled samples", "drop": 0.004, "where": "hazard with image",
                "parts": {"image": image, "heads": heads}, "wish": Wish(budget_s=480.0), "whole": whole,
                "seconds": 300.0,
                "notes": ["this machine was busy when this began: a load of 4.0 on 2 cores", "else"],
                "short": short}  # fmt: skip
    basis = Basis("AMD EPYC", "x86_64", 2, ("avx2",), {"onnxruntime": "1.32.0"}, "0" * 64)
    return Tuned(basis, "latency", 0.01, "2026-11-26T05:00:00+00:00", {"image": INT8, "heads": FP32},
                 msgspec.Raw(msgspec.json.encode(evidence)))  # fmt: skip


def test_a_table_has_a_row_for_each_part() -> None:
    found = table("tune-fused", _tuned())
    assert "`--budget 8 --samples 300 --objective latency --max-drop 0.01`, 2026-11-26, 2 cores of AMD EPYC" in found
    assert (
        "| image | int8-cpu on ort, 2 threads | 0.40 (0.35 to 0.45) | 50 | fp32 on ort 1; fp32 on openvino 0.70 "
        "(0.60 to 0.80) |  |"
    ) in found
    assert "| heads | fp32 on ort, 2 threads | 1 | 20 |  | int8-cpu on ort, 2 threads: outside the drop" in found
    assert (
        "the best of 4 single settings (int8-cpu on ort, 2 threads): 0.950 times (0.900 to 0.990, 30 rounds): kept"
        in found
    )
    assert "a load of 4.0" in found
    assert "else" not in found


def test_what_was_taken_and_what_was_too_short_are_said() -> None:
    found = table("x", _tuned(taken=True, short="8 minutes were too short (...)"))
    assert "the single setting is taken" in found
    assert "8 minutes were too short" in found


def test_a_document_is_rewritten_between_its_marks(tmp_path: Path) -> None:
    document, file = tmp_path / "tune.md", tmp_path / "tune-fused.json"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    file.write_bytes(encode(_tuned()))
    _main(str(document), str(file))
    once = document.read_text()
    _main(str(document), str(file))
    assert document.read_text() == once
    assert once.startswith(f"before\n{BEGIN}\n\n**tune-fused**")
    assert once.endswith(f"{END}\nafter\n")
    assert "old" not in once


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(InputError, match="no place"):
        rewritten("nothing", [])
