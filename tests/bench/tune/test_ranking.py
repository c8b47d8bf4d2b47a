"""Who leads among the candidates of a part, and what is said of the others."""

from __future__ import annotations

from chiasm.bench.tune.ranking import rank, words
from chiasm.bench.tune.state import Row
from chiasm.runtime.tuned import Choice

FP32, INT8 = Choice("fp32", "ort", threads=1), Choice("int8-cpu", "ort", threads=1)


def test_a_row_that_is_not_surely_faster_is_not_fit() -> None:
    rows = [Row(FP32, 1.0, 1.0, 1.0), Row(INT8, 0.9, 0.8, 1.01), Row(Choice("fp16", "ort", threads=1), 1.3, 1.2, 1.4)]
    first, *others = rank(rows, FP32)
    assert first.choice == FP32
    assert [row.verdict for row in others] == ["slower", "slower"]
    assert "not surely faster" in others[0].why
    assert "slower than FP32: 1.30 times" in others[1].why


def test_of_equals_the_plainest_leads() -> None:
    quick = [Row(Choice("int8-cpu", "ort", threads=1, arena=False), 0.500, 0.49, 0.51), Row(INT8, 0.503, 0.49, 0.51),
             Row(Choice("fp16", "ort", threads=1), 0.6, 0.59, 0.61), Row(FP32, 1.0, 1.0, 1.0)]  # fmt: skip
    assert [row.choice for row in rank(quick, FP32)][:2] == [INT8, quick[0].choice]


def test_few_rounds_are_said() -> None:
    rows = [Row(INT8, 0.5, 0.4, 0.6, rounds=3), Row(FP32, 1.0, 1.0, 1.0, rounds=3)]
    first, reference = rank(rows, FP32)
    assert first.why == "3 rounds only: less sure than 99 %"
    assert reference.why == "the reference"


def test_two_lucky_rounds_lead_only_where_nobody_ran_longer() -> None:
    lucky, steady = (
        Row(Choice("int8-cpu", "ort", threads=2), 0.3, 0.2, 0.4, rounds=2),
        Row(INT8, 0.5, 0.4, 0.6, rounds=20),
    )
    reference = Row(FP32, 1.0, 1.0, 1.0, rounds=20)
    assert rank([lucky, steady, reference], FP32)[0] is steady
    assert rank([lucky, reference], FP32)[0] is lucky


def test_choices_in_words() -> None:
    assert words(Choice("int8-cpu", "ort", 2, True, False, "basic")) == (
        "int8-cpu on ort, 2 threads, spinning, no arena, level basic"
    )
