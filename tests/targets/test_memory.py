"""The memory of this process: its peak, and how that is forgotten."""

from __future__ import annotations

import mmap

import pytest
from chiasm.targets.memory import peak_mib, reset_peak, resident_mib


def test_the_peak_follows_an_allocation_and_can_be_forgotten() -> None:
    if resident_mib() is None or not reset_peak():
        pytest.skip("this system does not tell a process its memory, or not let it forget the peak")
    before = peak_mib()
    # Pages of its own: what is freed to an allocator may stay resident, once others have used it in this process.
    block = mmap.mmap(-1, 64 * 2**20)
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    during = peak_mib()
    assert before is not None
    assert during is not None
    assert during - before > 50
    block.close()
    reset_peak()
    after = peak_mib()
    assert after is not None
    assert after < during - 40
