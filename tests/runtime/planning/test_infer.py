"""Types and shapes without the package onnx, held to the package onnx."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bundle_graphs import part
from bundles import KINDS, MODALITIES
from chiasm.runtime.errors import BundleError
from chiasm.runtime.onnx_graph import Tensor, read_graph
from chiasm.runtime.planning.infer import infer
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference
from sd15 import clip, decoder, unet

REFERENCE = Path(__file__).parents[3] / "reference" / "bundle" / "parts"
NAMES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16"}


def _by_onnx(data: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    graph = shape_inference.infer_shapes(onnx.load_from_string(data), strict_mode=True, data_prop=True).graph
    return {
        value.name: (NAMES[value.type.tensor_type.elem_type],
                     tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim))
        for value in (*graph.value_info, *graph.output)
    }  # fmt: skip


def _same_as_onnx(data: bytes) -> int:
    found, wanted = infer(read_graph(data)), _by_onnx(data)
    assert found.complete
    assert {name: (found.tensors[name].dtype, found.tensors[name].shape) for name in wanted} == wanted
    return len(wanted)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-cpu"])
def test_the_reference_bundle(precision: str) -> None:
    """14 parts: every tensor of each is as onnx has it."""
    files = sorted(REFERENCE.glob(f"*.{precision}.onnx"))
    assert len(files) == 14
    assert sum(_same_as_onnx(path.read_bytes()) for path in files) > 1000


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-cpu"])
def test_the_tiny_bundle(precision: str) -> None:
    names = (*MODALITIES, *(f"fuse.{kind}" for kind in KINDS), "heads", "denoiser", "picture")
    assert all(_same_as_onnx(part(name, MODALITIES, precision)[1]) > 0 for name in names)


@pytest.mark.parametrize("precision", ["fp32", "int8-trt"])
def test_graphs_of_stable_diffusion(precision: str) -> None:
    """onnx itself does not follow a GroupNormalization, so of those two what they come to is compared."""
    assert _same_as_onnx(clip(precision)[1]) > 100
    for build, name, shape in ((unet, "prediction", (1, 4, 64, 64)), (decoder, "picture", (1, 3, 512, 512))):
        graph = read_graph(build(precision)[1])
        found = infer(dataclasses.replace(graph, outputs={name: None}))
        assert found.complete
        assert found.tensors[name] == Tensor("float32", shape)


def _graph(op: str, shapes: list[Any], outputs: int = 1, **attributes: Any) -> bytes:
    """A graph of one node. A shape is a tuple for an input, an array for a constant, None for one that is left out."""
    inputs, constants, names = [], [], []
    for index, shape in enumerate(shapes):
        name = "" if shape is None else f"x{index}"
        names.append(name)
        if isinstance(shape, np.ndarray):
            constants.append(numpy_helper.from_array(shape, name))
        elif shape is not None:
            inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    made = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(op, names, made, **attributes)
    results = [onnx.ValueInfoProto(name=name) for name in made]
    graph = helper.make_graph([node], "g", inputs, results, constants)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString())


def _ints(*values: int) -> Any:
    return np.array(values, np.int64)


ONE = [
    ("Conv", [(1, 4, 9, 11), (6, 2, 3, 3)], 1, {"group": 2, "strides": [2, 1], "pads": [1, 0, 1, 2]}),
    ("Conv", [(1, 4, 9), (6, 4, 3)], 1, {"dilations": [2], "auto_pad": "SAME_UPPER"}),
    ("ConvTranspose", [(1, 4, 5, 7), (4, 3, 3, 3)], 1, {"strides": [2, 2], "output_padding": [1, 0], "group": 2}),
    ("MaxPool", [(1, 3, 10, 10)], 2, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", [(1, 3, 10, 10)], 1, {"kernel_shape": [4, 4], "strides": [4, 4]}),
    ("GlobalAveragePool", [(1, 3, 10, 10)], 1, {}),
    ("MatMul", [(5, 1, 2, 3), (4, 3, 7)], 1, {}),
    ("MatMul", [(3,), (4, 3, 7)], 1, {}),
    ("MatMul", [(2, 3), (3,)], 1, {}),
    ("Gemm", [(3, 5), (7, 3)], 1, {"transA": 1, "transB": 1}),
    ("Einsum", [(2, 3, 4), (2, 5, 4)], 1, {"equation": "bik,bjk->bij"}),
    ("Reshape", [(2, 3, 4), _ints(0, -1)], 1, {}),
    ("Reshape", [(2, 12), _ints(4, -1, 2)], 1, {}),
    ("Flatten", [(2, 3, 4)], 1, {"axis": -1}),
    ("Transpose", [(2, 3, 4)], 1, {}),
    ("Unsqueeze", [(2, 3), _ints(-1, 0)], 1, {}),
    ("Squeeze", [(1, 3, 1, 2), _ints(-2)], 1, {}),
    ("Squeeze", [(1, 3, 1, 2)], 1, {}),
    ("Concat", [(2, 3), (2, 5)], 1, {"axis": -1}),
    ("Split", [(2, 7)], 3, {"axis": 1, "num_outputs": 3}),
    ("Split", [(2, 7), _ints(1, 6)], 2, {"axis": 1}),
    ("Slice", [(10, 20), _ints(1, -3), _ints(-1, 2**40), _ints(1, 0), _ints(3, 1)], 1, {}),
    ("Slice", [(10,), _ints(-1), _ints(-(2**62)), _ints(0), _ints(-2)], 1, {}),
    ("Gather", [(5, 6, 7), _ints(0, 2)], 1, {"axis": 1}),
    ("GatherElements", [(5, 6), np.zeros((2, 6), np.int64)], 1, {}),
    ("GatherND", [(5, 6, 7), np.zeros((3, 2), np.int64)], 1, {}),
    ("Expand", [(3, 1), _ints(2, 1, 6)], 1, {}),
    ("Tile", [(2, 3), _ints(2, 3)], 1, {}),
    ("Pad", [(2, 3), _ints(1, 0, 0, 2)], 1, {}),
    ("Resize", [(1, 2, 5, 6), None, np.array([1, 1, 1.5, 2], np.float32)], 1, {}),
    ("Resize", [(1, 2, 5, 6), None, None, _ints(1, 2, 9, 7)], 1, {}),
    ("ReduceMean", [(2, 3, 4), _ints(-1)], 1, {"keepdims": 0}),
    ("ReduceSum", [(2, 3, 4)], 1, {}),
    ("ArgMax", [(2, 3, 4)], 1, {"axis": 1, "keepdims": 0}),
    ("TopK", [(2, 9), _ints(4)], 2, {}),
    ("DepthToSpace", [(1, 12, 2, 3)], 1, {"blocksize": 2}),
    ("SpaceToDepth", [(1, 3, 4, 6)], 1, {"blocksize": 2}),
    ("Shape", [(2, 3, 4)], 1, {"start": 1}),
    ("LayerNormalization", [(2, 3, 4), (4,), (4,)], 3, {}),
    ("DynamicQuantizeLinear", [(2, 3)], 3, {}),
    ("Range", [_ints(1).reshape(()), _ints(10).reshape(()), _ints(4).reshape(())], 1, {}),
    ("ConstantOfShape", [_ints(2, 5)], 1, {}),
    ("Cast", [(2, 3)], 1, {"to": TensorProto.FLOAT16}),
    ("Greater", [(2, 1), (3,)], 1, {}),
    ("OneHot", [_ints(1, 2), _ints(4).reshape(()), np.zeros(2, np.float32)], 1, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "shapes", "outputs", "attributes"), ONE, ids=[f"{each[0]}{i}" for i, each in enumerate(ONE)]
)
def test_one_operation(op: str, shapes: list[Any], outputs: int, attributes: dict[str, Any]) -> None:
    assert _same_as_onnx(_graph(op, shapes, outputs, **attributes)) == outputs


sizes = st.integers(1, 12)


@given(sizes, sizes, st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
def test_windows_of_any_size(height: int, width: int, kernel: int, stride: int, pad: int, dilation: int) -> None:
    if min(height, width) + 2 * pad < dilation * (kernel - 1) + 1:
        return
    attributes = {"strides": [stride] * 2, "pads": [pad] * 4, "dilations": [dilation] * 2}
    assert _same_as_onnx(_graph("Conv", [(1, 2, height, width), (3, 2, kernel, kernel)], **attributes)) == 1


def test_shapes_that_are_computed() -> None:
    """Shape → Gather → Concat → Reshape, as an older exporter writes them."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["n"]),
        helper.make_node("Mul", ["n", "two"], ["m"]),
        helper.make_node("Concat", ["two", "m"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = [numpy_helper.from_array(_ints(1), "one"), numpy_helper.from_array(_ints(2), "two")]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4, 6))]
    graph = helper.make_graph(nodes, "g", inputs, [onnx.ValueInfoProto(name="y")], constants)
    found = infer(read_graph(bytes(helper.make_model(graph).SerializeToString())))
    assert found.tensors["y"] == Tensor("float32", (2, 12))


def test_what_no_rule_follows_is_named_once() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["n"]),
        helper.make_node("Relu", ["n"], ["m"]),
        helper.make_node("Mystery", ["x"], ["k"], domain="my.own"),
        helper.make_node("Add", ["k", "x"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4, 6))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (4, 6))]
    found = infer(
        read_graph(bytes(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs)).SerializeToString()))
    )
    assert found.unknown == {"NonZero": 1, "my.own::Mystery": 1}
    assert found.tensors["y"].shape == (4, 6)
    assert not found.complete


def test_an_input_without_size_is_refused() -> None:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 6))]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", inputs, [onnx.ValueInfoProto(name="y")])
    with pytest.raises(BundleError, match="The input x of a graph has no static shape"):
        read_graph(bytes(helper.make_model(graph).SerializeToString()))


def test_bytes_that_are_no_graph() -> None:
    for data in (b"", b"\x00", b"\xff" * 40, b"hello world, this is not ONNX"):
        with pytest.raises(BundleError):
            read_graph(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(BundleError):
        read_graph(data)


@given(st.data())
def test_damaged_graphs_are_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(part("heads", MODALITIES, "fp32")[1])
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BundleError):
        infer(read_graph(bytes(whole)))
