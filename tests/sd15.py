"""Stable Diffusion 1.5 in its true sizes, without its gigabytes: graphs whose weights lie in sparse files of zeros.

    path = sd15_bundle(tmp_path)                    # CLIP's text encoder, the U-Net, the decoder of the autoencoder
    path = sd15_bundle(tmp_path, precisions=("fp16",))

The layouts are those of diffusers' `UNet2DConditionModel` and `AutoencoderKL` and of transformers' `CLIPTextModel`
as the checkpoint configures them; tests/runtime/planning/test_sd15.py holds their numbers of weights to those classes.
Only sizes and shapes are right: nothing here can be run. Needs `onnx`.
"""

from __future__ import annotations

import hashlib
import json
from math import prod
from pathlib import Path
from typing import Any

import onnx
from bundles import tokenizer_json
from onnx import TensorProto, helper

_TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "int8-trt": TensorProto.FLOAT16}
_NUMPY = {TensorProto.FLOAT: "float32", TensorProto.INT64: "int64"}
_WIDTHS = (320, 640, 1280, 1280)


class Net:
    """Collects nodes; weights are only promised, at their place in one external file. `weights` counts elements."""

    def __init__(self, name: str, precision: str) -> None:
        self.name, self.precision, self.type = name, precision, _TYPES[precision]
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.weights = self.bytes = 0

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def const(self, *values: int) -> str:
        name = f"k{len(self.initializers)}"
        self.initializers.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def weight(self, *shape: int, product: bool = False) -> str:
        """`product`: a factor of a convolution or matrix product, which INT8 quantises, one scale for each output."""
        self.weights += prod(shape)
        if not product or self.precision != "int8-trt":
            return self._external(self.type, shape)
        quantised = self._external(TensorProto.INT8, shape)
        return self.op("DequantizeLinear", quantised, self._external(self.type, (shape[0],)), axis=0)

    def _external(self, kind: int, shape: tuple[int, ...]) -> str:
        name = f"w{len(self.initializers)}"
        size = {TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.INT8: 1}[kind] * prod(shape)
        tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
        place = {"location": f"{self.name}.{self.precision}.weights", "offset": self.bytes, "length": size}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self.bytes += size
        self.initializers.append(tensor)
        return name

    def quantised(self, x: str) -> str:
        if self.precision != "int8-trt":
            return x
        scale = self._external(self.type, ())
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, scale, self._zero()), scale)

    def _zero(self) -> str:
        name = f"k{len(self.initializers)}"
        self.initializers.append(helper.make_tensor(name, TensorProto.INT8, [], [0]))
        return name

    def conv(self, x: str, given: int, made: int, size: int = 3, stride: int = 1) -> str:
        weight = self.weight(made, given, size, size, product=True)
        edge = size // 2
        return self.op("Conv", self.quantised(x), weight, self.weight(made), strides=[stride] * 2, pads=[edge] * 4)

    def linear(self, x: str, given: int, made: int, bias: bool = True) -> str:
        weight = self.op("Transpose", self.weight(made, given, product=True), perm=[1, 0])
        y = self.op("MatMul", self.quantised(x), weight)
        return self.op("Add", y, self.weight(made)) if bias else y

    def group_norm(self, x: str, width: int) -> str:
        return self.op("GroupNormalization", x, self.weight(width), self.weight(width), num_groups=32)

    def layer_norm(self, x: str, width: int) -> str:
        return self.op("LayerNormalization", x, self.weight(width), self.weight(width), axis=-1)

    def silu(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    def heads(self, x: str, heads: int, size: int, perm: tuple[int, ...] = (0, 2, 1, 3)) -> str:
        return self.op("Transpose", self.op("Reshape", x, self.const(1, -1, heads, size)), perm=list(perm))

    def attention(self, x: str, other: str, width: int, given: int, heads: int, bias: bool = False) -> str:
        size = width // heads
        query = self.heads(self.linear(x, width, width, bias), heads, size)
        key = self.heads(self.linear(other, given, width, bias), heads, size, (0, 2, 3, 1))
        value = self.heads(self.linear(other, given, width, bias), heads, size)
        shares = self.op("Softmax", self.op("MatMul", query, key), axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", shares, value), perm=[0, 2, 1, 3])
        return self.linear(self.op("Reshape", mixed, self.const(1, -1, width)), width, width)

    def resnet(self, x: str, given: int, made: int, time: str | None) -> str:
        y = self.conv(self.silu(self.group_norm(x, given)), given, made)
        if time is not None:
            moved = self.linear(self.silu(time), 1280, made)
            y = self.op("Add", y, self.op("Unsqueeze", moved, self.const(2, 3)))
        y = self.conv(self.silu(self.group_norm(y, made)), made, made)
        return self.op("Add", self.conv(x, given, made, 1) if given != made else x, y)

    def build(self, inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]) -> bytes:
        def info(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
            kind = TensorProto.INT64 if name == "ids" else TensorProto.FLOAT
            return helper.make_tensor_value_info(name, kind, shape)

        graph = helper.make_graph(
            self.nodes, self.name, [info(*each) for each in inputs.items()],
            [info(*each) for each in outputs.items()], self.initializers,
        )  # fmt: skip
        return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString())

    def into(self, name: str) -> str:
        return self.op("Cast", name, to=self.type)

    def out(self, x: str, name: str) -> None:
        self.op("Cast", x, to=TensorProto.FLOAT, out=name)


def _transformer(g: Net, x: str, words: str, width: int, side: int) -> str:
    y = g.conv(g.group_norm(x, width), width, width, 1)
    y = g.op("Transpose", g.op("Reshape", y, g.const(1, width, side * side)), perm=[0, 2, 1])
    seen = g.layer_norm(y, width)
    y = g.op("Add", y, g.attention(seen, seen, width, width, 8))
    y = g.op("Add", y, g.attention(g.layer_norm(y, width), words, width, 768, 8))
    up = g.linear(g.layer_norm(y, width), width, 8 * width)
    g.nodes.append(helper.make_node("Split", [up], [f"{up}.a", f"{up}.b"], axis=-1, num_outputs=2))
    y = g.op("Add", y, g.linear(g.op("Mul", f"{up}.a", g.op("Gelu", f"{up}.b")), 4 * width, width))
    y = g.op("Reshape", g.op("Transpose", y, perm=[0, 2, 1]), g.const(1, width, side, side))
    return g.op("Add", x, g.conv(y, width, width, 1))


def unet(precision: str, side: int = 64) -> tuple[Net, bytes]:
    """UNet2DConditionModel of SD 1.5 for latents of `side`."""
    g = Net("denoiser", precision)
    size = side
    words, t = g.into("clip.tokens"), g.op("Unsqueeze", "timestep", g.const(1))
    waves = g.op("Mul", t, g._external(TensorProto.FLOAT, (1, 160)))
    time = g.into(g.op("Concat", g.op("Cos", waves), g.op("Sin", waves), axis=-1))
    time = g.linear(g.silu(g.linear(time, 320, 1280)), 1280, 1280)
    x = g.conv(g.into("latents"), 4, 320)
    kept, given = [(x, 320)], 320
    for level, width in enumerate(_WIDTHS):
        for _ in range(2):
            x, given = g.resnet(x, given, width, time), width
            x = _transformer(g, x, words, width, size) if level < 3 else x
            kept.append((x, width))
        if level < 3:
            x, size = g.conv(x, width, width, stride=2), size // 2
            kept.append((x, width))
    x = g.resnet(_transformer(g, g.resnet(x, 1280, 1280, time), words, 1280, size), 1280, 1280, time)
    for level, width in enumerate(reversed(_WIDTHS)):
        for _ in range(3):
            other, more = kept.pop()
            x, given = g.resnet(g.op("Concat", x, other, axis=1), given + more, width, time), width
            x = _transformer(g, x, words, width, size) if level > 0 else x
        if level < 3:
            x, size = _larger(g, x, width), size * 2
    g.out(g.conv(g.silu(g.group_norm(x, 320)), 320, 4), "prediction")
    inputs = {"latents": (1, 4, side, side), "timestep": (1,), "clip.tokens": (1, 77, 768)}
    return g, g.build(inputs, {"prediction": (1, 4, side, side)})


def _larger(g: Net, x: str, width: int) -> str:
    scales = helper.make_tensor(f"k{len(g.initializers)}", TensorProto.FLOAT, [4], [1, 1, 2, 2])
    g.initializers.append(scales)
    return g.conv(g.op("Resize", x, "", scales.name, mode="nearest"), width, width)


def decoder(precision: str, side: int = 64) -> tuple[Net, bytes]:
    """`post_quant_conv` and decoder of AutoencoderKL."""
    g = Net("picture", precision)
    x = g.resnet(g.conv(g.conv(g.into("latents"), 4, 4, 1), 4, 512), 512, 512, None)
    rows = g.op("Reshape", g.group_norm(x, 512), g.const(1, 512, side * side))
    rows = g.op("Transpose", rows, perm=[0, 2, 1])
    seen = g.op("Transpose", g.attention(rows, rows, 512, 512, 1, bias=True), perm=[0, 2, 1])
    x = g.resnet(g.op("Add", x, g.op("Reshape", seen, g.const(1, 512, side, side))), 512, 512, None)
    given = 512
    for level, width in enumerate((512, 512, 256, 128)):
        for _ in range(3):
            x, given = g.resnet(x, given, width, None), width
        x = _larger(g, x, width) if level < 3 else x
    g.out(g.conv(g.silu(g.group_norm(x, 128)), 128, 3), "picture")
    return g, g.build({"latents": (1, 4, side, side)}, {"picture": (1, 3, side * 8, side * 8)})


def clip(precision: str) -> tuple[Net, bytes]:
    """CLIPTextModel of ViT-L/14: 12 layers of 768, 77 tokens."""
    g = Net("clip", precision)
    x = g.op("Add", g.op("Gather", g.weight(49408, 768), "ids", axis=0), g.weight(77, 768))
    for _ in range(12):
        seen = g.layer_norm(x, 768)
        x = g.op("Add", x, g.attention(seen, seen, 768, 768, 12, bias=True))
        up = g.linear(g.layer_norm(x, 768), 768, 3072)
        x = g.op("Add", x, g.linear(g.op("Mul", up, g.op("Sigmoid", up)), 3072, 768))
    g.out(g.layer_norm(x, 768), "tokens")
    return g, g.build({"ids": (1, 77)}, {"tokens": (1, 77, 768)})


def _specs(values: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": value.name,
            "dtype": _NUMPY[value.type.tensor_type.elem_type],
            "shape": [dim.dim_value for dim in value.type.tensor_type.shape.dim],
        }
        for value in values
    ]


