"""Weights in groups of four, tiles, grids: the numbers that the kernels trust."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.kernels.cuda.launching import LARGEST_GRID, grid_for
from chiasm.kernels.cuda.tiling import CHUNK, GROUP, MOST_ROWS, SHARED, grouped, tiling
from chiasm.kernels.plan import FILTERS, Axis, plan_axis
from hypothesis import given, settings
from hypothesis import strategies as st

axes = st.builds(
    lambda source, length, kind: (source, plan_axis(source, length, 0, length, kind)),
    source=st.integers(1, 700),
    length=st.integers(1, 300),
    kind=st.sampled_from(sorted(FILTERS)),
)


def dense(axis: Axis, source: int) -> Any:
    """The weights of every source pixel for every target."""
    weights = np.zeros((len(axis.start), source), np.int64)
    for i, (start, count) in enumerate(zip(axis.start, axis.count, strict=True)):
        weights[i, start : start + count] = axis.weight[i, :count]
    return weights


@settings(max_examples=150, deadline=None)
@given(pair=axes)
def test_groups_weigh_what_the_axis_weighs(pair: tuple[int, Axis]) -> None:
    source, axis = pair
    made = grouped(axis)
    assert (np.diff(made.first) >= 0).all()
    digits = (
        made.quads.transpose(2, 0, 1).copy().view(np.int8).reshape(len(made), made.groups, 3, GROUP).astype(np.int64)
    )
    whole = digits[:, :, 0] + (digits[:, :, 1] << 8) + (digits[:, :, 2] << 16)
    room = np.zeros((len(made), (int(made.first.max()) + made.groups) * GROUP), np.int64)
    for i, first in enumerate(made.first):
        room[i, first * GROUP : (first + made.groups) * GROUP] = whole[i].reshape(-1)
    expected = dense(axis, source)
    shared = min(source, room.shape[1])
    assert (room[:, :shared] == expected[:, :shared]).all()
    assert not room[:, shared:].any()
    assert not expected[:, shared:].any()


@settings(max_examples=100, deadline=None)
@given(rows=axes, columns=axes, frames=st.integers(1, 100), multiprocessors=st.sampled_from([1, 16, 132]))
def test_a_tile_holds_what_its_targets_read(
    rows: tuple[int, Axis], columns: tuple[int, Axis], frames: int, multiprocessors: int
) -> None:
    down, across = grouped(rows[1]), grouped(columns[1])
    tile = tiling(down, across, frames, multiprocessors)
    if tile is None:
        return
    assert tile.shared <= SHARED
    assert -(-len(down) // tile.rows) <= MOST_ROWS
    for top in range(0, len(down), tile.rows):
        last = min(top + tile.rows, len(down)) - 1
        assert down.first[last] + down.groups - down.first[top] <= tile.narrow_groups
    for left in range(0, len(across), tile.columns):
        last = min(left + tile.columns, len(across)) - 1
        begin = across.first[left] * GROUP // CHUNK * CHUNK
        assert (across.first[last] + across.groups) * GROUP - begin <= tile.staged_width
    assert tile.staged_width % CHUNK == 0


def test_no_tile_where_nothing_fits() -> None:
    wide = grouped(plan_axis(100_000, 3, 0, 3, "lanczos"))
    assert tiling(wide, wide, 1, 132) is None


@pytest.mark.parametrize(
    ("items", "per_block", "blocks"), [(0, 4, 1), (1, 4, 1), (4, 4, 1), (5, 4, 2), (10**13, 1, LARGEST_GRID)]
)
def test_grids(items: int, per_block: int, blocks: int) -> None:
    assert grid_for(items, per_block) == (blocks, 1, 1)
