"""The weights of a resize."""

from __future__ import annotations

import numpy as np
import pytest
from chiasm.kernels import KernelError
from chiasm.kernels.plan import FILTERS, PRECISION, normalisation_table, plan_axis, plan_resize
from hypothesis import given, settings
from hypothesis import strategies as st

sizes = st.integers(1, 700)
kinds = st.sampled_from(sorted(FILTERS))


@settings(max_examples=600, deadline=None)
@given(source=sizes, scaled=sizes, kind=kinds, data=st.data())
def test_axis_stays_inside_and_sums_to_one(source: int, scaled: int, kind: str, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, scaled - 1))
    length = data.draw(st.integers(1, scaled - first))
    axis = plan_axis(source, scaled, first, length, kind)
    taps = axis.weight.shape[1]
    assert axis.start.min() >= 0
    assert axis.count.min() >= 1
    assert axis.count.max() == taps
    assert (axis.start + axis.count).max() <= source
    # Half a unit of rounding per tap, also of those that were rounded away.
    reach = 2 * FILTERS[kind][1] * max(source / scaled, 1.0) + 1
    assert np.abs(axis.weight.sum(axis=1, dtype=np.int64) - (1 << PRECISION)).max() <= reach / 2
    # A sum of products with bytes, plus the half that rounds, must fit 32 bits.
    assert np.abs(axis.weight.astype(np.int64)).sum(axis=1).max() * 255 + (1 << (PRECISION - 1)) < 1 << 31
    assert not axis.weight[np.arange(taps) >= axis.count[:, None]].any()


def test_part_of_an_axis_is_that_part() -> None:
    whole = plan_axis(640, 113, 0, 113, "lanczos")
    part = plan_axis(640, 113, 24, 64, "lanczos")
    assert (part.start == whole.start[24:88]).all()
    assert (part.count == whole.count[24:88]).all()
    taps = part.weight.shape[1]
    assert (part.weight == whole.weight[24:88, :taps]).all()


@pytest.mark.parametrize("kind", sorted(FILTERS))
def test_same_size_reads_one_pixel_each(kind: str) -> None:
    axis = plan_axis(50, 50, 0, 50, kind)
    assert axis.weight.tolist() == [[1 << PRECISION]] * 50
    assert axis.start.tolist() == list(range(50))


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
    plan = plan_resize(source, target, "area", "shortest-edge", "centre", edge)
    for axis, size, length, whole in zip((plan.rows, plan.columns), source, target, scaled, strict=True):
        expected = plan_axis(size, whole, (whole - length) // 2, length, "area")
        assert (axis.start == expected.start).all()
        assert (axis.weight == expected.weight).all()


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"kind": "nearest"}, "filter"),
        ({"resize": "longest-edge"}, "resize"),
        ({"crop": "random"}, "crop"),
        ({"crop": "none"}, "crop"),
        ({"target": (0, 64)}, "height, width"),
        ({"edge": 32}, "crop"),
        ({"edge": 0}, "edge"),
        ({"edge": 64, "resize": "exact"}, "edge"),
    ],
)
def test_what_cannot_be_planned(changes: dict[str, object], argument: str) -> None:
    arguments = {
        "source": (360, 640),
        "target": (64, 64),
        "kind": "area",
        "resize": "shortest-edge",
        "crop": "centre",
        "edge": None,
    }
    with pytest.raises(KernelError) as caught:
        plan_resize(**(arguments | changes))  # type: ignore[arg-type]
    assert caught.value.argument == argument
    assert "expected" in str(caught.value)


def test_normalisation_table_is_the_formula() -> None:
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    table = normalisation_table(1 / 255, mean, std)
    for channel in range(3):
        for value in (0, 1, 127, 255):
            assert table[channel, value] == np.float32((value * (1 / 255) - mean[channel]) / std[channel])


@pytest.mark.parametrize("std", [(1.0, 0.0, 1.0), (1.0, float("nan"), 1.0), (1.0, 1.0)])
def test_normalisation_that_cannot_be(std: tuple[float, ...]) -> None:
    with pytest.raises(KernelError):
        normalisation_table(1.0, (0.0, 0.0, 0.0), std)
