"""Reads a checkpoint folder: `config.json`, one safetensors file per module, `tokenizer.json`. Never unpickles.

    config.json   {"format": "chiasm-checkpoint", "version": 1, …}: `Config` below; other keys are ignored
    <part>.safetensors   tensors named as in the module's `state_dict`, FP16 or FP32
    tokenizer.json, model_card.md

Modules are built by their kind (`export/modules/__init__.py: KINDS`) in FP32 and in eval mode.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..runtime.errors import CheckpointError
from ..runtime.manifest import DiffusionDecoder, Fusion, Head, Modality, Model, TextModality
from . import interfaces
from .assembly import Assembly, PartSource
from .weights import build_module, load_weights

if TYPE_CHECKING:
    import torch

__all__ = [
    "FORMAT", "VERSION", "Checkpoint", "Config", "assemble_checkpoint", "is_own_format", "load_checkpoint",
    "read_config",
]  # fmt: skip

FORMAT = "chiasm-checkpoint"
VERSION = 1
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PICTURES = {"full": "picture", "tiny": "picture.tiny"}
_LIMIT = 16 * 1024 * 1024


class FusionConfig(msgspec.Struct, frozen=True):
    """`kinds` maps a fusion kind to its part."""

    kinds: dict[str, str]
    default: str


class HeadConfig(msgspec.Struct, frozen=True):
    """One output of the part `heads`; the order of the heads is the order of its outputs."""

    kind: Literal["classes", "embedding"]
    labels: tuple[str, ...] = ()


class LatentConfig(msgspec.Struct, frozen=True):
    """Latents are (channels, size, size)."""

    channels: int
    size: int


class PictureConfig(msgspec.Struct, frozen=True):
    """Pictures are (height, width)."""

    height: int
    width: int


class _Document(msgspec.Struct, frozen=True):
    model: Model
    order: tuple[str, ...]
    state: int
    modalities: dict[str, dict[str, Any]]
    fusion: FusionConfig
    heads: dict[str, HeadConfig]
    modules: dict[str, dict[str, Any]]
    decoder: dict[str, Any] | None = None
    sampler: dict[str, Any] | None = None
    latent: LatentConfig | None = None
    picture: PictureConfig | None = None


@dataclass(frozen=True)
class Config:
    """A checked config.json. `modules[part]` holds the module's kind and its constructor's numbers."""

    model: Model
    modalities: tuple[Modality, ...]
    state: int
    fusion: FusionConfig
    heads: Mapping[str, HeadConfig]
    decoder: DiffusionDecoder | None
    modules: Mapping[str, Mapping[str, Any]]

    @property
    def order(self) -> tuple[str, ...]:
        """Modalities in the order of the fusion inputs."""
        return tuple(each.name for each in self.modalities)

    def parts(self) -> tuple[str, ...]:
        """The parts that are exported, each once, in the order in which data meet them."""
        names = [each.part for each in self.modalities] + list(self.fusion.kinds.values()) + ["heads"]
        if self.decoder is not None:
            names += [self.decoder.denoiser, *self.decoder.pictures.values()]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: modules in FP32 and eval mode by part; `files` go into the bundle as they are."""

    path: Path
    config: Config
    modules: Mapping[str, torch.nn.Module]
    files: Mapping[str, bytes]


def is_own_format(folder: Path) -> bool:
    """Whether a folder's config.json names this format; what is wrong with it is for `read_config` to say."""
    try:
        return f'"{FORMAT}"' in (folder / "config.json").read_text(encoding="utf-8")[:_LIMIT]
    except (OSError, UnicodeDecodeError):
        return False


def read_config(folder: Path) -> Config:
    """Read and check `config.json`. Raises `CheckpointError`."""
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder} is not a checkpoint",
            found="no config.json" if folder.is_dir() else "no such folder",
            expected="a folder with config.json and one safetensors file per part",
            fix="Train one with `python -m chiasm.reference.train`, or give the path of a trained one.",
        )
    if path.stat().st_size > _LIMIT:
        raise CheckpointError(
            f"{path} is too large", found=f"{path.stat().st_size} bytes", expected=f"at most {_LIMIT}"
        )
    raw = path.read_bytes()
    _check_version(path, raw)
    try:
        document = msgspec.json.decode(raw, type=_Document)
        return _to_config(document)
    except msgspec.MsgspecError as error:
        raise CheckpointError(f"{path} is not what it should be", found=str(error)) from error


def _check_version(path: Path, raw: bytes) -> None:
    try:
        head = msgspec.json.decode(raw)
    except msgspec.MsgspecError as error:
        raise CheckpointError(f"{path} is not JSON", found=str(error)) from error
    form = head.get("format") if isinstance(head, dict) else None
    if form != FORMAT:
        raise CheckpointError(f"{path} is not of a chiasm checkpoint", found=f"format {form!r}", expected=repr(FORMAT))
    if head.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has a version that this chiasm does not read",
            found=repr(head.get("version")),
            expected=str(VERSION),
            fix="Use the chiasm that wrote it, or train again.",
        )


