"""What is raced: checkpoints with seeded random weights, and the bundles that chiasm's own exporter makes of them.

Every peer reads the same checkpoint folders. What is made stays in the work folder and is not made again; a file beside
each bundle says from which recipe it came.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import InputError
from ...runtime.values import Packet
from ..zoo import Model, Size

__all__ = ["DRAWN", "FRAME", "RATE", "SIDE", "WORKS", "Capture", "Encoder", "Work", "captures", "made", "text_length"]

FRAME = (1080, 1920)
"""Height and width of the camera's frames."""
SIDE = 256
"""Height and width of a drawn picture."""
DRAWN = 7
"""Seed of the noise that pictures begin with."""
RATE = 16000
"""Samples per second, and so many samples: one second."""
_WORDS = (
    "a", "car", "truck", "bus", "cyclist", "siren", "is", "ahead", "behind", "left", "right", "rain", "fog", "night",
    "road", "closed", "exit", "blocked",
)  # fmt: skip

Capture = dict[str, Any]
"""Modality → raw value: uint8 RGB (H, W, 3), str, float32 (RATE,)."""


@dataclass(frozen=True)
class Encoder:
    """One tower: `model` of the zoo; `length`: tokens of a text; `output`: what the recipe asks of it."""

    modality: Literal["image", "text", "audio"]
    family: Literal["clip", "bert", "wav2vec2"]
    model: str
    output: str
    length: int | None = None


@dataclass(frozen=True)
class Work:
    """One race. `network`: what is in front of the network is left out. `kept`: these modalities do not change from
    step to step. `width`: of the fusion, for the fused step. `pipeline`: the zoo's diffusers pipeline that draws, with
    its `steps` and `guidance` (1: none), the tiny autoencoder in place of its own.
    """

    name: str
    says: str
    encoders: tuple[Encoder, ...] = ()
    bundle: str = ""
    network: bool = False
    kept: tuple[str, ...] = ()
    width: int = 0
    pipeline: str = ""
    steps: int = 0
    guidance: float = 1.0

    @property
    def fused(self) -> bool:
        """Whether several senses become one decision."""
        return len(self.encoders) > 1


_B32 = Encoder("image", "clip", "clip", "pooled")
_B16 = Encoder("image", "clip", "clip-b16", "pooled")
_TEXT = Encoder("text", "clip", "clip", "pooled")
_BERT = Encoder("text", "bert", "bert", "mean", 128)
_SOUND = Encoder("audio", "wav2vec2", "wav2vec2-base", "mean")
_THREE = (_B32, _TEXT, _SOUND)

WORKS: Mapping[str, Work] = {
    each.name: each
    for each in (
        Work("vit-b32", "CLIP ViT-B/32, 1080p frame to embedding", (_B32,), "vit-b32"),
        Work("vit-b32-network", "CLIP ViT-B/32, the network alone", (_B32,), "vit-b32", network=True),
        Work("vit-b16", "CLIP ViT-B/16, 1080p frame to embedding", (_B16,), "vit-b16"),
        Work("vit-b16-network", "CLIP ViT-B/16, the network alone", (_B16,), "vit-b16", network=True),
        Work("bert", "BERT-base, text to embedding, 128 tokens", (_BERT,), "bert"),
        Work("wav2vec2", "wav2vec2-base, one second of sound to embedding", (_SOUND,), "wav2vec2"),
        Work("fused", "camera, text and sound to a decision, all encoded", _THREE, "fused", width=128),
        Work("fused-stream", "the same, on a stream whose text does not change", _THREE, "fused", kept=("text",),
             width=128),
        Work("lcm-4", "LCM, 4 steps, 256 x 256, tiny autoencoder, words to picture", bundle="lcm", pipeline="lcm",
             steps=4, guidance=8.0),
        Work("turbo-1", "Turbo, 1 step, 256 x 256, tiny autoencoder, words to picture", bundle="turbo",
             pipeline="turbo", steps=1),
    )
}  # fmt: skip


def captures(work: Work, count: int, size: Size = "real", seed: int = 0) -> list[Capture]:
    """`count` made-up captures, all different but for what is `kept`: pictures with edges and noise, chirps, words."""
    random = np.random.default_rng(seed)
    names = [str(each.modality) for each in work.encoders] or ["text"]
    made: list[Capture] = [{name: _MAKERS[name](random, size) for name in names} for _ in range(count)]
    return [each | {name: made[0][name] for name in work.kept} for each in made]


