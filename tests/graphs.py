"""Small ONNX models for the tests of the exporter, written as lists of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Line = tuple[Any, ...]


def model(
    lines: Sequence[Line],
    constants: Mapping[str, Any],
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
) -> Any:
    """`lines`: (operator, "inputs", "outputs", attributes), names split at spaces; FP32 inputs and outputs."""
    nodes = [
        helper.make_node(kind, given.split(), made.split(), name=f"node_{index}", **(more[0] if more else {}))
        for index, (kind, given, made, *more) in enumerate(lines)
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    infos = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in each.items()]
        for each in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "test", infos[0], infos[1], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def normal(seed: int, *shape: int, scale: float = 1.0) -> Any:
    """Seeded normal numbers, FP32."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def half(value: Any) -> Any:
    """FP32 numbers that FP16 holds exactly."""
    return value.astype(np.float16).astype(np.float32)


def perceptron(width: int = 32) -> Any:
    """x (1, 4, W) → matmul, bias, relu, matmul, layer normalisation → y (1, 4, W)."""
    constants = {
        "w1": half(normal(1, width, width, scale=width**-0.5)), "b1": half(normal(2, width)),
        "w2": half(normal(3, width, width, scale=width**-0.5)), "g": np.ones(width, np.float32),
        "b": np.zeros(width, np.float32),
    }  # fmt: skip
    lines = [
        ("MatMul", "x w1", "m1"), ("Add", "m1 b1", "a1"), ("Relu", "a1", "r1"), ("MatMul", "r1 w2", "m2"),
        ("LayerNormalization", "m2 g b", "y", {"axis": -1}),
    ]  # fmt: skip
    return model(lines, constants, {"x": (1, 4, width)}, {"y": (1, 4, width)})


def residual() -> Any:
    """x (1, 3, 8, 8) → conv, relu, then (conv + conv 1×1), relu, flatten, gemm → y (1, 5)."""
    constants = {
        "w0": normal(1, 8, 3, 3, 3, scale=0.2), "b0": normal(2, 8, scale=0.1), "w1": normal(3, 8, 8, 3, 3, scale=0.15),
        "b1": normal(4, 8, scale=0.1), "w2": normal(5, 8, 8, 1, 1, scale=0.3), "w3": normal(6, 5, 512, scale=0.05),
        "b3": normal(7, 5), "shape": np.array([1, 512]),
    }  # fmt: skip
    pads = {"pads": [1, 1, 1, 1]}
    lines = [
        ("Conv", "x w0 b0", "c0", pads), ("Relu", "c0", "r0"), ("Conv", "r0 w1 b1", "c1", pads),
        ("Conv", "r0 w2", "c2"), ("Add", "c1 c2", "s"), ("Relu", "s", "r"), ("Reshape", "r shape", "f"),
        ("Gemm", "f w3 b3", "y", {"transB": 1}),
    ]  # fmt: skip
    return model(lines, constants, {"x": (1, 3, 8, 8)}, {"y": (1, 5)})


def log_mel() -> Any:
    """x (1, 1, 64) → conv, square, filters, clip, log, then conv → y (1, 4, 13): a front end and a layer."""
    constants = {
        "dft": normal(1, 10, 1, 16), "filters": np.abs(normal(2, 6, 10)), "low": np.float32(1e-5),
        "w": normal(3, 4, 6, 1, scale=0.3), "axis": np.array([0]),
    }  # fmt: skip
    lines = [
        ("Conv", "x dft", "waves", {"strides": [4]}), ("Mul", "waves waves", "power"),
        ("MatMul", "filters power", "mel"), ("Clip", "mel low", "kept"), ("Log", "kept", "log"), ("Conv", "log w", "y"),
    ]  # fmt: skip
    return model(lines, constants, {"x": (1, 1, 64)}, {"y": (1, 4, 13)})
