"""Long convolutions as products for each frequency."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="the export package's extra")

from chiasm.export.quantise import candidates
from chiasm.export.rewrite.spectrum import convolve_in_spectrum
from graphs import model, normal
from rewriting import farthest, kinds, rewritten


def _conv(size: Any, made: Any, taps: int = 40, groups: int = 2, out: int = 32, bias: bool = True, **more: Any) -> Any:
    lines = [("Conv", "x w b" if bias else "x w", "y", {"group": groups, **more})]
    constants = {"w": normal(1, out, 16, taps), "b": normal(2, out)}
    return model(lines, constants, {"x": (2, 16 * groups, size)}, {"y": (2, out, made)})


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 24), taps=st.integers(32, 60), front=st.integers(0, 40), behind=st.integers(0, 40),
    groups=st.sampled_from([1, 2]), bias=st.booleans(),
)  # fmt: skip
def test_the_answers_are_the_same(size: int, taps: int, front: int, behind: int, groups: int, bias: bool) -> None:
    made = size + front + behind - taps + 1
    assume(made > 0)
    whole = _conv(size, made, taps, groups, 48 if groups == 1 else 32, bias, pads=[front, behind])
    after, count = rewritten(whole, convolve_in_spectrum)
    assert count == ("Conv" not in kinds(after))
    assert farthest(whole, after, {"x": normal(3, 2, 16 * groups, size)}) < 1e-5


@pytest.mark.parametrize("size", [19, 20])
def test_it_fires_on_a_kernel_as_long_as_its_input(size: int) -> None:
    """At even and odd lengths of the transform; none of the products is one that INT8 is tried for."""
    whole = _conv(size, size + 1, pads=[20, 20])
    made, count = rewritten(whole, convolve_in_spectrum)
    assert count == 1
    assert kinds(made).count("MatMul") == 3
    assert candidates(made, "static") == []


@pytest.mark.parametrize(
    "whole",
    [
        _conv(19, 20, taps=31, pads=[16, 15]),  # too short
        _conv(90, 91, pads=[20, 20]),  # more weights than the convolution
        _conv(19, 10, pads=[20, 20], strides=[2]),
        _conv(19, 11, taps=32, pads=[27, 27], dilations=[2]),
        model(
            [("Conv", "x w", "y", {"group": 4, "pads": [20, 20]})],
            {"w": normal(1, 32, 8, 40)}, {"x": (1, 32, 19)}, {"y": (1, 32, 20)},
        ),  # narrow groups
        _conv("t", "u", pads=[20, 20]),
    ],
)  # fmt: skip
def test_others_are_left_alone(whole: Any) -> None:
    assert rewritten(whole, convolve_in_spectrum)[1] == 0
