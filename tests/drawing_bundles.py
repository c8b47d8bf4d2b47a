"""Tiny bundles that only generate: diffusion from prompts, and one pass from a picture. Real graphs, random weights.

from drawing_bundles import one_pass_bundle, prompt_bundle
path = prompt_bundle(tmp_path)                          # two text encoders, guidance by two runs, an encoder
path = prompt_bundle(tmp_path, told=True, fills=True)   # built-in guidance; takes mask and masked picture
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bundle_graphs import WORDS, Graph, Spec, spec
from bundles import tokenizer_json
from onnx import TensorProto

LATENT, PICTURE = (4, 6, 5), (48, 40)
LCM = {"kind": "lcm", "prediction_type": "epsilon"}
Built = tuple[list[Spec], list[Spec], bytes]


def _words(g: Graph, ids: str, width: int) -> str:
    return g.op("Tanh", g.op("Gather", g.weight(len(WORDS) + 3, width, gain=4), ids, axis=0))


def _clip() -> Built:
    inputs, outputs = [spec("ids", 1, 8, dtype="int64")], [spec("tokens", 1, 8, 6), spec("pooled", 1, 6)]
    g = Graph("clip", inputs, outputs, "fp32")
    g.op("Identity", _words(g, "ids", 6), out="tokens")
    g.op("ReduceMean", "tokens", axes=[1], keepdims=0, out="pooled")
    return inputs, outputs, g.build()


def _t5() -> Built:
    inputs = [spec("input_ids", 1, 10, dtype="int64"), spec("attention_mask", 1, 10, dtype="int64")]
    outputs = [spec("tokens", 1, 10, 4), spec("unused", 1, 2)]
    g = Graph("t5", inputs, outputs, "fp32")
    mask = g.op("Unsqueeze", g.op("Cast", "attention_mask", to=TensorProto.FLOAT), g.const([2]))
    g.op("Mul", _words(g, "input_ids", 4), mask, out="tokens")
    g.op("Identity", g.const([[1.0, 2.0]], "float32"), out="unused")
    return inputs, outputs, g.build()


def _denoiser(told: bool, fills: bool) -> Built:
    """A little of everything that it takes: x beside its neighbours, sin(t), the words, guidance, mask and masked."""
    c, h, w = LATENT
    inputs = [spec("latents", 1, c, h, w), spec("timestep", 1), spec("clip.tokens", 1, 8, 6),
              spec("clip.pooled", 1, 6), spec("t5.tokens", 1, 10, 4)]  # fmt: skip
    inputs += [spec("guidance", 1)] if told else []
    inputs += [spec("mask", 1, 1, h, w), spec("masked", 1, c, h, w)] if fills else []
    outputs = [spec("prediction", 1, c, h, w)]
    g = Graph("denoiser", inputs, outputs, "fp32")
    around = g.op("AveragePool", "latents", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    total = g.op("Mul", g.op("Tanh", g.op("Add", "latents", around)), g.const([0.3], "float32"))
    total = g.op("Add", total, g.op("Mul", g.op("Sin", "timestep"), g.const([0.2], "float32")))
    first = g.op("MatMul", "clip.pooled", g.weight(6, c))
    second = g.op("ReduceSum", g.op("MatMul", "clip.tokens", g.weight(6, c)), g.const([1]), keepdims=0)
    third = g.op("ReduceSum", g.op("MatMul", "t5.tokens", g.weight(4, c)), g.const([1]), keepdims=0)
    words = g.op("Tanh", g.op("Add", g.op("Add", first, second), third))
    total = g.op("Add", total, g.op("Reshape", words, g.const([1, c, 1, 1])))
    if told:
        total = g.op("Add", total, g.op("Mul", "guidance", g.const([0.05], "float32")))
    if fills:
        total = g.op("Add", total, g.op("Mul", g.op("Add", "mask", "masked"), g.const([0.5], "float32")))
    g.op("Identity", total, out="prediction")
    return inputs, outputs, g.build()


def _decode(name: str) -> Built:
    c, h, w = LATENT
    inputs, outputs = [spec("latents", 1, c, h, w)], [spec("picture", 1, 3, *PICTURE)]
    g = Graph(name, inputs, outputs, "fp32")
    rows = g.op("Transpose", "latents", perm=[0, 2, 3, 1])
    colours = g.op("Transpose", g.op("MatMul", rows, g.weight(c, 3)), perm=[0, 3, 1, 2])
    g.op("Tanh", g.op("Resize", colours, "", g.const([1, 1, 8, 8], "float32"), mode="nearest"), out="picture")
    return inputs, outputs, g.build()


def _encode() -> Built:
    inputs, outputs = [spec("picture", 1, 3, *PICTURE)], [spec("latents", 1, *LATENT)]
    g = Graph("encoder", inputs, outputs, "fp32")
    pooled = g.op("AveragePool", "picture", kernel_shape=[8, 8], strides=[8, 8])
    rows = g.op("MatMul", g.op("Transpose", pooled, perm=[0, 2, 3, 1]), g.weight(3, LATENT[0], gain=2))
    g.op("Transpose", rows, perm=[0, 3, 1, 2], out="latents")
    return inputs, outputs, g.build()


def _turn(noise: bool) -> Built:
    inputs = [spec("source", 1, 3, 20, 24), *([spec("noise", 1, 3)] if noise else [])]
    outputs = [spec("picture", 1, 3, 40, 48)]
    g = Graph("turn", inputs, outputs, "fp32")
    tint = g.op("Reshape", "noise" if noise else g.const([[0.5, -0.5, 0.0]], "float32"), g.const([1, 3, 1, 1]))
    large = g.op("Resize", g.op("Add", "source", tint), "", g.const([1, 1, 2, 2], "float32"), mode="nearest")
    g.op("Tanh", large, out="picture")
    return inputs, outputs, g.build()


def _write(
    folder: Path,
    name: str,
    parts: dict[str, Built],
    decoder: dict[str, Any],
    mutate: Callable[[dict[str, Any]], object] | None,
) -> Path:
    path = folder / name
    (path / "parts").mkdir(parents=True)
    described: dict[str, Any] = {}
    for part, (inputs, outputs, data) in parts.items():
        (path / f"parts/{part}.fp32.onnx").write_bytes(data)
        variant = {"precision": "fp32", "file": f"parts/{part}.fp32.onnx", "sha256": hashlib.sha256(data).hexdigest(),
                   "bytes": len(data), "opset": 17, "max_relative_error": 0.0, "cosine": 1.0}  # fmt: skip
        described[part] = {"inputs": inputs, "outputs": outputs, "variants": [variant], "preferred": "fp32"}
    words = tokenizer_json()
    (path / "tokenizer.json").write_bytes(words)
    manifest = {
        "schema": 1,
        "model": {"name": name, "version": "0", "licence": "Apache-2.0", "description": "random weights, for tests"},
        "modalities": [],
        "parts": described,
        "heads": {},
        "tolerances": {"fp32_max_relative_error": 1e-4, "fp16_cosine": 0.999, "int8_cosine": 0.99,
                       "accuracy_drop": 0.01},
        "files": {"tokenizer.json": hashlib.sha256(words).hexdigest()},
        "decoder": decoder,
    }  # fmt: skip
    if mutate is not None:
        mutate(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return path


def prompt_bundle(
    folder: Path,
    *,
    name: str = "prompts.chiasm",
    told: bool = False,
    fills: bool = False,
    schedule: dict[str, Any] | None = None,
    mutate: Callable[[dict[str, Any]], object] | None = None,
    **changes: Any,
) -> Path:
    """Diffusion from two prompts, into `folder/name`. `changes` replace fields of the decoder."""
    parts = {"clip": _clip(), "t5": _t5(), "denoiser": _denoiser(told, fills), "encoder": _encode(),
             "picture": _decode("picture"), "picture.tiny": _decode("picture.tiny")}  # fmt: skip
    prompt = {"tokenizer": "tokenizer.json", "pad_id": 0}
    decoder = {
        "kind": "diffusion",
        "denoiser": "denoiser",
        "pictures": {"full": "picture", "tiny": "picture.tiny"},
        "default": "full",
        "encoder": "encoder",
        "prompts": {"clip": {"part": "clip", "length": 8, **prompt}, "t5": {"part": "t5", "length": 10, **prompt}},
        "schedule": dict(LCM if schedule is None else schedule),
        "steps": [1, 2, 4],
        "default_steps": 4,
        "latent": list(LATENT),
        "picture": list(PICTURE),
        "guidance": 2.0,
        "guidance_range": [1.0, 8.0],
    }
    return _write(folder, name, parts, decoder | changes, mutate)


def one_pass_bundle(
    folder: Path, *, noise: bool = False, mutate: Callable[[dict[str, Any]], object] | None = None
) -> Path:
    """A picture of any size, brought to 20 × 24 → a picture of 40 × 48, tinted (by `noise`, if it takes some)."""
    half = [0.5, 0.5, 0.5]
    source = {"height": 20, "width": 24, "resize": "shortest-edge", "filter": "bilinear", "crop": "centre",
              "scale": 1 / 255, "mean": half, "std": half}  # fmt: skip
    decoder = {"kind": "one-pass", "part": "turn", "source": source, "picture": [40, 48]}
    return _write(folder, "turn.chiasm", {"turn": _turn(noise)}, decoder, mutate)
