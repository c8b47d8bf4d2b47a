"""Products of bytes: the same from NumPy, from C++ in every instruction set, and from ONNX Runtime, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from chiasm.kernels import reference
from kernel_twins import instruction_sets, using
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
FACTS = {"biased": 1, "file": "", "offset": 0, "depth": 0, "columns": 0}
"""Attributes of our operation with all constants in the graph."""


def weights_of(rng: np.random.Generator, shape: tuple[int, int], kind: str) -> Array:
    """`usual`: as trained ones lie; `full`: as large as the pairs of an exported graph may be; `beyond`: larger."""
    if kind == "usual":
        return np.clip(rng.normal(0, 16, shape), -64, 64).astype(np.int8)
    most = 64 if kind == "full" else 127
    return np.where(rng.random(shape) < 0.9, rng.choice([-most, most], shape), 0).astype(np.int8)


def values_of(rng: np.random.Generator, shape: tuple[int, int], kind: str) -> Array:
    """`normal`; `positive`: a zero point of 0; `negative`: of 255; `flat`: all large; `zero`; `outlier`: one of all."""
    made = rng.normal(0, 1, shape)
    if kind == "positive":
        made = np.abs(made)
    elif kind == "negative":
        made = -np.abs(made)
    elif kind == "flat":
        made = rng.choice([-1.0, 1.0], shape) * rng.uniform(0.9, 1, shape)
    elif kind == "zero":
        made = np.zeros(shape)
    elif kind == "outlier":
        made[rng.integers(shape[0]), rng.integers(shape[1])] = 300.0
    return (made * 10.0 ** rng.uniform(-3, 3)).astype(np.float32)


@pytest.mark.parametrize("name", instruction_sets())
def test_compiled_is_the_reference(name: str) -> None:
    """2,000 random products, of floats and of bytes, with as many threads as come."""
    kinds = [(w, v) for w in ("usual", "full", "beyond")
             for v in ("normal", "positive", "negative", "flat", "zero", "outlier")]  # fmt: skip
    with using(name) as compiled:
        for seed in range(2000):
            rng = np.random.default_rng(seed)
            of_weights, of_values = kinds[seed % len(kinds)]
            rows, depth, columns = (int(n) for n in rng.integers(1, [14, 150, 60]))
            weights = weights_of(rng, (depth, columns), of_weights)
            scales = rng.uniform(0.001, 1, columns).astype(np.float32)
            bias = rng.normal(0, 10, columns).astype(np.float32) if seed % 2 else None
            values = values_of(rng, (rows, depth), of_values)
            ours, theirs = compiled.Product(weights, scales, bias), reference.Product(weights, scales, bias)
            out, expected = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
            ours.of_floats(values, out, seed % 3 + 1)
            theirs.of_floats(values, expected, 1)
            np.testing.assert_array_equal(out, expected, str(seed))
            whole = rng.choice([0, 128, 255], (rows, depth)) if seed % 4 == 3 else rng.integers(0, 256, (rows, depth))
            zero = int(rng.choice([0, 128, 255, rng.integers(256)]))
            ours.of_bytes(whole.astype(np.uint8), 0.03, zero, out, 2)
            theirs.of_bytes(whole.astype(np.uint8), 0.03, zero, expected, 1)
            np.testing.assert_array_equal(out, expected, str(seed))


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("shape", [(50, 768, 768), (200, 3072, 100), (1, 512, 2048), (130, 31, 770)])
def test_the_sizes_of_networks(name: str, shape: tuple[int, int, int]) -> None:
    """Pieces, slabs of rows, and what is left over of each, on several threads."""
    rows, depth, columns = shape
    rng = np.random.default_rng(7)
    weights, scales = weights_of(rng, (depth, columns), "usual"), rng.uniform(0.001, 1, columns).astype(np.float32)
    values = values_of(rng, (rows, depth), "normal")
    out, expected = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    reference.Product(weights, scales, None).of_floats(values, expected, 1)
    with using(name) as compiled:
        product = compiled.Product(weights, scales, None)
        for threads in (1, 3, 8):
            out.fill(np.nan)
            product.of_floats(values, out, threads)
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", instruction_sets())
def test_what_does_not_fit_is_refused(name: str) -> None:
    rng = np.random.default_rng(8)
    weights, scales = weights_of(rng, (8, 4), "usual"), np.ones(4, np.float32)
    values, out = np.zeros((2, 8), np.float32), np.empty((2, 4), np.float32)
    with using(name) as compiled:
        for bad in ((weights, scales[:3], None), (weights, scales, scales[:3]), (weights[:0], scales, None)):
            with pytest.raises(ValueError, match="fit the weights"):
                compiled.Product(*bad)
        product = compiled.Product(weights, scales, None)
        for values_, out_ in ((values[:, :7].copy(), out), (values, out[:1]), (values, np.empty((2, 5), np.float32))):
            with pytest.raises(ValueError, match="fit the weights"):
                product.of_floats(values_, out_, 1)


def _model(nodes: list[Any], weights: Array, scales: Array, bias: Array, rows: int) -> bytes:
    depth, columns = weights.shape
    constants = [numpy_helper.from_array(each, name) for each, name in ((weights, "w"), (scales, "s"), (bias, "b"))]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, depth])]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, columns])]
    domains = [helper.make_opsetid(name, version) for name, version in (("", 17), ("com.microsoft", 1), ("chiasm", 1))]
    graph = helper.make_graph(nodes, "product", given, results, constants)
    made = helper.make_model(graph, opset_imports=domains, ir_version=9)
    return bytes(made.SerializeToString())


def _session(model: bytes, compiled: Any, threads: int = 2) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.register_custom_ops_library(compiled.__file__)
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 4
    return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", instruction_sets())
def test_onnx_runtime_says_the_same(name: str) -> None:
    """Our operation in a graph, and the one that ONNX Runtime makes of a dynamically quantised product."""
    ours = helper.make_node("ProductOfFloats", ["x", "s", "w", "b"], ["y"], domain="chiasm", **FACTS)
    theirs = helper.make_node("DynamicQuantizeMatMul", ["x", "w", "s", "", "b"], ["y"], domain="com.microsoft")
    for seed, (rows, depth, columns) in enumerate([(1, 5, 3), (50, 100, 70), (9, 768, 770)]):
        rng = np.random.default_rng(seed)
        weights = weights_of(rng, (depth, columns), "usual")
        scales = rng.uniform(0.001, 1, columns).astype(np.float32)
        bias, values = rng.normal(0, 1, columns).astype(np.float32), values_of(rng, (rows, depth), "normal")
        with using(name) as compiled:
            answers = [
                _session(_model([node], weights, scales, bias, rows), compiled).run(None, {"x": values})[0]
                for node in (ours, theirs)
            ]
        np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("name", instruction_sets())
def test_a_graph_that_asks_for_the_impossible_is_refused(name: str) -> None:
    """Scales of another size are named when the graph is opened."""
    node = helper.make_node("ProductOfFloats", ["x", "s", "w", "b"], ["y"], domain="chiasm", **FACTS)
    weights, ones = np.ones((4, 3), np.int8), np.ones(2, np.float32)
    with using(name) as compiled, pytest.raises(Exception, match="scales and bias"):
        _session(_model([node], weights, ones, np.ones(3, np.float32), 1), compiled)
