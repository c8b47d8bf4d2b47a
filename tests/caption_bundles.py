"""A tiny bundle that describes pictures: real graphs, random weights, without torch.

    from caption_bundles import caption_bundle
    path = caption_bundle(tmp_path)                        # the image encoder of bundles.py, and a captioner
    path = caption_bundle(tmp_path, prompt="a red", beams=2)

The next token depends on the token, on where it stands, on the mean of the keys before it, and on the picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bundle_graphs import TOKENS, WIDTH, WORDS, Graph, spec
from bundles import tiny_bundle, tokenizer_json
from onnx import TensorProto

LAYERS, HEADS, SIZE, LENGTH = 1, 2, 4, 12
VOCABULARY = len(WORDS) + 3
BOS, END = 1, VOCABULARY - 1
"""[CLS] begins, and the last word ends."""
Parts = dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], bytes]]


def _prefill(g: Graph) -> None:
    rows = g.op("Reshape", "tokens", g.const([TOKENS["image"], WIDTH]))
    for name in ("seen_keys", "seen_values"):
        wide = g.op(
            "Reshape", g.op("MatMul", rows, g.weight(WIDTH, HEADS * SIZE, gain=3)), g.const([1, -1, HEADS, SIZE])
        )
        g.op("Transpose", wide, perm=[0, 2, 1, 3], out=name)


def _step(g: Graph) -> None:
    word = g.op("Gather", g.weight(VOCABULARY, HEADS * SIZE, gain=6), g.op("Reshape", "token", g.const([1])), axis=0)
    place = g.op("Gather", g.weight(LENGTH, HEADS * SIZE, gain=3), g.op("Reshape", "position", g.const([1])), axis=0)
    own = g.op("Add", word, place)
    before = g.op("Cast", g.op("Less", g.const([[[list(range(LENGTH))]]]), "position"), to=TensorProto.FLOAT)
    before = g.op("Reshape", before, g.const([1, 1, LENGTH, 1]))
    past = g.op("ReduceMean", g.op("Mul", g.op("Add", "keys", "values"), before), axes=[2], keepdims=0)
    seen = g.op("ReduceMean", g.op("Add", "seen_keys", "seen_values"), axes=[2], keepdims=0)
    mixed = g.op("Add", own, g.op("Add", *(g.op("Reshape", each, g.const([1, HEADS * SIZE])) for each in (past, seen))))
    g.op("MatMul", g.op("Tanh", mixed), g.weight(HEADS * SIZE, VOCABULARY, gain=4), out="logits")
    for name in ("key", "value"):
        made = g.op("MatMul", own, g.weight(HEADS * SIZE, HEADS * SIZE))
        g.op("Reshape", made, g.const([LAYERS, HEADS, 1, SIZE]), out=name)


def _parts() -> Parts:
    seen = [spec(name, LAYERS, HEADS, TOKENS["image"], SIZE) for name in ("seen_keys", "seen_values")]
    past = [spec(name, LAYERS, HEADS, LENGTH, SIZE) for name in ("keys", "values")]
    whole = [spec(name, 1, 1, dtype="int64") for name in ("token", "position")]
    new = [spec("logits", 1, VOCABULARY), *(spec(name, LAYERS, HEADS, 1, SIZE) for name in ("key", "value"))]
    shapes: dict[str, tuple[Any, Any, Callable[[Graph], None]]] = {
        "caption.prefill": ([spec("tokens", 1, TOKENS["image"], WIDTH)], seen, _prefill),
        "caption.step": ([*whole, *past, *seen], new, _step),
    }
    made: Parts = {}
    for name, (inputs, outputs, body) in shapes.items():
        graph = Graph(name, inputs, outputs, "fp32")
        body(graph)
        made[name] = (inputs, outputs, graph.build())
    return made


def caption_bundle(folder: Path, *, mutate: Callable[[dict[str, Any]], object] | None = None, **changes: Any) -> Path:
    """Write it into `folder/words.chiasm`. `changes` replace fields of the captioner; `mutate` edits the manifest."""
    captioner = {
        "modality": "image", "prefill": "caption.prefill", "step": "caption.step", "tokenizer": "words.json",
        "bos_id": BOS, "eos_id": END, "pad_id": 0, "vocabulary": VOCABULARY, "length": LENGTH,
        "cache": [LAYERS, HEADS, SIZE], "max_tokens": 8,
    }  # fmt: skip
    made, words = _parts(), _tokenizer()

    def add(manifest: dict[str, Any]) -> None:
        for name, (inputs, outputs, data) in made.items():
            variant = {"precision": "fp32", "file": f"parts/{name}.fp32.onnx", "bytes": len(data), "opset": 17,
                       "sha256": hashlib.sha256(data).hexdigest(), "max_relative_error": 0, "cosine": 1}  # fmt: skip
            manifest["parts"][name] = {"inputs": inputs, "outputs": outputs, "variants": [variant], "preferred": "fp32"}
        manifest["files"]["words.json"] = hashlib.sha256(words).hexdigest()
        manifest["captioner"] = {**captioner, **changes}
        if mutate is not None:
            mutate(manifest)

    path = tiny_bundle(folder, name="words.chiasm", modalities=("image",), kinds=("late",), decoder=False, mutate=add)
    (path / "words.json").write_bytes(words)
    for name, (_, _, data) in made.items():
        (path / f"parts/{name}.fp32.onnx").write_bytes(data)
    return path


def _tokenizer() -> bytes:
    """The one of bundles.py, which puts [CLS] first, with [UNK] last, as BERT's puts [SEP]."""
    document = json.loads(tokenizer_json())
    template = document["post_processor"]
    template["single"] = [*template["single"], {"SpecialToken": {"id": "[UNK]", "type_id": 0}}]
    template["special_tokens"]["[UNK]"] = {"id": "[UNK]", "ids": [2], "tokens": ["[UNK]"]}
    return json.dumps(document).encode()