def _part(path: Path, name: str, made: dict[str, tuple[Net, bytes]]) -> dict[str, Any]:
    variants = []
    for precision, (net, data) in made.items():
        file = f"parts/{name}.{precision}.onnx"
        (path / file).write_bytes(data)
        outside = f"parts/{net.name}.{net.precision}.weights"
        with open(path / outside, "wb") as sparse:
            sparse.truncate(net.bytes)
        variants.append(
            {"precision": precision, "file": file, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data),
             "opset": 21, "max_relative_error": 0.0, "cosine": 1.0,
             "external": [{"file": outside, "sha256": "0" * 64, "bytes": net.bytes}]}
        )  # fmt: skip
    graph = onnx.load_from_string(next(iter(made.values()))[1]).graph
    return {"inputs": _specs(graph.input), "outputs": _specs(graph.output), "variants": variants,
            "preferred": next(iter(made))}  # fmt: skip


def sd15_bundle(
    folder: Path, precisions: tuple[str, ...] = ("fp32", "fp16", "int8-trt"), side: int = 64, guidance: float = 7.5
) -> Path:
    """The bundle; it takes some megabytes of disk."""
    path = folder / "sd15.chiasm"
    (path / "parts").mkdir(parents=True)
    parts = {
        name: _part(path, name, {precision: build(precision) for precision in precisions})
        for name, build in {
            "clip": clip, "denoiser": lambda p: unet(p, side), "picture": lambda p: decoder(p, side)
        }.items()
    }  # fmt: skip
    words = tokenizer_json()
    (path / "tokenizer.json").write_bytes(words)
    prompt = {"part": "clip", "tokenizer": "tokenizer.json", "length": 77, "pad_id": 0}
    manifest = {
        "schema": 1,
        "model": {"name": "sd15-sizes", "version": "1.5", "licence": "none", "description": "sizes without weights"},
        "modalities": [], "parts": parts, "heads": {},
        "tolerances": {"fp32_max_relative_error": 1e-4, "fp16_cosine": 0.99, "int8_cosine": 0.9, "accuracy_drop": 0.1},
        "files": {"tokenizer.json": hashlib.sha256(words).hexdigest()},
        "decoder": {
            "kind": "diffusion", "denoiser": "denoiser", "pictures": {"full": "picture"}, "default": "full",
            "prompts": {"clip": prompt}, "schedule": {"kind": "lcm", "prediction_type": "epsilon"},
            "steps": [1, 2, 4], "default_steps": 4, "latent": [4, side, side], "picture": [side * 8, side * 8],
            "guidance": guidance, "guidance_range": [1.0, 15.0],
        },
    }  # fmt: skip
    (path / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return path
