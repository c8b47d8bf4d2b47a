"""Bytes to elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.kernels import ImageSpec, KernelError
from chiasm.kernels.tables import element_table, margin_elements

CLIP: dict[str, Any] = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}


def test_table_is_the_formula() -> None:
    table = element_table(ImageSpec(1, 1, **CLIP))
    for channel in range(3):
        for value in (0, 1, 127, 255):
            exact = (value * (1 / 255) - CLIP["mean"][channel]) / CLIP["std"][channel]
            assert table[channel, value] == np.float32(exact)


def test_halves_are_rounded_once() -> None:
    table = element_table(ImageSpec(1, 1, dtype="float16", **CLIP))
    exact = (np.arange(256) * (1 / 255) - CLIP["mean"][0]) / CLIP["std"][0]
    assert table.dtype == np.float16
    assert np.array_equal(table[0], exact.astype(np.float16))


def test_quantised_ones_round_half_to_even_and_saturate() -> None:
    table = element_table(ImageSpec(1, 1, scale=1.0, dtype="int8", quant_scale=2.0, zero_point=-3))
    assert table[0, :6].tolist() == [-3, -3, -2, -1, -1, -1]  # 0, 0.5, 1, 1.5, 2, 2.5
    assert table[0, 255] == 125  # 127.5 to 128, less 3
    table = element_table(ImageSpec(1, 1, scale=1.0, mean=(100.0,) * 3, dtype="int8"))
    assert table[0, 0] == -100
    assert element_table(ImageSpec(1, 1, scale=1.0, dtype="int8"))[0, 200] == 127
    assert element_table(ImageSpec(1, 1, scale=-1.0, dtype="uint8"))[0, 200] == 0


def test_margins_are_pixels_or_numbers() -> None:
    assert margin_elements(ImageSpec(1, 1)) is None
    spec = ImageSpec(1, 1, pad=(0, 51, 255))
    margin = margin_elements(spec)
    assert margin is not None
    assert margin.tolist() == [element_table(spec)[channel, value] for channel, value in enumerate((0, 51, 255))]
    filled = margin_elements(ImageSpec(1, 1, fill=0.0, dtype="uint8", quant_scale=0.1, zero_point=9))
    assert filled is not None
    assert filled.tolist() == [9, 9, 9]


@pytest.mark.parametrize("changes", [{"std": (1e-300, 1.0, 1.0)}, {"scale": 1e3, "dtype": "float16"}])
def test_numbers_that_the_dtype_does_not_hold(changes: dict[str, Any]) -> None:
    with pytest.raises(KernelError, match="scale, mean, std, fill: found numbers"):
        element_table(ImageSpec(1, 1, **changes))
    with pytest.raises(KernelError, match="can hold"):
        margin_elements(ImageSpec(1, 1, fill=1e9, dtype="float16"))
