"""A whole bundle for tests, in milliseconds: real ONNX graphs with the reference model's input shapes, tiny inside.

    from bundles import tiny_bundle            # tests/ is on pytest's path
    path = tiny_bundle(tmp_path)               # image, text, audio, radar; six fusion kinds; heads; decoder
    path = tiny_bundle(tmp_path, modalities=("image", "wide"))    # two encoders for pictures, of different sizes
    path = tiny_bundle(tmp_path, mutate=lambda m: m["fusion"].update(default="none"))
    path = tiny_bundle(tmp_path, schema=2)     # any top-level field of the manifest

Weights are random but seeded: same arguments, same bytes. Answers mean nothing; they depend on every input.
Needs `onnx`, neither torch nor the exporter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from bundle_graphs import HAZARDS, LATENT, OBJECTS, STATE, TOKENS, WEATHERS, WIDTH, WORDS, part
from chiasm.runtime.bundle import Bundle, open_bundle
from onnx import numpy_helper

MODALITIES = ("image", "text", "audio", "radar")
KINDS = ("early", "middle", "late", "hybrid", "gated", "adaptive")


def tokenizer_json() -> bytes:
    """A word-level tokenizer: [PAD] 0, [CLS] 1, [UNK] 2, then WORDS; lower-cases, splits at spaces, [CLS] first."""
    specials = ["[PAD]", "[CLS]", "[UNK]"]
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    cls = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [cls, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [cls, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}},
    }
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": word, **added} for i, word in enumerate(specials)],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": template,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: i for i, word in enumerate([*specials, *WORDS])},
            "unk_token": "[UNK]",
        },
    }
    return json.dumps(document, indent=1).encode()


def _modality(name: str) -> dict[str, Any]:
    common: dict[str, Any] = {"name": name, "part": name, "tokens": [TOKENS[name], WIDTH]}
    third = [0.5, 0.5, 0.5]
    own: dict[str, dict[str, Any]] = {
        "image": {"kind": "image", "rate_hz": 30.0, "max_age_s": 0.5, "height": 64, "width": 64, "crop": "centre",
                  "resize": "shortest-edge", "filter": "area", "scale": 1 / 255, "mean": third, "std": third},
        "text": {"kind": "text", "rate_hz": 1.0, "max_age_s": None, "length": 32, "pad_id": 0,
                 "tokenizer": "tokenizer.json"},
        "audio": {"kind": "audio", "rate_hz": 10.0, "max_age_s": 1.0, "sample_rate": 16000, "samples": 16000},
        "radar": {"kind": "series", "rate_hz": 20.0, "max_age_s": 0.5, "frames": 32, "channels": 32,
                  "sample_rate": 20.0, "mean": 0.1, "std": 0.2},
        "wide": {"kind": "image", "rate_hz": 15.0, "max_age_s": 0.5, "height": 96, "width": 96, "crop": "none",
                 "resize": "exact", "filter": "bicubic", "scale": 1 / 255, "mean": [0.4] * 3, "std": [0.3] * 3},
    }  # fmt: skip
    return common | own[name]


def _decoder() -> dict[str, Any]:
    return {
        "kind": "diffusion",
        "denoiser": "denoiser",
        "pictures": {"full": "picture", "tiny": "picture.tiny"},
        "default": "full",
        "schedule": {
            "kind": "flow-consistency",
            "prediction_type": "flow",
            "times": [[1.0], [1.0, 0.5], [1.0, 0.75, 0.5, 0.25]],
        },
        "steps": [1, 2, 4],
        "default_steps": 4,
        "latent": list(LATENT),
        "picture": [LATENT[1] * 8, LATENT[2] * 8],
        "guidance": 2.0,
        "guidance_range": [1.0, 5.0],
    }


def tiny_manifest(
    modalities: tuple[str, ...] = MODALITIES,
    kinds: tuple[str, ...] = KINDS,
    precisions: tuple[str, ...] = ("fp32",),
    decoder: bool = True,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest as plain JSON values, and the bundle's other files by relative path."""
    files: dict[str, bytes] = {"tokenizer.json": tokenizer_json()} if "text" in modalities else {}
    parts: dict[str, Any] = {}
    names = [*modalities, *(f"fuse.{kind}" for kind in kinds), "heads"]
    for name in names + (["denoiser", "picture", "picture.tiny"] if decoder else []):
        specs, variants = {}, []
        for precision in precisions:
            text, data = part(name, tuple(modalities), precision)
            specs, file = json.loads(text), f"parts/{name}.{precision}.onnx"
            files[file] = data
            variants.append(
                {"precision": precision, "file": file, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data),
                 "opset": 17, "max_relative_error": 0.0, "cosine": 1.0, "external": []}
            )  # fmt: skip
        parts[name] = {**specs, "variants": variants, "preferred": precisions[0]}
    classes = {"hazard": HAZARDS, "weather": WEATHERS, "object": OBJECTS}
    heads: dict[str, Any] = {"embedding": {"part": "heads", "output": "embedding", "kind": "embedding", "labels": []}}
    for name, labels in classes.items():
        heads[name] = {"part": "heads", "output": name, "kind": "classes", "labels": list(labels)}
    manifest = {
        "schema": 1,
        "model": {"name": "tiny", "version": "0", "licence": "Apache-2.0", "description": "random weights, for tests"},
        "modalities": [_modality(name) for name in modalities],
        "parts": parts,
        "fusion": {"kinds": {kind: f"fuse.{kind}" for kind in kinds}, "default": kinds[-1], "order": list(modalities),
                   "state": STATE},
        "heads": heads,
        "tolerances": {"fp32_max_relative_error": 1e-4, "fp16_cosine": 0.999, "int8_cosine": 0.99,
                       "accuracy_drop": 0.01},
        "files": {k: hashlib.sha256(v).hexdigest() for k, v in files.items() if not k.startswith("parts/")},
        "decoder": _decoder() if decoder else None,
        "chiasm": "0.1.0",
    }  # fmt: skip
    return manifest, files


