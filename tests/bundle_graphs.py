"""The ONNX graphs of the tests' tiny bundle, made with `onnx.helper`; see bundles.py."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HAZARDS = (
    "clear",
    "vulnerable_ahead",
    "closing_fast",
    "siren_unseen",
    "emergency_in_view",
    "exit_left_blocked",
    "exit_right_blocked",
)
WEATHERS = ("clear", "rain", "fog", "night")
OBJECTS = ("car", "truck", "bus", "pedestrian", "cyclist", "ambulance", "none")
WIDTH, STATE, LATENT = 16, 24, (8, 8, 8)
_SENTENCE = """a the an ahead on in left right centre red blue white yellow car truck bus pedestrian cyclist
ambulance none road rain fog night clear siren exit blocked unit all radio check street fast slow near far light"""
WORDS = tuple(_SENTENCE.split())
TOKENS = {"image": 16, "text": 8, "audio": 8, "radar": 8, "wide": 16}
_ONNX = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
Spec = dict[str, Any]


class Graph:
    """Collects nodes and seeded weights; `build` makes the model's bytes in one precision."""

    def __init__(self, name: str, inputs: list[Spec], outputs: list[Spec], precision: str) -> None:
        self.name, self.inputs, self.outputs, self.precision = name, inputs, outputs, precision
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
        self.random = np.random.default_rng(seed)

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def const(self, value: Any, dtype: str = "int64") -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weight(self, *shape: int, gain: float = 1.0) -> str:
        value = (self.random.standard_normal(shape) * gain / np.sqrt(shape[0])).astype(np.float32)
        if self.precision == "fp16":
            return self.op("Cast", self.const(value, "float16"), to=TensorProto.FLOAT)
        if self.precision.startswith("int8"):
            scale = np.float32(np.abs(value).max() / 127)
            quantised = self.const(np.clip(np.rint(value / scale), -127, 127), "int8")
            return self.op("DequantizeLinear", quantised, self.const(scale, "float32"))
        return self.const(value, "float32")

    def unit(self, x: str, out: str) -> str:
        norm = self.op("ReduceL2", x, axes=[-1], keepdims=1)
        return self.op("Div", x, self.op("Max", norm, self.const([1e-6], "float32")), out=out)

    def build(self) -> bytes:
        def info(spec: Spec) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(spec["name"], _ONNX[spec["dtype"]], spec["shape"])

        graph = helper.make_graph(
            self.nodes, self.name, [info(s) for s in self.inputs], [info(s) for s in self.outputs], self.constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def spec(name: str, *shape: int, dtype: str = "float32") -> Spec:
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def _encoder(name: str, inputs: list[Spec], precision: str, body: Callable[[Graph], str]) -> tuple[Spec, bytes]:
    outputs = [spec("tokens", 1, TOKENS[name], WIDTH), spec("embedding", 1, WIDTH)]
    graph = Graph(name, inputs, outputs, precision)
    graph.op("Tanh", body(graph), out="tokens")
    graph.unit(graph.op("ReduceMean", "tokens", axes=[1], keepdims=0), out="embedding")
    return {"inputs": inputs, "outputs": outputs}, graph.build()


def _image(g: Graph, cell: int = 16) -> str:
    pooled = g.op("AveragePool", "pixels", kernel_shape=[cell, cell], strides=[cell, cell])
    rows = g.op("Transpose", g.op("Reshape", pooled, g.const([1, 3, 16])), perm=[0, 2, 1])
    return g.op("MatMul", rows, g.weight(3, WIDTH, gain=3))


def _text(g: Graph) -> str:
    words = g.op("Gather", g.weight(len(WORDS) + 3, WIDTH, gain=8), "ids", axis=0)
    mask = g.op("Unsqueeze", g.op("Cast", "mask", to=TensorProto.FLOAT), g.const([2]))
    kept = g.op("Reshape", g.op("Mul", words, mask), g.const([1, 4, 8, WIDTH]))
    return g.op("ReduceSum", kept, g.const([1]), keepdims=0)


def _audio(g: Graph) -> str:
    loud = g.op("Abs", g.op("Reshape", "waveform", g.const([1, 8, 250, 8])))
    return g.op("MatMul", g.op("ReduceMean", loud, axes=[2], keepdims=0), g.weight(8, WIDTH, gain=6))


def _radar(g: Graph) -> str:
    rows = g.op("ReduceMean", g.op("Reshape", "series", g.const([1, 8, 4, 32])), axes=[2], keepdims=0)
    return g.op("MatMul", rows, g.weight(32, WIDTH, gain=3))


_BODIES: dict[str, tuple[list[Spec], Callable[[Graph], str]]] = {
    "image": ([spec("pixels", 1, 3, 64, 64)], _image),
    "text": ([spec("ids", 1, 32, dtype="int64"), spec("mask", 1, 32, dtype="int64")], _text),
    "audio": ([spec("waveform", 1, 16000)], _audio),
    "radar": ([spec("series", 1, 32, 32)], _radar),
    "wide": ([spec("pixels", 1, 3, 96, 96)], functools.partial(_image, cell=24)),
}


def _fuse(kind: str, order: tuple[str, ...], precision: str) -> tuple[Spec, bytes]:
    """Mean tokens weighed by presence · exp(−age); a learned vector stands in for what is absent."""
    inputs = [spec(name, 1, TOKENS[name], WIDTH) for name in order]
    inputs += [spec("presence", 1, len(order)), spec("age", 1, len(order))]
    outputs = [spec("state", 1, STATE), spec("weights", 1, len(order))]
    g = Graph(f"fuse.{kind}", inputs, outputs, precision)
    freshness = g.op("Max", g.op("Exp", g.op("Neg", "age")), g.const([1e-6], "float32"))
    fresh = g.op("Mul", "presence", freshness)
    g.op("Div", fresh, g.op("ReduceSum", fresh, g.const([1]), keepdims=1), out="weights")
    pooled = [g.op("ReduceMean", name, axes=[1], keepdims=1) for name in order]
    stacked = g.op("Concat", *pooled, axis=1) if len(pooled) > 1 else pooled[0]
    there = g.op("Unsqueeze", "presence", g.const([2]))
    here = g.op("Mul", stacked, there)
    away = g.op("Mul", g.weight(len(order), WIDTH), g.op("Sub", g.const([1.0], "float32"), there))
    share = g.op("Add", g.op("Unsqueeze", "weights", g.const([2])), g.const([0.1], "float32"))
    mixed = g.op("ReduceSum", g.op("Mul", g.op("Add", here, away), share), g.const([1]), keepdims=0)
    g.op("Tanh", g.op("MatMul", mixed, g.weight(WIDTH, STATE, gain=3)), out="state")
    return {"inputs": inputs, "outputs": outputs}, g.build()


def _heads(precision: str) -> tuple[Spec, bytes]:
    inputs = [spec("state", 1, STATE)]
    sizes = {"hazard": len(HAZARDS), "weather": len(WEATHERS), "object": len(OBJECTS)}
    outputs = [spec("embedding", 1, WIDTH)] + [spec(name, 1, size) for name, size in sizes.items()]
    g = Graph("heads", inputs, outputs, precision)
    g.unit(g.op("MatMul", "state", g.weight(STATE, WIDTH)), out="embedding")
    for name, size in sizes.items():
        g.op("Softmax", g.op("MatMul", "state", g.weight(STATE, size, gain=4)), out=name, axis=-1)
    return {"inputs": inputs, "outputs": outputs}, g.build()


def _denoiser(precision: str) -> tuple[Spec, bytes]:
    """v = x + t + (1 + 0.1·guidance)·W·state: enough to depend on every input."""
    c, h, w = LATENT
    inputs = [spec("latents", 1, c, h, w), spec("timestep", 1), spec("state", 1, STATE), spec("guidance", 1)]
    outputs = [spec("prediction", 1, c, h, w)]
    g = Graph("denoiser", inputs, outputs, precision)
    wish = g.op("Reshape", g.op("MatMul", "state", g.weight(STATE, c)), g.const([1, c, 1, 1]))
    tenth = g.op("Mul", "guidance", g.const([0.1], "float32"))
    push = g.op("Mul", wish, g.op("Add", tenth, g.const([1.0], "float32")))
    g.op("Add", g.op("Add", "latents", "timestep"), push, out="prediction")
    return {"inputs": inputs, "outputs": outputs}, g.build()


def _picture(name: str, precision: str) -> tuple[Spec, bytes]:
    c, h, w = LATENT
    inputs, outputs = [spec("latents", 1, c, h, w)], [spec("picture", 1, 3, h * 8, w * 8)]
    g = Graph(name, inputs, outputs, precision)
    rows = g.op("Transpose", "latents", perm=[0, 2, 3, 1])
    colours = g.op("Transpose", g.op("MatMul", rows, g.weight(c, 3)), perm=[0, 3, 1, 2])
    large = g.op("Resize", colours, "", g.const([1, 1, 8, 8], "float32"), mode="nearest")
    g.op("Tanh", large, out="picture")
    return {"inputs": inputs, "outputs": outputs}, g.build()


@functools.lru_cache(maxsize=256)
def part(name: str, order: tuple[str, ...], precision: str) -> tuple[str, bytes]:
    """(specs as JSON, graph bytes); JSON, so that a test which mutates its manifest cannot spoil the cache."""
    if name in _BODIES:
        specs, data = _encoder(name, _BODIES[name][0], precision, _BODIES[name][1])
    elif name.startswith("fuse."):
        specs, data = _fuse(name.removeprefix("fuse."), order, precision)
    elif name == "heads":
        specs, data = _heads(precision)
    elif name == "denoiser":
        specs, data = _denoiser(precision)
    else:
        specs, data = _picture(name, precision)
    return json.dumps(specs), data
