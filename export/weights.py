"""Modules of chiasm's own kinds, and the safetensors files that hold their weights."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    import torch

__all__ = ["build_module", "load_weights", "read_tensors"]


def build_module(part: str, entry: Mapping[str, Any]) -> torch.nn.Module:
    """An untrained module from its entry in `modules`: `kind`, and its constructor's keyword arguments."""
    from .modules import KINDS

    numbers = dict(entry)
    kind = str(numbers.pop("kind", None))
    if kind not in KINDS:
        raise CheckpointError(f"Unknown kind of module for {part!r}", found=kind, expected=" or ".join(sorted(KINDS)))
    file, name = KINDS[kind].split(":")
    try:
        module: torch.nn.Module = getattr(importlib.import_module(f".modules.{file}", __package__), name)(**numbers)
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "export", "Reading a checkpoint") from error
    except (TypeError, ValueError, IndexError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise CheckpointError(f"The module of {part!r} cannot be built from config.json", found=str(error)) from error
    return module


def load_weights(module: torch.nn.Module, path: Path, part: str) -> None:
    """Put the tensors of a safetensors file into a module: all of them, and nothing else. Raises `CheckpointError`."""
    tensors = read_tensors(path, part)
    _check_tensors(part, module.state_dict(), tensors)
    module.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    )


def read_tensors(path: Path, part: str) -> dict[str, torch.Tensor]:
    """Every tensor of a safetensors file, by name. Raises `CheckpointError`; `part` is for the message."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "safetensors", "export", "Reading a checkpoint") from error
    if not path.is_file():
        raise CheckpointError(f"The weights of {part!r} are missing", expected=f"a file at {path}")
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file", found=str(error)) from error
    return tensors


def _check_tensors(part: str, wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> None:
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or unknown:
        raise CheckpointError(
            f"The tensors of {part!r} are not those of its module",
            found=f"{len(unknown)} unknown ({', '.join(unknown[:3]) or 'none'})",
            expected=f"{len(missing)} more ({', '.join(missing[:3]) or 'none'})",
            fix="config.json and the weights must come from the same training.",
        )
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape:
            raise CheckpointError(
                f"Tensor {name!r} of {part!r} has the wrong shape",
                found=str(tuple(found[name].shape)),
                expected=str(tuple(tensor.shape)),
                fix="config.json and the weights must come from the same training.",
            )
        if found[name].is_floating_point() and not bool(found[name].isfinite().all()):
            raise CheckpointError(f"Tensor {name!r} of {part!r} holds values that are not finite", fix="Train again.")
