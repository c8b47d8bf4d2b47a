"""Folders of sentence-transformers (Reimers & Gurevych 2019): modules.json lists a transformer, its pooling, the rest.

The transformer is read by its own family. Poolings may stand side by side; dense layers, and normalisation to unit
length, may follow.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...runtime.errors import CheckpointError, ExportError
from ...runtime.manifest import TextModality
from . import Ask, Kind, Tower, family_of

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ..hub import HubFolder

MODEL_TYPES = ("sentence-transformers",)
KINDS: tuple[Kind, ...] = ("text",)
OUTPUTS = ("pooled", "tokens")

_POOLINGS = {
    "cls": "class", "max": "max", "mean": "mean", "mean_sqrt_len_tokens": "root mean",
    "weightedmean": "weighted mean", "lasttoken": "last",
}  # fmt: skip
"""The words of its configuration → names of `_text.POOLINGS`, in the order in which several are joined."""
_OLD_KEYS = {
    "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens", "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens", "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}  # fmt: skip
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid")
_SETTINGS = tuple(f"sentence_{name}_config.json" for name in
                  ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"))  # fmt: skip


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The whole chain as one tower; `tokens` are the transformer's, `pooled` is what the chain ends with."""
    import msgspec

    from ._text import TextEncoder

    each = ask.chosen(OUTPUTS) == "tokens"
    chain = _chain(folder)
    tower = _transformer(folder, chain[0][1], ask)
    inner, modality = tower.module, tower.modality
    assert isinstance(inner, TextEncoder)
    assert isinstance(modality, TextModality)
    poolings = _poolings(folder, chain[1][1])
    if modality.padding == "left" and {"class", "weighted mean"} & set(poolings):
        raise ExportError(f"{folder.path} pools by {', '.join(poolings)} what its tokenizer fills up on the left")
    width = modality.tokens[1]
    after, size = _after(folder, chain[2:], width * len(poolings))
    made = msgspec.structs.replace(modality, tokens=(modality.length, width) if each else (1, size))
    return Tower(TextEncoder(inner.model, inner.states, poolings, each, after).eval(), made, tower.files)


def _chain(folder: HubFolder) -> list[tuple[str, str]]:
    """(kind, place in the folder) of every module; a transformer, then a pooling, then the rest."""
    try:
        entries = json.loads(folder.read("modules.json"))
        chain = [(str(each["type"]).rsplit(".", 1)[-1], str(each["path"])) for each in entries]
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{folder.path / 'modules.json'} is not a list of modules", found=repr(error)) from error
    kinds = [kind for kind, _ in chain]
    known = {"Dense", "Normalize", "Dropout"}
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= known:
        fix = None
        if kinds[:1] == ["CLIPModel"]:
            fix = f"Name the model itself: {folder.path / chain[0][1]}"
        raise CheckpointError(
            f"{folder.path} has a chain of modules that chiasm does not read", found=", ".join(kinds) or "none",
            expected="Transformer, Pooling, then any of Dense, Normalize, Dropout", fix=fix,
        )  # fmt: skip
    for _, place in chain:
        if place.startswith("/") or ".." in place.split("/"):
            raise CheckpointError(f"modules.json of {folder.path} names a place outside the folder", found=ascii(place))
    return chain


def _transformer(folder: HubFolder, place: str, ask: Ask) -> Tower:
    """The tower of the transformer's own family, with the length and the letter case that the chain was made for."""
    from ..hub import HubFolder
    from ._text import LENGTH

    _refuse_prompts(folder)
    inner = HubFolder(folder.path / place, plain=True)
    settings = next((inner.json(name) for name in _SETTINGS if inner.has(name)), {})
    limit = settings.get("max_seq_length")
    wanted = ask.length
    if limit and wanted and wanted > int(limit):
        raise ExportError(
            f"{folder.path} cannot take texts of that length", found=f"length {wanted}",
            expected=f"at most {limit} tokens",
        )  # fmt: skip
    if limit and not wanted:
        wanted = min(int(limit), LENGTH)
    family = family_of(inner)[1]
    output = "mean" if "mean" in family.OUTPUTS else None
    tower = family.load(inner, replace(ask, output=output, length=wanted))
    if settings.get("do_lower_case"):
        tower = replace(tower, files={name: _lower(data) for name, data in tower.files.items()})
    return tower