def tiny_bundle(
    folder: Path,
    *,
    name: str = "tiny.chiasm",
    modalities: tuple[str, ...] = MODALITIES,
    kinds: tuple[str, ...] = KINDS,
    precisions: tuple[str, ...] = ("fp32",),
    decoder: bool = True,
    mutate: Callable[[dict[str, Any]], object] | None = None,
    **changes: Any,
) -> Path:
    """Write a bundle into `folder/name` and return its path. `precisions` may name fp32, fp16, int8-cpu (weights only).

    `changes` replace top-level fields of the manifest; `mutate` edits it in place afterwards.
    """
    manifest, files = tiny_manifest(modalities, kinds, precisions, decoder)
    manifest.update(changes)
    if mutate is not None:
        mutate(manifest)
    path = Path(folder) / name
    for file, data in files.items():
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_bytes(data)
    (path / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return path


def edit_manifest(path: Path, mutate: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest of a bundle that is already written."""
    file = path / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    mutate(manifest)
    file.write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def tiny_inputs(seed: int = 0) -> dict[str, Any]:
    """Raw values for the four modalities: a 96×128 picture, words, one second of sound, 32 radar rows."""
    random = np.random.default_rng(seed)
    return {
        "image": random.integers(0, 256, (96, 128, 3), dtype=np.uint8),
        "text": " ".join(random.choice(WORDS, 5)),
        "audio": (random.standard_normal(16000) * 0.1).astype(np.float32),
        "radar": random.random((32, 32), dtype=np.float32),
    }


def with_external(tmp_path: Path, location: str, listed: bool = True, **extra: str) -> Bundle:
    """A tiny bundle, the radar encoder's weights moved to a file of their own."""
    path = tiny_bundle(tmp_path)
    file = path / "parts/radar.fp32.onnx"
    model = onnx.load_model(file)
    weights = b""
    for tensor in model.graph.initializer:
        raw = numpy_helper.to_array(tensor).tobytes()
        info = {"location": location, "offset": str(len(weights)), "length": str(len(raw)), **extra}
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in info.items():
            tensor.external_data.add(key=key, value=value)
        weights += raw
    data = model.SerializeToString()
    file.write_bytes(data)
    (path / "parts/radar.weights").write_bytes(weights)

    def mutate(manifest: dict[str, Any]) -> None:
        entry = {"file": "parts/radar.weights", "sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)}
        manifest["parts"]["radar"]["variants"][0].update(
            sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), external=[entry] if listed else []
        )

    edit_manifest(path, mutate)
    return open_bundle(path)
