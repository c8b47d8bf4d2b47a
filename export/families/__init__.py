"""Families of public models, found by listing this folder: one short file each.

A family says which checkpoints it reads and turns one into a `Tower`, an encoder ready to be traced. The model's code
is that of transformers; a family adds what an edge graph needs: static shapes, no control flow, one forward from a
modality's tensors to tokens and embedding. A family's file has

    MODEL_TYPES   the `model_type`s of config.json that it reads
    KINDS         the kinds of modality it can encode, most of them one; CLIP and its like two
    OUTPUTS       what `output` may ask of it, the default first
    load(folder: HubFolder, ask: Ask) -> Tower

and, where a checkpoint may have fewer towers than the family, `kinds(folder) -> tuple[Kind, ...]`; where it can
describe pictures, `captioner(folder, ask) -> Captions`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from ...runtime.errors import CheckpointError, ExportError
from ...runtime.hints import did_you_mean

if TYPE_CHECKING:
    import torch

    from ...runtime.manifest import Captioner, Modality
    from ..assembly import PartSource
    from ..hub import HubFolder

__all__ = [
    "Ask", "Captions", "Classifier", "Family", "Kind", "Similarity", "Tower", "families", "family_of", "kinds_of",
]  # fmt: skip

Kind = Literal["image", "audio", "text", "series"]


@dataclass(frozen=True)
class Ask:
    """What a recipe asks of an encoder.

    `name`: of the modality, and of its part; `output`: one of the family's `OUTPUTS`, None for its default; `length`:
    tokens of a text; `seconds`: window of a sound; `rate_hz` and `max_age_s` go into the manifest as they are.
    """

    name: str
    kind: Kind
    output: str | None = None
    length: int | None = None
    seconds: float | None = None
    rate_hz: float | None = None
    max_age_s: float | None = None

    def chosen(self, outputs: tuple[str, ...]) -> str:
        """The output that is meant; `ExportError` lists what the family can give."""
        output = self.output or outputs[0]
        if output not in outputs:
            raise ExportError(
                f"The encoder of {self.name!r} has no such output",
                found=output,
                expected=f"one of {', '.join(outputs)}",
            )
        return output


@dataclass(frozen=True)
class Classifier:
    """The classification head of a checkpoint: reads the mean of the tokens (1, D), gives logits (1, labels).

    That mean is what the fusion `mean` hands on of a single encoder. Labels that come twice (ImageNet has two cranes)
    get their number behind them.
    """

    module: torch.nn.Module
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        seen = Counter(self.labels)
        named = (f"{each} ({index})" if seen[each] > 1 else each for index, each in enumerate(self.labels))
        object.__setattr__(self, "labels", tuple(named))


@dataclass(frozen=True)
class Similarity:
    """How two embeddings of a shared space become a probability: scale·cosine + bias, and then the link.

    `link`: "softmax" over the candidates, or "sigmoid" of each alone.
    """

    scale: float
    bias: float = 0.0
    link: Literal["softmax", "sigmoid"] = "softmax"


@dataclass(frozen=True)
class Tower:
    """One encoder, ready to be traced.

    `module`: FP32, eval mode; its forward takes the tensors of `interfaces.encoder(modality)`, in that order, and gives
    tokens (1, N, D) and embedding (1, E). `shared`: the embedding lies in a space that another tower of the same
    checkpoint shares (CLIP and its like), named by a word that is the same for both; `similarity`: what its cosines
    mean. `files`: the tokenizer and others that go into the bundle.
    """

    module: torch.nn.Module
    modality: Modality
    files: Mapping[str, bytes] = field(default_factory=dict)
    classifier: Classifier | None = None
    shared: str | None = None
    similarity: Similarity | None = None


@dataclass(frozen=True)
class Captions:
    """What describes the pictures of one encoder, beside that encoder, whose tokens it reads.

    `parts`: prefill and step by the names that `captioner` gives them; `files`: the tokenizer. A family that has such
    has a function `captioner(folder, ask) -> Captions`.
    """

    tower: Tower
    captioner: Captioner
    parts: Mapping[str, PartSource]
    files: Mapping[str, bytes] = field(default_factory=dict)


class Family(Protocol):
    """What a family's file has."""

    MODEL_TYPES: tuple[str, ...]
    KINDS: tuple[Kind, ...]
    OUTPUTS: tuple[str, ...]
    load: Callable[[HubFolder, Ask], Tower]


@cache
def families() -> Mapping[str, Family]:
    """Name of the file → family, in alphabetical order."""
    names = sorted(each.name for each in pkgutil.iter_modules(__path__) if not each.name.startswith("_"))
    return {name: cast(Any, importlib.import_module(f".{name}", __name__)) for name in names}


def family_of(folder: HubFolder) -> tuple[str, Family]:
    """The family that reads this folder; `CheckpointError` lists the known ones and the nearest."""
    known = {kind: (name, family) for name, family in families().items() for kind in family.MODEL_TYPES}
    if folder.model_type in known:
        return known[folder.model_type]
    near = did_you_mean(folder.model_type, known)
    hint = f"{near} " if near else ""
    raise CheckpointError(
        f"{folder.path} is of a family that chiasm does not know",
        found=f"model_type {folder.model_type!r}",
        expected=f"one of {', '.join(sorted(known))}",
        fix=f"{hint}A family is one file in export/families; or name a module of your own: module = 'file:factory'",
    )


def kinds_of(folder: HubFolder) -> tuple[Kind, ...]:
    """The kinds of modality that this very checkpoint can encode."""
    family: Any = family_of(folder)[1]
    kinds: tuple[Kind, ...] = family.kinds(folder) if hasattr(family, "kinds") else family.KINDS
    return kinds
