"""The weights and the neighbours of a resize."""

from __future__ import annotations

import numpy as np
import pytest
from chiasm.kernels.plan import FILTERS, LERP_BITS, PRECISION, SAMPLED, plan_axis, sample_axis
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


@settings(max_examples=600, deadline=None)
@given(source=sizes, scaled=sizes, kind=st.sampled_from(SAMPLED), data=st.data())
def test_samples_stay_inside_and_sum_to_one(source: int, scaled: int, kind: str, data: st.DataObject) -> None:
    row = data.draw(st.booleans())
    first = data.draw(st.integers(0, scaled - 1))
    length = data.draw(st.integers(1, scaled - first))
    samples = sample_axis(source, scaled, first, length, kind, row=row)
    for index in (samples.first, samples.second):
        assert index.shape == (length,)
        assert 0 <= index.min() <= index.max() < source
    assert (samples.weight >= 0).all()
    assert (samples.weight.sum(axis=1) == 1 << LERP_BITS).all()
    whole = sample_axis(source, scaled, 0, scaled, kind, row=row)
    assert (whole.first[first : first + length] == samples.first).all()
    assert (whole.weight[first : first + length] == samples.weight).all()


def test_neighbours_of_a_row_lie_side_by_side() -> None:
    """So that the kernels may read both at once."""
    for source, scaled in ((5, 3), (3, 50), (2, 1), (640, 224)):
        samples = sample_axis(source, scaled, 0, scaled, "opencv-linear", row=False)
        assert (samples.second == samples.first + 1).all()


def test_what_was_planned_does_not_change() -> None:
    axis, samples = plan_axis(9, 5, 0, 5, "area"), sample_axis(9, 5, 0, 5, "nearest", row=True)
    for array in (axis.start, axis.count, axis.weight, samples.first, samples.second, samples.weight):
        assert array.dtype == np.int32
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
