"""Reads a diffusers pipeline as a model hub serves it: model_index.json, and a folder with safetensors for each model.

Nothing is unpickled, nothing is downloaded, and no code of the folder is run: a class is found by its name among those
that we know, never by the library that model_index.json gives.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.errors import CheckpointError, MissingExtraError
from ..hub import quiet

if TYPE_CHECKING:
    import torch

__all__ = ["PipelineFolder", "class_of", "is_pipeline", "load_network", "read_json", "weight_files"]

INDEX = "model_index.json"
_STEM = "diffusion_pytorch_model"
_LIMIT = 16 * 2**20
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack")
_CONVERT = (
    'Convert it where you trust it: python -c "import torch, safetensors.torch as s; '
    "s.save_file(torch.load('{file}', weights_only=True), '{folder}/{stem}.safetensors')\""
)
_RENAMED = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
"""Attention of an autoencoder: as the files of 2022 spell it → as diffusers does now."""


def is_pipeline(path: Path) -> bool:
    """Whether a folder is a diffusers pipeline."""
    return (path / INDEX).is_file()


def class_of(path: Path) -> str:
    """The diffusers class that a model's folder names in its config.json; empty where there is none."""
    try:
        return str(read_json(path / "config.json").get("_class_name", ""))
    except CheckpointError:
        return ""


class PipelineFolder:
    """One pipeline's folder. `kind` is its class. Raises `CheckpointError` for what cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not is_pipeline(path):
            found = f"no {INDEX}" if path.is_dir() else "a file" if path.exists() else "no such folder"
            raise CheckpointError(
                f"{path} is not a diffusers pipeline", found=found,
                expected=f"a folder with {INDEX}, unet/ or transformer/, vae/, text_encoder/, tokenizer/, scheduler/",
            )  # fmt: skip
        self.index = read_json(path / INDEX)
        self.kind = str(self.index.get("_class_name", ""))

    def has(self, name: str) -> bool:
        """Whether the pipeline has that component: model_index.json leaves out with nulls what is not there."""
        entry = self.index.get(name)
        return isinstance(entry, list) and len(entry) == 2 and entry[1] is not None

    def at(self, name: str) -> Path:
        """The folder of a component."""
        path = self.path / name
        if not self.has(name) or not path.is_dir():
            found = f"no folder {name}" if self.has(name) else f"{INDEX} without {name}"
            raise CheckpointError(
                f"{self.path} is not a whole {self.kind}", found=found, expected=f"{name}/",
                fix="Copy all of the pipeline",
            )  # fmt: skip
        return path

    def config(self, name: str, classes: Collection[str]) -> dict[str, Any]:
        """The config.json of a component that is of one of these classes."""
        path, found = self.at(name), str(self.index[name][1])
        if found not in classes:
            raise CheckpointError(
                f"{path} is of a class that chiasm does not know", found=found, expected=" or ".join(classes)
            )
        return read_json(path / "config.json")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in a file."""
    try:
        if path.stat().st_size > _LIMIT:
            raise CheckpointError(f"{path} is too large", expected=f"at most {_LIMIT} bytes")
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read", found=error.strerror or str(error)) from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON", found=str(error)) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is not a JSON object", found=type(found).__name__)
    return found


def load_network(path: Path, kind: str) -> torch.nn.Module:
    """The diffusers model in a folder, FP32, in eval mode. `kind`: its class.

    Built without memory and filled from the file, so that a model is in memory once. Every missing or unexpected tensor
    is an error that names it.
    """
    tensors = _tensors(path)
    config = read_json(path / "config.json")
    with quiet("diffusers"):
        import diffusers
        import torch

        try:
            with torch.device("meta"):
                model = getattr(diffusers, kind).from_config(config)
        except (TypeError, ValueError, KeyError, IndexError, ArithmeticError, RuntimeError, AttributeError) as error:
            raise CheckpointError(
                f"{path / 'config.json'} is not of a {kind}", found=str(error).split("\n")[0][:200]
            ) from error
    wanted = model.state_dict()
    held = {_renamed(name, wanted): value.float() for name, value in tensors.items()}
    del tensors
    held = {name: value.reshape(wanted[name].shape) if _flat(value, wanted.get(name)) else value
            for name, value in held.items()}  # fmt: skip
    _check(path, kind, wanted, held)
    model.load_state_dict(held, assign=True)
    for name, tensor in model.named_buffers():
        if tensor.is_meta:  # a buffer that no file holds and that the class computes: none of the known models has any
            raise CheckpointError(f"{path} needs a constant that is in no file", found=name, expected=f"a plain {kind}")
    return model.requires_grad_(False).eval()  # type: ignore[no-any-return]


def _renamed(name: str, wanted: Collection[str]) -> str:
    if name in wanted:
        return name
    for old, new in _RENAMED.items():
        name = name.replace(old, new)
    return name


def _flat(value: torch.Tensor, wanted: torch.Tensor | None) -> bool:
    """Whether a product was written as a convolution of one pixel, or the other way round."""
    return wanted is not None and value.shape != wanted.shape and value.squeeze().shape == wanted.squeeze().shape


def _check(path: Path, kind: str, wanted: dict[str, torch.Tensor], held: dict[str, torch.Tensor]) -> None:
    missing, unknown = sorted(set(wanted) - set(held)), sorted(set(held) - set(wanted))
    shapes = [name for name, value in held.items() if name in wanted and value.shape != wanted[name].shape]
    complaints = (("lacks weights", missing), ("has weights that its model has no place for", unknown),
                  ("has weights of an unusable shape", shapes))  # fmt: skip
    for words, names in complaints:
        if names:
            raise CheckpointError(
                f"{path} {words}", found=f"{len(names)}: {', '.join(names[:3])}",
                expected=f"every tensor of {kind}, and no other",
                fix="config.json and the weights must belong together; copy the folder again",
            )  # fmt: skip


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a model's folder: one file, or several named by an index; FP16 where there is nothing else."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "safetensors", "export", "Reading a checkpoint") from error
    found: dict[str, torch.Tensor] = {}
    names = weight_files(path)
    try:
        for name in names:
            found |= load_file(path / name)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} has weights that cannot be read", found=str(error)) from error
    return found


def weight_files(path: Path) -> list[str]:
    """The names of a model's safetensors. Raises `CheckpointError`: none, or pickles, with how to convert them."""
    for stem in (_STEM, f"{_STEM}.fp16"):
        if (path / f"{stem}.safetensors").is_file():
            return [f"{stem}.safetensors"]
    index = path / f"{_STEM}.safetensors.index.json"
    if index.is_file():
        named = read_json(index).get("weight_map")
        names = sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
        if not names or any(Path(name).name != name for name in names):
            raise CheckpointError(f"{index} names no files of its folder", found=", ".join(names[:3]) or "none")
        return names
    pickles = sorted(file for pattern in _PICKLES for file in path.glob(pattern))
    if pickles:
        raise CheckpointError(
            f"{path} has its weights in a format that can run code, which chiasm never opens",
            found=pickles[0].name, expected=f"{_STEM}.safetensors",
            fix=_CONVERT.format(file=pickles[0], folder=path, stem=_STEM),
        )  # fmt: skip
    raise CheckpointError(f"{path} has no weights", expected=f"{_STEM}.safetensors")
