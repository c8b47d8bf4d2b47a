from __future__ import annotations

import pytest
from chiasm.targets import find_target
from chiasm.targets.roofline import Bound, bound, together
from hypothesis import given
from hypothesis import strategies as st


def test_arithmetic_bounds_what_has_many_operations() -> None:
    """Orin Nano 4 GB: 5·10^12 FP16 operations a second."""
    found = bound(find_target("jetson-orin-nano-4gb"), {"fp16": 5e9}, 1e6)
    assert found.seconds == pytest.approx(1e-3)
    assert found.limit == "arithmetic"


def test_memory_bounds_what_has_many_weights() -> None:
    """34 GB/s, and 4 MiB may still be in the cache."""
    found = bound(find_target("jetson-orin-nano-4gb"), {"fp16": 1.0}, 34e9 + 4 * 2**20)
    assert found.seconds == pytest.approx(1.0)
    assert found.limit == "memory"


def test_what_the_cache_holds_is_free() -> None:
    assert bound(find_target("rtx-5090"), {}, 96 * 2**20).memory == 0.0
    assert bound(find_target("h200"), {}, 96 * 2**20).memory == pytest.approx(96 * 2**20 / 4.8e12)


def test_precisions_add_up() -> None:
    target = find_target("rtx-4060")
    both = bound(target, {"fp16": 60.46e9, "int8": 120.915e9}, 0.0)
    assert both.arithmetic == pytest.approx(2e-3)


def test_parts_may_overlap() -> None:
    """A part that waits for memory and one that computes could run at once."""
    found = together({"a": (Bound(1.0, 3.0), 2), "b": (Bound(4.0, 1.0), 1)})
    assert (found.arithmetic, found.memory, found.seconds) == (6.0, 7.0, 7.0)
    assert together({"a": (Bound(None, 3.0), 2)}).limit == "memory (no rate is known)"


@given(st.floats(1, 1e15), st.floats(1, 1e12))
def test_a_faster_device_is_never_slower(operations: float, nbytes: float) -> None:
    slow, fast = find_target("jetson-orin-nano-4gb"), find_target("jetson-orin-nano-8gb-super")
    assert bound(fast, {"int8": operations}, nbytes).seconds <= bound(slow, {"int8": operations}, nbytes).seconds
