"""A module of your own: torch code that a recipe names and that you allow on the command line.

The recipe says `module = "nets.py:build"` (a file beside the recipe) or `module = "package.nets:build"` (importable). A
recipe may come from somebody else, so its word is not enough: the same word must be given with `--module`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..runtime.errors import ExportError
from ..runtime.manifest import Modality
from . import interfaces
from .families import Ask, Tower
from .interfaces import example
from .weights import load_weights

if TYPE_CHECKING:
    import torch

__all__ = ["own_module", "own_tower"]


def own_module(
    word: str, root: Path, allowed: Collection[str], *, weights: str | None = None, options: Mapping[str, Any] = {}
) -> torch.nn.Module:
    """What `factory(**options)` builds, with the tensors of `weights` (safetensors, all of them), in eval mode.

    Raises `ExportError`: not allowed, cannot be imported, no such factory, the factory fails or gives no module;
    `CheckpointError` for weights that do not fit.
    """
    if word not in allowed:
        raise ExportError(
            f"The recipe wants to run code of its own, {word}, which you have not allowed",
            fix=f"Read it; if you trust it, add: --module {word}",
        )
    place, colon, name = word.rpartition(":")
    if not colon or not place or not name:
        raise ExportError("Not the name of a module of yours", found=word, expected="file.py:factory or name:factory")
    factory = getattr(_imported(place, root), name, None)
    if not callable(factory):
        raise ExportError(f"{place} has no function {name}", found=type(factory).__name__, expected="a callable")
    try:
        module = factory(**options)
    except Exception as error:  # code of the user's own may raise anything
        raise ExportError(f"{word} failed", found=f"{type(error).__name__}: {error}") from error
    import torch

    if not isinstance(module, torch.nn.Module):
        raise ExportError(f"{word} gave no torch module", found=type(module).__name__, expected="torch.nn.Module")
    if weights is not None:
        load_weights(module, root / weights, word)
    return module.float().eval()


def own_tower(module: torch.nn.Module, ask: Ask, preprocess: Mapping[str, Any], root: Path) -> Tower:
    """An encoder of your own as a `Tower`.

    `preprocess`: the fields of the modality's schema that only you can know (an image: height, width, resize, filter,
    crop, scale, mean, std); `tokenizer` names a file beside the recipe. The module takes the modality's tensors and
    gives tokens (1, N, D) and embedding (1, E), or one tensor: (1, E), which is both, or (1, N, D), whose mean is the
    embedding.
    """
    fields = dict(preprocess)
    files = {}
    if ask.kind == "text" and "tokenizer" in fields:
        path = root / str(fields["tokenizer"])
        fields["tokenizer"] = path.name
        files[path.name] = path.read_bytes() if path.is_file() else b""
        if not files[path.name]:
            raise ExportError(f"modalities.{ask.name}: no such tokenizer", found=str(path), expected="a file")
    known = {"name": ask.name, "part": ask.name, "kind": ask.kind, "rate_hz": ask.rate_hz, "max_age_s": ask.max_age_s}
    try:
        modality: Any = msgspec.convert({**fields, **known, "tokens": (1, 1)}, Modality)
    except msgspec.ValidationError as error:
        raise ExportError(
            f"modalities.{ask.name}.preprocess does not describe {ask.kind} input", found=str(error),
            expected="the fields of docs/bundle-format.md",
        ) from None  # fmt: skip
    whole = _Whole(module)
    tokens = whole.try_on(modality)
    return Tower(whole.module, msgspec.structs.replace(modality, tokens=tokens), files)


class _Whole:
    """A module that gives tokens and embedding, whatever the user's gives."""

    def __init__(self, module: torch.nn.Module) -> None:
        from .modules.adapters import TokensAndEmbedding

        self.module = TokensAndEmbedding(module).eval()

    def try_on(self, modality: Modality) -> tuple[int, int]:
        """Run once on an example; (N, D) of the tokens."""
        import torch

        feeds = example(interfaces.encoder(modality).inputs)
        try:
            with torch.inference_mode():
                tokens, embedding = self.module(*(torch.from_numpy(value) for value in feeds.values()))
        except Exception as error:  # code of the user's own may raise anything
            shapes = ", ".join(f"{name} {value.dtype} {value.shape}" for name, value in feeds.items())
            raise ExportError(
                f"The module of {modality.name!r} cannot be run on {shapes}", found=f"{type(error).__name__}: {error}"
            ) from error
        if tokens.ndim != 3 or embedding.ndim != 2 or tokens.shape[0] != 1:
            raise ExportError(
                f"The module of {modality.name!r} gives the wrong shapes",
                found=f"{tuple(tokens.shape)}, {tuple(embedding.shape)}", expected="tokens (1, N, D), embedding (1, E)",
            )  # fmt: skip
        return int(tokens.shape[1]), int(tokens.shape[2])


def _imported(place: str, root: Path) -> Any:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = root / place
        spec = importlib.util.spec_from_file_location(f"_chiasm_own_{path.stem}", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise ExportError("There is no such file of code", found=str(path))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ExportError:
        raise
    except Exception as error:  # importing runs code, which may raise anything
        raise ExportError(f"{place} cannot be imported", found=f"{type(error).__name__}: {error}") from error
    return module
