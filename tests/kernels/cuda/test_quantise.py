"""Bytes by the kernels for the GPU, their bodies run on this CPU, against the CPU's functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm import kernels
from chiasm.kernels import KernelError, cuda
from emulated import EmulatedDriver, GpuArray, on_cpu
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

relaxed = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@relaxed
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.lists(st.integers(1, 13), min_size=1, max_size=3),
    axis=st.sampled_from([None, 0, -1]),
    dtype=st.sampled_from(["int8", "uint8"]),
    shift=st.sampled_from([0, 4]),
)
def test_there_and_back(
    gpu: EmulatedDriver, seed: int, shape: list[int], axis: int | None, dtype: str, shift: int
) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=shape) * 3).astype(np.float32)
    values.reshape(-1)[0] = rng.choice([np.inf, -np.inf, 0.5, 1e30])
    count = () if axis is None else (shape[axis],)
    scale = rng.uniform(0.01, 0.5, count).astype(np.float32)
    limits = np.iinfo(dtype)
    zero = rng.integers(limits.min, limits.max, count, endpoint=True)
    expected = kernels.quantize(values, scale, zero, dtype=dtype, axis=axis)
    made = cuda.quantize(GpuArray(values, shift=shift), scale, zero, dtype=dtype, axis=axis)
    assert (on_cpu(made) == expected).all()
    back = cuda.dequantize(made, scale, zero, axis=axis, out=GpuArray(np.zeros_like(values), shift=shift))
    assert (on_cpu(back) == kernels.dequantize(expected, scale, zero, axis=axis)).all()


def test_nan_is_told(gpu: EmulatedDriver) -> None:
    values = np.zeros(2000, np.float32)
    values[1999] = np.nan
    with pytest.raises(KernelError, match="values: found NaN"):
        cuda.quantize(GpuArray(values), 0.1)
    cuda.quantize(GpuArray(values), 0.1, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": 0.0},
        {"scale": [1.0, 2.0]},
        {"axis": 3},
        {"dtype": "int4"},
        {"zero_point": 400},
        {"values": np.zeros(3)},
    ],
)
def test_what_cannot_be(gpu: EmulatedDriver, arguments: dict[str, Any]) -> None:
    """Refused in the same words as on a CPU."""
    given = {"values": np.zeros((3, 4), np.float32), "scale": 0.1, **arguments}
    with pytest.raises(KernelError) as first:
        cuda.quantize(**{**given, "values": GpuArray(given["values"])})
    with pytest.raises(KernelError) as second:
        kernels.quantize(**given)
    assert str(first.value) == str(second.value)
    assert gpu.launches == []
