"""Weights in groups of four pixels, and tiles that fit into shared memory: the numbers of image_tiled.cu."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..plan import Axis

__all__ = ["SHARED", "Grouped", "Tile", "grouped", "tiling"]

SHARED = 48 * 1024
"""Bytes of shared memory that a block has everywhere without being asked for."""

GROUP, ROUND_ROWS, CHUNK, BLOCK = 4, 8, 16, 256
MOST_ROWS = 65535
"""Tiles of a grid from top to bottom."""

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Grouped:
    """An axis whose target i is made of the source pixels from 4·first[i] on, in `groups` groups of four.

    `quads` int32 (groups, 3, n): the weights as three signed digits to the base 256, low, middle, high; the same digit
    of four pixels in one number. `first` does not fall.
    """

    first: Ints
    quads: Ints

    @property
    def groups(self) -> int:
        return int(self.quads.shape[0])

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Tile:
    """`rows` × `columns` of the target for a block, and the shared memory that it takes (see image_tiled.cu)."""

    rows: int
    columns: int
    staged_width: int
    narrow_groups: int

    @property
    def shared(self) -> int:
        return ROUND_ROWS * 3 * self.staged_width + self.narrow_groups * 3 * self.columns * GROUP


@lru_cache(maxsize=256)
def _grouped(start: bytes, count: bytes, weight: bytes, taps: int) -> Grouped:
    begin, number = np.frombuffer(start, np.int32), np.frombuffer(count, np.int32)
    weights = np.frombuffer(weight, np.int32).reshape(-1, taps)
    first = np.minimum.accumulate((begin // GROUP)[::-1])[::-1]
    lead = begin - first * GROUP
    groups = int((-(-(lead + number) // GROUP)).max())
    dense = np.zeros((len(begin), groups * GROUP), np.int64)
    tap = np.arange(taps)
    inside = tap < number[:, None]
    row = np.broadcast_to(np.arange(len(begin))[:, None], inside.shape)
    dense[row[inside], (lead[:, None] + tap)[inside]] = weights[inside]
    digits = []
    for _ in range(3):
        low = ((dense + 128) & 255) - 128
        digits.append(low.astype(np.int8))
        dense = (dense - low) >> 8
    words = [np.ascontiguousarray(digit).view(np.int32).T for digit in digits]
    quads = np.ascontiguousarray(np.stack(words, axis=1), np.int32)
    return Grouped(np.ascontiguousarray(first, np.int32), quads)


def grouped(axis: Axis) -> Grouped:
    """The weights of `axis`, each below 127.5 · 2^16 (nearly 2), in groups; kept."""
    return _grouped(axis.start.tobytes(), axis.count.tobytes(), axis.weight.tobytes(), axis.weight.shape[1])


@lru_cache(maxsize=256)
def tiling(rows: Grouped, columns: Grouped, frames: int, multiprocessors: int) -> Tile | None:
    """The tile that is likely to be done first; None when no tile fits.

    The guess counts instructions: about 220 for sixteen pixels to come in, 19 for a group of four rows across and 32
    around it, 7 for a group down and 25 around it; and the rounds in which the blocks go over the multiprocessors.
    """
    best, least = None, float("inf")
    for width in sorted({-(-len(columns) // parts) for parts in range(1, 33)}):
        staged = _staged_width(columns, width)
        for height in (64, 32, 16, 8, 4, 2, 1):
            tile = Tile(min(height, len(rows)), width, staged, _span(rows, height))
            tiles = -(-len(rows) // tile.rows)
            if tile.shared > SHARED or tiles > MOST_ROWS:
                continue
            blocks = tiles * -(-len(columns) // width) * frames
            together = min(8, 2 * SHARED // tile.shared)
            waves = -(-blocks // (multiprocessors * together))
            time = waves * min(together, -(-blocks // multiprocessors)) * _work(tile, rows.groups, columns.groups)
            if time < least:
                best, least = tile, time
    return best


def _work(tile: Tile, row_groups: int, column_groups: int) -> float:
    """Instructions that a thread of the block runs, guessed."""
    rounds = -(-tile.narrow_groups * GROUP // ROUND_ROWS)
    stage = -(-ROUND_ROWS * (tile.staged_width // CHUNK) // BLOCK) * 220
    across = -(-ROUND_ROWS // GROUP * 3 * tile.columns // BLOCK) * (19 * column_groups + 32)
    down = -(-tile.rows * 3 * tile.columns // BLOCK) * (7 * row_groups + 25)
    return rounds * (stage + across + 60) + down


def _span(axis: Grouped, length: int) -> int:
    """Groups that `length` targets side by side need at most."""
    first = axis.first[::length]
    last = axis.first[np.minimum(np.arange(0, len(axis), length) + length - 1, len(axis) - 1)]
    return int((last - first).max()) + axis.groups


def _staged_width(axis: Grouped, length: int) -> int:
    """Bytes of a row that `length` targets need at most, from a multiple of 16 on, as a multiple of 16."""
    left = axis.first[::length].astype(np.int64) * GROUP // CHUNK * CHUNK
    last = axis.first[np.minimum(np.arange(0, len(axis), length) + length - 1, len(axis) - 1)].astype(np.int64)
    return int(-(-((last + axis.groups) * GROUP - left).max() // CHUNK) * CHUNK)
