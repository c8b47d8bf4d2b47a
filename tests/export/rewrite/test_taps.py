"""Convolutions without the taps that meet padding only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="the export package's extra")

from chiasm.export.rewrite.taps import drop_taps
from graphs import model, normal
from rewriting import farthest, kinds, rewritten


def _made(size: int, taps: int, step: int, apart: int, front: int, behind: int) -> int:
    return (size + front + behind - (taps - 1) * apart - 1) // step + 1


def _conv(size: int, taps: int, step: int = 1, apart: int = 1, pads: tuple[int, int] = (0, 0)) -> tuple[Any, int]:
    """A convolution of 3 channels in one group with a bias, as x → y; and the length of y."""
    length = _made(size, taps, step, apart, *pads)
    more = {"strides": [step], "dilations": [apart], "pads": list(pads), "kernel_shape": [taps]}
    constants = {"w": normal(1, 4, 3, taps), "b": normal(2, 4)}
    return model([("Conv", "x w b", "y", more)], constants, {"x": (2, 3, size)}, {"y": (2, 4, length)}), length


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 9), taps=st.integers(1, 12), step=st.integers(1, 3), apart=st.integers(1, 3),
    front=st.integers(0, 14), behind=st.integers(0, 14),
)  # fmt: skip
def test_the_answers_are_the_same(size: int, taps: int, step: int, apart: int, front: int, behind: int) -> None:
    assume(_made(size, taps, step, apart, front, behind) > 0)
    whole, _ = _conv(size, taps, step, apart, (front, behind))
    made, _ = rewritten(whole, drop_taps)
    assert farthest(whole, made, {"x": normal(3, 2, 3, size)}) < 1e-5


def _behind(conv: Any, length: int, start: int, end: int, axis: int = 2, step: int = 1) -> Any:
    """The same with a slice of the result."""
    numbers = {"start": start, "end": end, "axis": axis, "step": step}
    lines = [("Conv", "x w b", "m", _attributes(conv)), ("Slice", "m start end axis step", "y")]
    constants = {"w": normal(1, 4, 3, conv.graph.initializer[0].dims[2]), "b": normal(2, 4)}
    constants |= {name: np.array([value]) for name, value in numbers.items()}
    size = [each.dim_value for each in conv.graph.input[0].type.tensor_type.shape.dim]
    left = len(range(*slice(start, end, step).indices(length if axis == 2 else 4)))
    shape = (2, 4, left) if axis == 2 else (2, left, length)
    return model(lines, constants, {"x": size}, {"y": shape})


def _attributes(conv: Any) -> dict[str, Any]:
    return {each.name: list(each.ints) for each in conv.graph.node[0].attribute}


def test_of_a_kernel_longer_than_its_input_what_can_meet_it_stays() -> None:
    """As the position embedding of wav2vec 2.0: an even kernel, one result too many, which a slice drops."""
    whole = _behind(*_conv(5, 16, pads=(8, 8)), 0, -1)
    made, count = rewritten(whole, drop_taps)
    assert count == 1
    assert kinds(made) == ["Conv"]
    assert made.weights[made.graph.node[0].input[1]].shape == (4, 3, 9)  # lags −4 … 4
    assert farthest(whole, made, {"x": normal(3, 2, 3, 5)}) < 1e-6


@pytest.mark.parametrize(("start", "end"), [(1, 8), (0, 2**40), (2, -3), (-8, 9)])
def test_a_slice_goes_into_the_padding(start: int, end: int) -> None:
    whole = _behind(*_conv(7, 5, pads=(4, 4)), start, end)
    made, count = rewritten(whole, drop_taps)
    assert (kinds(made), count) == (["Conv"], 1)
    assert farthest(whole, made, {"x": normal(3, 2, 3, 7)}) < 1e-6


@pytest.mark.parametrize(("start", "end", "axis", "step"), [(1, 3, 1, 1), (0, 6, 2, 2), (3, 7, 2, 1)])
def test_a_slice_of_channels_or_with_steps_or_of_what_reads_no_padding_stays(
    start: int, end: int, axis: int, step: int
) -> None:
    whole = _behind(*_conv(7, 3, pads=(1, 1)), start, end, axis, step)
    made, count = rewritten(whole, drop_taps)
    assert (kinds(made), count) == (["Conv", "Slice"], 0)


def test_a_plain_convolution_stays() -> None:
    assert rewritten(_conv(9, 3, pads=(1, 1))[0], drop_taps)[1] == 0


def test_of_a_picture_each_axis_is_looked_at() -> None:
    more = {"pads": [0, 3, 0, 3], "kernel_shape": [3, 7]}
    whole = model([("Conv", "x w", "y", more)], {"w": normal(1, 4, 3, 3, 7)}, {"x": (1, 3, 5, 2)}, {"y": (1, 4, 3, 2)})
    made, count = rewritten(whole, drop_taps)
    assert count == 1
    assert made.weights[made.graph.node[0].input[1]].shape == (4, 3, 3, 3)
    assert farthest(whole, made, {"x": normal(3, 1, 3, 5, 2)}) < 1e-6


def test_an_unknown_length_is_left_alone() -> None:
    more = {"pads": [8, 8], "kernel_shape": [16]}
    whole = model([("Conv", "x w", "y", more)], {"w": normal(1, 4, 3, 16)}, {"x": (1, 3, "t")}, {"y": (1, 4, "u")})  # type: ignore[list-item,dict-item]
    assert rewritten(whole, drop_taps)[1] == 0
