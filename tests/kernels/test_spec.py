"""What can be asked of a picture, and what is said when it cannot."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from chiasm.kernels import ImageSpec, KernelError


def test_is_a_value() -> None:
    spec = ImageSpec(4, 5, mean=[0.1, 0.2, 0.3], pad=np.uint8(7))  # type: ignore[arg-type]
    assert spec == ImageSpec(4, 5, mean=(0.1, 0.2, 0.3), pad=(7, 7, 7))
    assert hash(spec) == hash(ImageSpec(np.int64(4), 5, mean=(0.1, 0.2, 0.3), pad=7))  # type: ignore[arg-type]
    with pytest.raises(FrozenInstanceError):
        spec.height = 3  # type: ignore[misc]


def test_shape_is_the_tensors() -> None:
    assert ImageSpec(4, 5).shape == (3, 4, 5)
    assert ImageSpec(4, 5, layout="hwc").shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"height": 0}, "height"),
        ({"width": 4.0}, "width"),
        ({"width": True}, "width"),
        ({"height": 1 << 20}, "height"),
        ({"filter": "cubic"}, "filter"),
        ({"filter": ["area"]}, "filter"),
        ({"order": "down"}, "order"),
        ({"resize": "cover"}, "resize"),
        ({"rounding": "up"}, "rounding"),
        ({"channels": "rgba"}, "channels"),
        ({"layout": "nchw"}, "layout"),
        ({"dtype": "float64"}, "dtype"),
        ({"edge": 0}, "edge"),
        ({"edge": 4, "resize": "exact"}, "edge"),
        ({"scaled": (4, 0), "resize": "exact"}, "scaled"),
        ({"scaled": (4,), "resize": "exact"}, "scaled"),
        ({"scaled": (4, 4)}, "scaled"),
        ({"scaled": (0, 4), "resize": "exact"}, "scaled"),
        ({"scaled": 4, "resize": "exact"}, "scaled"),
        ({"box": (0, 0, 4)}, "box"),
        ({"box": (0, 0, 0, 4)}, "box"),
        ({"box": (-1, 0, 4, 4)}, "box"),
        ({"box": "0044"}, "box"),
        ({"crop": "random"}, "crop"),
        ({"crop": (1.5, 0)}, "crop"),
        ({"crop": 3}, "crop"),
        ({"pad": 256}, "pad"),
        ({"pad": (1, 2)}, "pad"),
        ({"pad": 1.5}, "pad"),
        ({"pad": 0, "fill": 0.0}, "pad, fill"),
        ({"fill": float("inf")}, "fill"),
        ({"fill": "black"}, "fill"),
        ({"scale": float("nan")}, "scale"),
        ({"mean": (0.1, 0.2)}, "mean"),
        ({"mean": 0.5}, "mean"),
        ({"mean": (0.1, 0.2, float("nan"))}, "mean"),
        ({"std": (0.1, 0.0, 0.1)}, "std"),
        ({"std": (0.1, float("inf"), 0.1)}, "std"),
        ({"dtype": "int8", "quant_scale": 0.0}, "quant_scale"),
        ({"dtype": "int8", "quant_scale": -1.0}, "quant_scale"),
        ({"dtype": "int8", "zero_point": 128}, "zero_point"),
        ({"dtype": "uint8", "zero_point": -1}, "zero_point"),
        ({"quant_scale": 0.5}, "quant_scale, zero_point"),
        ({"dtype": "float16", "zero_point": 3}, "quant_scale, zero_point"),
    ],
)
def test_what_no_picture_can_be_made_by(changes: dict[str, Any], argument: str) -> None:
    with pytest.raises(KernelError) as caught:
        ImageSpec(**({"height": 4, "width": 4} | changes))
    assert caught.value.argument == argument
    assert "expected" in str(caught.value)
