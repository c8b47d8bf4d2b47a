"""The memory of this process: its peak, and how that is forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from chiasm.targets.memory import peak_mib, reset_peak, resident_mib


def test_the_peak_follows_an_allocation_and_can_be_forgotten() -> None:
    if resident_mib() is None or not reset_peak():
        pytest.skip("this system does not tell a process its memory, or not let it forget the peak")
    before = peak_mib()
    block = np.ones(64 * 2**20, np.uint8)
    during = peak_mib()
    assert before is not None
    assert during is not None
    assert during - before > 50
    del block
    reset_peak()
    after = peak_mib()
    assert after is not None
    assert after < during - 40
