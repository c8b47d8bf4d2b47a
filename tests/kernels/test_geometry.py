"""Sizes, corners and margins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.kernels import ImageSpec, KernelError
from chiasm.kernels.geometry import Plan, plan_image, scaled_size
from chiasm.kernels.plan import Axis, Samples, plan_axis, sample_axis
from hypothesis import given, settings
from hypothesis import strategies as st

sizes = st.tuples(st.integers(1, 2000), st.integers(1, 2000))


@pytest.mark.parametrize(
    ("source", "target", "edge", "scaled"),
    [
        ((360, 640), (64, 64), None, (64, 113)),  # 113.7 rounds down
        ((640, 360), (64, 64), None, (113, 64)),
        ((360, 640), (64, 64), 73, (73, 129)),
        ((48, 64), (96, 128), None, (96, 128)),
        ((100, 100), (64, 32), None, (64, 64)),
        ((10, 10), (64, 32), None, (64, 64)),
    ],
)
def test_shortest_edge(
    source: tuple[int, int], target: tuple[int, int], edge: int | None, scaled: tuple[int, int]
) -> None:
    spec = ImageSpec(*target, filter="area", edge=edge)
    assert scaled_size(spec, source) == scaled
    plan = plan_image(spec, source)
    for axis, size, length, whole in zip((plan.rows, plan.columns), source, target, scaled, strict=True):
        expected = plan_axis(size, whole, (whole - length) // 2, length, "area")
        assert isinstance(axis, Axis)
        assert (axis.start == expected.start).all()
        assert (axis.weight == expected.weight).all()


def test_an_exact_resize_to_another_size_than_the_target() -> None:
    assert scaled_size(ImageSpec(289, 280, resize="exact", scaled=(346, 350)), (720, 1280)) == (346, 350)
    plan = plan_image(ImageSpec(4, 5, filter="area", resize="exact", scaled=(6, 9)), (30, 40))
    assert isinstance(plan.rows, Axis)
    assert (plan.rows.start == plan_axis(30, 6, 1, 4, "area").start).all()
    assert (plan.columns.weight == plan_axis(40, 9, 2, 5, "area").weight).all()  # type: ignore[union-attr]


@settings(max_examples=300, deadline=None)
@given(source=sizes, target=sizes)
def test_shortest_covers_and_longest_fits(source: tuple[int, int], target: tuple[int, int]) -> None:
    cover = scaled_size(ImageSpec(*target, resize="shortest-edge"), source)
    assert all(have >= want for have, want in zip(cover, target, strict=True))
    assert any(have == want for have, want in zip(cover, target, strict=True))
    for rounding in ("down", "nearest"):
        fit = scaled_size(ImageSpec(*target, resize="longest-edge", rounding=rounding), source)
        assert all(1 <= have <= want for have, want in zip(fit, target, strict=True))
        assert any(have == want for have, want in zip(fit, target, strict=True))


@pytest.mark.parametrize(
    ("rounding", "source", "scaled"),
    [
        ("down", (480, 854), (359, 640)),  # 359.7
        ("nearest", (480, 854), (360, 640)),
        ("nearest", (5, 64), (50, 640)),
        ("nearest", (9, 1280), (4, 640)),  # 4.5: halves to even
        ("nearest", (11, 1280), (6, 640)),  # 5.5
        ("down", (1, 5000), (1, 640)),  # never less than a pixel
    ],
)
def test_longest_edge(rounding: str, source: tuple[int, int], scaled: tuple[int, int]) -> None:
    assert scaled_size(ImageSpec(640, 640, resize="longest-edge", rounding=rounding), source) == scaled
    turned = scaled_size(ImageSpec(640, 640, resize="longest-edge", rounding=rounding, edge=640), source[::-1])
    assert turned == scaled[::-1]


def test_scaled_names_the_size_before_the_crop() -> None:
    spec = ImageSpec(64, 64, resize="exact", scaled=(73, 129))
    assert scaled_size(spec, (360, 640)) == (73, 129)
    plan = plan_image(spec, (360, 640))
    expected = plan_axis(640, 129, 32, 64, "bilinear")
    assert isinstance(plan.columns, Axis)
    assert (plan.columns.weight == expected.weight).all()


def made(plan: Plan) -> tuple[int, int]:
    rows, columns = (axis.start if isinstance(axis, Axis) else axis.first for axis in (plan.rows, plan.columns))
    return len(rows), len(columns)


def test_letterbox_is_in_the_middle() -> None:
    plan = plan_image(ImageSpec(64, 64, resize="longest-edge", pad=114), (33, 64))
    assert plan.corner == (15, 0)  # of 31 rows, the smaller half is above
    assert made(plan) == (33, 64)


def test_a_corner_crops_and_pads() -> None:
    plan = plan_image(ImageSpec(10, 10, resize="none", crop=(5, -3), pad=0), (12, 12))
    assert isinstance(plan.rows, Samples)
    assert plan.rows.first.tolist() == list(range(5, 12))
    assert isinstance(plan.columns, Samples)
    assert plan.columns.first.tolist() == list(range(7))
    assert plan.corner == (0, 3)


def test_a_box_moves_the_axes() -> None:
    plan = plan_image(ImageSpec(4, 4, filter="bicubic", resize="exact", box=(10, 20, 18, 36)), (40, 40))
    rows, columns = plan_axis(8, 4, 0, 4, "bicubic"), plan_axis(16, 4, 0, 4, "bicubic")
    assert isinstance(plan.rows, Axis)
    assert isinstance(plan.columns, Axis)
    assert (plan.rows.start == rows.start + 10).all()
    assert (plan.columns.start == columns.start + 20).all()


def test_the_same_size_is_not_weighed() -> None:
    plan = plan_image(ImageSpec(7, 9, filter="lanczos", resize="exact"), (7, 9))
    assert plan.kind == "sampled"
    expected = sample_axis(9, 9, 0, 9, "nearest", row=False)
    assert isinstance(plan.columns, Samples)
    assert np.array_equal(plan.columns.first, expected.first)


@pytest.mark.parametrize(
    ("source", "resize", "kind"),
    [
        ((200, 30), "exact", "down"),
        ((30, 200), "exact", "across"),
        ((80, 50), "exact", "across"),  # 60 rows are lost, twice 30 columns
        ((81, 50), "exact", "down"),
        ((21, 10), "exact", "down"),  # the width grows
        ((20, 10), "exact", "across"),  # no row is lost
        ((100, 40), "shortest-edge", "down"),  # to 50 × 20, before the crop: 50 rows, 20 columns
        ((70, 40), "shortest-edge", "across"),  # to 35 × 20
    ],
)
def test_pillows_order(source: tuple[int, int], resize: str, kind: str) -> None:
    spec = ImageSpec(20, 20, filter="bicubic", resize=resize, order="pillow")
    assert plan_image(spec, source).kind == kind
    assert plan_image(ImageSpec(20, 20, filter="bicubic", resize=resize), source).kind == "across"


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"crop": "none"}, "crop"),
        ({"edge": 32}, "crop"),
        ({"resize": "longest-edge"}, "crop"),
        ({"crop": "none", "pad": 0}, "crop"),  # it would have to be cropped
        ({"crop": (-1, 0)}, "crop"),
        ({"crop": (0, 200), "pad": 0}, "crop"),  # nothing of the picture is left
        ({"crop": (-64, 0), "pad": 0}, "crop"),
        ({"box": (0, 0, 361, 10)}, "box"),
        ({"box": (0, 0, 10, 641)}, "box"),
    ],
)
def test_what_cannot_be_planned(changes: dict[str, Any], argument: str) -> None:
    with pytest.raises(KernelError) as caught:
        plan_image(ImageSpec(64, 64, **changes), (360, 640))
    assert caught.value.argument == argument
    assert "expected" in str(caught.value)
