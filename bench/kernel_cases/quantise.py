"""Quantisation: the activations of a picture to bytes and back."""

from __future__ import annotations

from importlib import util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import dequantize, quantize
from . import Call, Case, absences

__all__ = ["cases"]

Floats = NDArray[np.float32]
SHAPE = (1, 256, 64, 64)
NUMPY, RUNTIME = "NumPy", "ONNX Runtime, 1 thread"


def cases() -> list[Case]:
    """A million values, one scale for each of 256 channels; one thread."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal(SHAPE, np.float32)
    scales = rng.uniform(0.01, 0.03, SHAPE[1]).astype(np.float32)
    shaped = scales[:, None, None]
    bytes_ = quantize(values, scales, axis=1)
    out, back = np.empty(SHAPE, np.int8), np.empty(SHAPE, np.float32)
    absent = absences({RUNTIME: "onnxruntime" if util.find_spec("onnx") else "onnx"})
    return [
        Case(
            "1 × 256 × 64 × 64 to int8, a scale a channel",
            lambda: quantize(values, scales, axis=1, out=out),
            {NUMPY: lambda: _numpy(values, shaped), **_runtime("QuantizeLinear", values, scales)},
            values.nbytes + bytes_.nbytes,
            "1 thread",
            absent,
        ),
        Case(
            "1 × 256 × 64 × 64 from int8, a scale a channel",
            lambda: dequantize(bytes_, scales, axis=1, out=back),
            {NUMPY: lambda: bytes_ * shaped, **_runtime("DequantizeLinear", bytes_, scales)},
            values.nbytes + bytes_.nbytes,
            "1 thread",
            absent,
        ),
    ]


def _numpy(values: Floats, scales: Floats) -> NDArray[np.int8]:
    whole: NDArray[np.int8] = np.clip(np.rint(values / scales), -128, 127).astype(np.int8)
    return whole


def _runtime(operator: str, values: NDArray[Any], scales: Floats) -> dict[str, Call]:
    if not (util.find_spec("onnx") and util.find_spec("onnxruntime")):
        return {}
    import onnxruntime
    from onnx import helper, numpy_helper

    dtypes = (values.dtype, np.dtype(np.float32 if values.dtype == np.int8 else np.int8))
    x, y = (
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), SHAPE)
        for name, dtype in zip("xy", dtypes, strict=True)
    )
    constants = [numpy_helper.from_array(scales, "s"), numpy_helper.from_array(np.zeros(scales.size, np.int8), "z")]
    node = helper.make_node(operator, ["x", "s", "z"], ["y"], axis=1)
    graph = helper.make_graph([node], operator, [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return {RUNTIME: lambda: session.run(None, {"x": values})}