def _frame(random: np.random.Generator, size: Size) -> NDArray[np.uint8]:
    height, width = FRAME if size == "real" else (90, 160)
    rough = random.integers(0, 256, (9, 16, 3)).astype(np.int16).repeat(height // 9, 0).repeat(width // 16, 1)
    rough += random.integers(-20, 21, (height, width, 1)).astype(np.int16)  # small types: a peak is measured beside it
    return np.clip(rough, 0, 255, out=rough).astype(np.uint8)


def _text(random: np.random.Generator, size: Size) -> str:
    return " ".join(random.choice(_WORDS, 8))


def _sound(random: np.random.Generator, size: Size) -> NDArray[np.float32]:
    t = np.arange(RATE) / RATE
    chirp = np.sin(2 * np.pi * (random.uniform(80, 800) + random.uniform(0, 900) * t) * t)
    return (0.4 * chirp + 0.05 * random.standard_normal(RATE)).astype(np.float32)


_MAKERS: Mapping[str, Callable[[np.random.Generator, Size], Any]] = {"image": _frame, "text": _text, "audio": _sound}


def _models() -> dict[str, Model]:
    from .checkpoints import MODELS

    found = dict(MODELS)
    for file in ("text", "audio", "pairs", "diffusion"):
        found |= import_module(f"...zoo.{file}", __name__).MODELS
    return found


def made(work: Work, folder: Path, size: Size = "real", log: Callable[[str], None] = lambda _: None) -> Path:
    """The bundle of a workload, in `folder`, with the checkpoints that it is made of: those that are missing are made.

    Raises `ChiasmError` when an export fails, `InputError` when the folder holds other sizes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "size.txt"
    if mark.exists() and mark.read_text() != size:
        raise InputError("This work folder holds models of another size", found=mark.read_text(), expected=size)
    mark.write_text(size)
    needed = [each.model for each in work.encoders] if work.encoders else [work.pipeline, "taesd"]
    for name in dict.fromkeys(needed):
        if not any((folder / name / file).exists() for file in ("config.json", "model_index.json")):
            log(f"making {name}")
            _models()[name].make(folder / name, size)
    bundle = folder / f"{work.bundle}.chiasm"
    if not bundle.exists():
        log(f"exporting {work.bundle}: minutes at real size")
        start = time.monotonic()
        _export(work, folder, bundle, size)
        (folder / f"{work.bundle}.txt").write_text(f"exported in {time.monotonic() - start:.0f} s\n")
    return bundle


def _export(work: Work, folder: Path, bundle: Path, size: Size) -> None:
    from ...export import export
    from ...export.assemble import open_assembly
    from ...export.calibrate import Calibration
    from ...export.settings import Settings

    recipe = folder / f"{work.bundle}.toml"
    recipe.write_text("".join((_drawing if work.pipeline else _recipe)(work, folder, size)), encoding="utf-8")
    assembly, _ = open_assembly(recipe, ())
    settings = Settings(precisions=("fp32", "int8-cpu"), samples=6, checks=3, rounds=9, pass_s=1.5, ranking_s=10.0)
    if work.pipeline:  # INT8 without captures: of matrix products only
        export(assembly, bundle, settings=settings)
        return
    samples = captures(work, 6, size, seed=100)
    names = [str(each.modality) for each in work.encoders]
    given = {name: [_packet(name, one[name]) for one in samples] for name in names}
    export(assembly, bundle, calibration=Calibration(given), settings=settings)


def text_length(encoder: Encoder, folder: Path) -> int:
    """Tokens of a text: those asked for, or as many as the (tiny) checkpoint has positions."""
    config = json.loads((folder / encoder.model / "config.json").read_text())
    positions = config.get("max_position_embeddings") or config["text_config"]["max_position_embeddings"]
    return min(encoder.length or positions, int(positions))


def _packet(modality: str, value: Any) -> Packet:
    return Packet(modality, value, 0.0, RATE if modality == "audio" else None)


def _drawing(work: Work, folder: Path, size: Size) -> Iterator[str]:
    yield f'[decoder]\ncheckpoint = "{work.pipeline}"\nvae = "taesd"\nsteps = [1, {max(2, work.steps)}]\n'
    yield f"height = {SIDE}\nwidth = {SIDE}\n" if size == "real" else ""


def _recipe(work: Work, folder: Path, size: Size) -> Iterator[str]:
    if work.fused:
        from .fusing import write_weights

        write_weights(work, folder)
    for each in work.encoders:
        yield f'[modalities.{each.modality}]\ncheckpoint = "{each.model}"\nkind = "{each.modality}"\n'
        yield f'output = "{each.output}"\n'
        yield f"length = {text_length(each, folder)}\n" if each.length else ""
        yield "seconds = 1.0\n" if each.modality == "audio" else ""
        yield f'projection = "{each.modality}-wide.safetensors"\n' if work.fused and each.modality == "audio" else ""
    if work.fused:
        yield f'[fusion]\nkind = "gated"\nweights = "gated.safetensors"\noptions = {{ width = {work.width} }}\n'
        yield '[heads.hazard]\nweights = "hazard.safetensors"\nlabels = ["clear", "brake", "yield"]\n'
