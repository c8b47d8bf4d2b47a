"""Bytes from floats and back: the same from NumPy and from C++, and from ONNX Runtime."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, _select, dequantize, quantize, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kernel_twins import instruction_sets, using

Array = np.ndarray[Any, Any]
dtypes = st.sampled_from(["int8", "uint8"])
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=9)


def values(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Array:
    """Halves of the scale, where rounding shows; normal numbers; infinity and the greatest float."""
    made = rng.integers(-600, 600, shape) * np.float32(scale) / np.float32(2)
    made = np.where(rng.random(shape) < 0.5, made, rng.standard_normal(shape) * scale * 100)
    made = np.where(rng.random(shape) < 0.02, rng.choice([np.inf, -np.inf, 3e38, -0.0]), made)
    return np.asarray(made, np.float32)


@pytest.mark.parametrize("name", instruction_sets())
def test_compiled_is_the_reference(name: str) -> None:
    """2,000 random arrays, there and back, byte for byte and bit for bit."""
    with using(name) as compiled:
        for seed in range(2000):
            rng = np.random.default_rng(seed)
            shape = tuple(int(n) for n in rng.integers(1, [4, 12, 2 if seed % 2 else 200]))
            scale = float(10.0 ** rng.uniform(-6, 3))
            floats = values(rng, shape, scale)
            scales = (scale * rng.uniform(0.5, 2, shape[1])).astype(np.float32)
            dtype = (np.int8, np.uint8)[seed // 2 % 2]
            zeros = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, shape[1]).astype(np.int32)
            ours, theirs = np.empty(shape, dtype), np.empty(shape, dtype)
            assert compiled.quantize(floats, scales, zeros, ours)
            assert reference.quantize(floats, scales, zeros, theirs)
            assert (ours == theirs).all(), seed
            back, expected = np.empty(shape, np.float32), np.empty(shape, np.float32)
            compiled.dequantize(ours, scales, zeros, back)
            reference.dequantize(ours, scales, zeros, expected)
            assert (back == expected).all(), seed


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_every_float_near_a_half(name: str, dtype: type[np.generic]) -> None:
    """Around every half of the range, the neighbours too: Python rounds halves to even as well."""
    halves = np.arange(-300, 300, dtype=np.float32) + np.float32(0.5)
    floats = np.concatenate([np.nextafter(halves, np.float32(-999)), halves, np.nextafter(halves, np.float32(999))])
    limits = np.iinfo(dtype)
    expected = [min(max(round(float(x)) + 7, limits.min), limits.max) for x in floats]
    out = np.empty((1, 1, floats.size), dtype)
    with using(name) as compiled:
        assert compiled.quantize(floats.reshape(out.shape), np.ones(1, np.float32), np.array([7], np.int32), out)
    assert out.reshape(-1).tolist() == expected


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=shapes, dtype=dtypes, data=st.data())
def test_one_axis_is_each_index_alone(seed: int, shape: tuple[int, ...], dtype: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    floats = values(rng, shape, 0.1)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1)) if shape else None
    count = () if axis is None else (shape[axis],)
    scales = rng.uniform(0.05, 0.2, count).astype(np.float32)
    zeros = rng.integers(0, 100, count)
    whole = quantize(floats, scales, zeros, dtype=dtype, axis=axis)
    back = dequantize(whole, scales, zeros, axis=axis)
    assert whole.dtype == dtype
    assert whole.shape == back.shape == shape
    for index in range(count[0] if axis is not None else 0):
        one = np.asarray(np.take(floats, index, axis))
        alone = quantize(one, float(scales[index]), int(zeros[index]), dtype=dtype)
        assert (np.take(whole, index, axis) == alone).all()
        assert (np.take(back, index, axis) == dequantize(alone, float(scales[index]), int(zeros[index]))).all()


@settings(max_examples=300, deadline=None)
@given(
    floats=hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=st.floats(-1, 1, width=32)),
    dtype=dtypes, scale=st.floats(0.01, 10),
)  # fmt: skip
def test_there_and_back_is_within_half_a_step(floats: Array, dtype: str, scale: float) -> None:
    zero = 0 if dtype == "int8" else 128
    back = dequantize(quantize(floats, scale, zero, dtype=dtype), scale, zero)
    inside = np.abs(floats / scale) < 126
    assert (np.abs(back - floats)[inside] <= scale * 0.50001).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_is_what_onnx_runtime_does(dtype: str, axis: int | None) -> None:
    onnx = pytest.importorskip("onnx", reason="the graph is built with onnx")
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime answers")
    rng = np.random.default_rng(3)
    floats = values(rng, (3, 5, 40), 0.05)
    floats[~np.isfinite(floats)] = 1.0  # ONNX says nothing of infinity
    count = () if axis is None else (floats.shape[axis],)
    scales = rng.uniform(0.01, 0.1, count).astype(np.float32)
    zeros = rng.integers(0, 100, count).astype(dtype)
    more = {} if axis is None else {"axis": axis}
    make, tensor = onnx.helper, onnx.numpy_helper.from_array
    kind = make.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = make.make_graph(
        [
            make.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **more),
            make.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **more),
        ],
        "there and back",
        [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, floats.shape)],
        [
            make.make_tensor_value_info("q", kind, floats.shape),
            make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, floats.shape),
        ],
        [tensor(scales, "s"), tensor(zeros, "z")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    theirs, back = session.run(None, {"x": floats})
    ours = quantize(floats, scales, zeros, dtype=dtype, axis=axis)
    assert (ours == theirs).all()
    assert (dequantize(ours, scales, zeros, axis=axis) == back).all()


def test_out_is_written_and_returned() -> None:
    floats = np.array([[-1.0, 0.5], [0.25, 3.0]], np.float32)
    out = np.empty((2, 2), np.int8)
    assert quantize(floats, 0.01, out=out) is out
    assert out.tolist() == [[-100, 50], [25, 127]]
    back = np.empty((2, 2), np.float32)
    assert dequantize(out, 0.5, 1, out=back) is back
    assert back.tolist() == [[-50.5, 24.5], [12.0, 63.0]]


FLOATS, BYTES = np.ones((2, 3), np.float32), np.ones((2, 3), np.int8)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"values": FLOATS.astype(np.float64)}, "values"),
        ({"values": FLOATS[:, ::2]}, "values"),
        ({"values": FLOATS[:0]}, "values"),
        ({"values": 1.0}, "values"),
        ({"values": np.full((2, 3), np.nan, np.float32)}, "values"),
        ({"scale": 0.0}, "scale"),
        ({"scale": -1.0}, "scale"),
        ({"scale": math.nan}, "scale"),
        ({"scale": math.inf}, "scale"),
        ({"scale": 1e-60}, "scale"),
        ({"scale": [1.0, 1.0]}, "scale"),
        ({"scale": [[1.0], 1.0]}, "scale"),
        ({"scale": "one"}, "scale"),
        ({"scale": True}, "scale"),
        ({"axis": 0}, "scale"),
        ({"axis": 1, "scale": [1.0, 1.0]}, "scale"),
        ({"axis": 2}, "axis"),
        ({"axis": -3}, "axis"),
        ({"axis": 0.0}, "axis"),
        ({"axis": 0, "scale": [1.0, 1.0], "zero_point": 3}, "zero_point"),
        ({"zero_point": 128}, "zero_point"),
        ({"zero_point": -129}, "zero_point"),
        ({"zero_point": 1.5}, "zero_point"),
        ({"zero_point": -1, "dtype": "uint8"}, "zero_point"),
        ({"dtype": "int16"}, "dtype"),
        ({"out": np.empty((2, 3), np.uint8)}, "out"),
        ({"out": np.empty((3, 2), np.int8)}, "out"),
        ({"out": np.empty((2, 6), np.int8)[:, ::2]}, "out"),
    ],
)
def test_what_cannot_be_quantised(changes: dict[str, Any], argument: str) -> None:
    arguments: dict[str, Any] = {"values": FLOATS, "scale": 1.0}
    with pytest.raises(KernelError) as caught:
        quantize(**(arguments | changes))
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"values": BYTES.astype(np.int16)}, "values"),
        ({"values": BYTES[:, ::2]}, "values"),
        ({"values": BYTES[:0]}, "values"),
        ({"values": [1, 2]}, "values"),
        ({"scale": 0.0}, "scale"),
        ({"zero_point": 200}, "zero_point"),
        ({"axis": 5}, "axis"),
        ({"out": np.empty((2, 3))}, "out"),
    ],
)
def test_what_cannot_be_dequantised(changes: dict[str, Any], argument: str) -> None:
    arguments: dict[str, Any] = {"values": BYTES, "scale": 1.0}
    with pytest.raises(KernelError) as caught:
        dequantize(**(arguments | changes))
    assert caught.value.argument == argument


def test_results_do_not_overwrite_the_values() -> None:
    floats = np.ones(8, np.float32)
    with pytest.raises(KernelError, match="out: found memory that it shares with values"):
        quantize(floats, 1.0, out=floats.view(np.int8)[:8])
    with pytest.raises(KernelError, match="out: found memory that it shares with values"):
        dequantize(floats.view(np.int8)[:8], 1.0, out=floats)


@pytest.mark.parametrize("name", [*instruction_sets(), pytest.param("reference")])
@pytest.mark.parametrize("position", [0, 15, 16, 99])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_no_number_is_noticed_wherever_it_is(name: str, position: int, dtype: type[np.generic]) -> None:
    floats = np.zeros((1, 1, 100), np.float32)
    floats[0, 0, position] = np.nan
    for shape in ((1, 1, 100), (1, 100, 1), (4, 25, 1), (2, 5, 10)):
        out = np.empty(shape, dtype)
        constants = np.ones(shape[1], np.float32), np.zeros(shape[1], np.int32)
        if name == "reference":
            assert not reference.quantize(floats.reshape(shape), *constants, out)
            continue
        with using(name) as compiled:
            assert not compiled.quantize(floats.reshape(shape), *constants, out)


@pytest.mark.skipif(_select.compiled is None, reason="there are no compiled kernels")
def test_the_compiled_kernel_reads_nothing_that_is_not_there() -> None:
    assert _select.compiled is not None
    floats, bytes_ = np.ones((2, 3, 4), np.float32), np.ones((2, 3, 4), np.int8)
    scales, zeros = np.ones(3, np.float32), np.zeros(3, np.int32)
    for call in (
        (floats, scales[:2], zeros, bytes_),
        (floats, scales, zeros[:2], bytes_),
        (floats, scales, zeros, bytes_[:1]),
        (floats, scales, zeros, np.ones((2, 4, 3), np.int8)),
    ):
        with pytest.raises(ValueError, match="fit"):
            _select.compiled.quantize(*call)
        with pytest.raises(ValueError, match="fit"):
            _select.compiled.dequantize(call[3], call[1], call[2], call[0])