def _to_config(document: _Document) -> Config:
    if sorted(document.order) != sorted(document.modalities):
        raise CheckpointError(
            "config.json: `order` does not name every modality once",
            found=", ".join(document.order),
            expected=", ".join(document.modalities),
        )
    modalities: list[Modality] = [
        msgspec.convert({**document.modalities[name], "name": name}, Modality, strict=False) for name in document.order
    ]
    config = Config(
        model=document.model,
        modalities=tuple(modalities),
        state=document.state,
        fusion=document.fusion,
        heads=document.heads,
        decoder=_to_decoder(document),
        modules=document.modules,
    )
    _check_parts(config)
    return config


def _to_decoder(document: _Document) -> DiffusionDecoder | None:
    """`decoder` whole, or `sampler` (schedule and guidance) over parts of the usual names; None for perception only."""
    given = document.decoder if document.decoder is not None else document.sampler
    if given is None:
        return None
    if document.latent is None or document.picture is None:
        raise CheckpointError("config.json has `decoder` or `sampler` but not both `latent` and `picture`")
    latent, picture = document.latent, document.picture
    pictures = {name: part for name, part in _PICTURES.items() if part in document.modules}
    usual = {"kind": "diffusion", "denoiser": "denoiser", "pictures": pictures, "default": "full"}
    sizes = {"latent": (latent.channels, latent.size, latent.size), "picture": (picture.height, picture.width)}
    return msgspec.convert({**usual, **given, **sizes}, DiffusionDecoder, strict=False)


def _check_parts(config: Config) -> None:
    if config.fusion.default not in config.fusion.kinds:
        raise CheckpointError(
            "config.json: the default fusion is not one of its kinds",
            found=config.fusion.default,
            expected=" or ".join(config.fusion.kinds),
        )
    for part in config.parts():
        if not _PART.fullmatch(part):
            raise CheckpointError("config.json names a part that cannot be a file name", found=repr(part))
        if part not in config.modules:
            raise CheckpointError(
                f"config.json: no module for the part {part!r}",
                expected=f"one of {', '.join(config.modules) or 'none'}",
            )


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load the modules of every part that is exported.

    Raises `CheckpointError` (not a checkpoint, unknown version or kind, missing file, wrong tensors) and
    `MissingExtraError` without torch or safetensors.
    """
    folder = Path(folder)
    config = read_config(folder)
    modules = {part: _load_module(folder, part, config.modules[part]) for part in config.parts()}
    return Checkpoint(folder, config, modules, _read_files(folder, config))


def assemble_checkpoint(checkpoint: Checkpoint) -> Assembly:
    """What an export makes of a loaded checkpoint."""
    config = checkpoint.config
    known = {each.part: interfaces.encoder(each) for each in config.modalities}
    known |= dict.fromkeys(config.fusion.kinds.values(), interfaces.fusion(config.modalities))
    known["heads"] = interfaces.heads(config.state, tuple(config.heads))
    if config.decoder is not None:
        known[config.decoder.denoiser] = interfaces.denoiser(config.decoder, config.state)
        known |= dict.fromkeys(config.decoder.pictures.values(), interfaces.picture(config.decoder))
    return Assembly(
        model=config.model,
        modalities=config.modalities,
        fusion=Fusion(kinds=config.fusion.kinds, default=config.fusion.default, order=config.order, state=config.state),
        heads={
            name: Head(part="heads", output=name, kind=each.kind, labels=each.labels)
            for name, each in config.heads.items()
        },
        parts={part: PartSource(known[part], partial(_loaded, checkpoint, part)) for part in config.parts()},
        decoder=config.decoder,
        files=checkpoint.files,
    )


def _loaded(checkpoint: Checkpoint, part: str) -> torch.nn.Module:
    module = checkpoint.modules[part]
    if part != "heads":
        return module
    from .modules.heads import Answers

    return Answers(module, [head.kind for head in checkpoint.config.heads.values()]).eval()


def _read_files(folder: Path, config: Config) -> dict[str, bytes]:
    wanted = [each.tokenizer for each in config.modalities if isinstance(each, TextModality)]
    files: dict[str, bytes] = {}
    for name in wanted:
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise CheckpointError(f"The tokenizer {name!r} of the checkpoint is missing", expected=f"a file at {path}")
        files[name] = path.read_bytes()
    card = folder / "model_card.md"
    if card.is_file():
        files[card.name] = card.read_bytes()
    return files


def _load_module(folder: Path, part: str, entry: Mapping[str, Any]) -> torch.nn.Module:
    module = build_module(part, entry)
    load_weights(module, folder / f"{part}.safetensors", part)
    return module.float().eval()