def _refuse_prompts(folder: HubFolder) -> None:
    name = "config_sentence_transformers.json"
    settings = folder.json(name) if folder.has(name) else {}
    default = settings.get("default_prompt_name")
    if default and (settings.get("prompts") or {}).get(default):
        raise ExportError(
            f"{folder.path} puts a prompt before every text, which chiasm does not",
            found=f"default_prompt_name {default!r}",
            fix=f"Take it out of {name}, and put the prompt before your texts",
        )


def _lower(tokenizer: bytes) -> bytes:
    """The same tokenizer with all letters made small first."""
    document = json.loads(tokenizer)
    old = document.get("normalizer")
    rest = [] if old is None else old["normalizers"] if old["type"] == "Sequence" else [old]
    document["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *rest]}
    return json.dumps(document, ensure_ascii=False).encode()


def _poolings(folder: HubFolder, place: str) -> tuple[str, ...]:
    config = folder.json(f"{place}/config.json")
    mode = config.get("pooling_mode")
    if mode is None:
        mode = [name for name, key in _OLD_KEYS.items() if config.get(key)] or ["mean"]
    modes = [mode] if isinstance(mode, str) else list(mode)
    unknown = [name for name in modes if name not in _POOLINGS]
    if unknown or not modes:
        raise CheckpointError(
            f"{folder.path / place} pools in a way that chiasm does not know",
            found=", ".join(map(str, unknown)) or "none",
            expected=", ".join(_POOLINGS),
        )
    return tuple(_POOLINGS[name] for name in modes)


def _after(folder: HubFolder, chain: list[tuple[str, str]], size: int) -> tuple[nn.Module, int]:
    """What follows the pooling, and the size of what comes out."""
    from torch import nn

    from ._text import Unit

    steps: list[nn.Module] = []
    for kind, place in chain:
        if kind == "Dense":
            steps += _dense(folder, place)
            size = int(folder.json(f"{place}/config.json")["out_features"])
        elif kind == "Normalize":
            steps.append(Unit())
    return nn.Sequential(*steps), size


def _dense(folder: HubFolder, place: str) -> list[nn.Module]:
    from torch import nn

    config: dict[str, Any] = folder.json(f"{place}/config.json")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rsplit(".", 1)[-1]
    reads = config.get("module_input_name", "sentence_embedding")
    if name not in _ACTIVATIONS or config.get("use_residual") or reads != "sentence_embedding":
        raise CheckpointError(
            f"{folder.path / place} is not a dense layer that chiasm reads", found=str(config)[:200],
            expected=f"one on the sentence embedding, without residual, with {', '.join(_ACTIVATIONS)}",
        )  # fmt: skip
    linear = nn.Linear(int(config["in_features"]), int(config["out_features"]), bool(config.get("bias", True)))
    linear.load_state_dict(_tensors(folder.path / place, set(linear.state_dict())))
    return [linear, getattr(nn, name)()]


def _tensors(folder: Path, names: set[str]) -> dict[str, Any]:
    """The tensors of a linear layer, without their prefix."""
    from ..hub import read_tensors

    found = read_tensors(folder)
    if set(found) != {f"linear.{name}" for name in names}:
        raise CheckpointError(
            f"{folder} does not have the tensors of a dense layer", found=", ".join(sorted(found)),
            expected=", ".join(f"linear.{name}" for name in sorted(names)),
        )  # fmt: skip
    return {name.removeprefix("linear."): tensor.float() for name, tensor in found.items()}
