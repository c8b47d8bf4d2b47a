"""SigLIP (Zhai et al. 2023) of transformers, both towers: `SiglipModel`, and `SiglipForImageClassification`.

There is no class token: an attention head of its own pools the patches, and the last token stands for a text, which is
why short texts are filled up. Probabilities are sigmoids of scale·cosine + bias.
"""

from __future__ import annotations

import math
import string
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError
from ..hub import HubFolder
from . import Ask, Classifier, Kind, Similarity, Tower
from ._pairs import BLOCKED, WORDS, Reading, must_have, text_tower
from ._pixels import Pixels, eager, image_tower, is_classifier, labels_of, sides, unit, vector
from ._words import Words, read_words

MODEL_TYPES = ("siglip",)
KINDS: tuple[Kind, ...] = ("image", "text")
OUTPUTS = ("pooled", "mean", "patches", "class", "tokens")
_SEEN = OUTPUTS[:3]
_CLASS = "SiglipTokenizer"


class SiglipImage(Pixels):
    """`pooled`: by the attention head, in the shared space; `mean`, `patches`: the normalised last states. With
    `patches` the embedding is the pooled one where there is a head, else that of the mean.
    """

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.model(pixels)
        states = cast(Tensor, answer.last_hidden_state)
        if self.output == "patches":
            return states, unit(states.mean(dim=1) if answer.pooler_output is None else answer.pooler_output)
        return vector(states.mean(dim=1) if self.output == "mean" else answer.pooler_output)


class SiglipText(Reading):
    """The last state is pooled. The model was trained without a mask: `masked` says that the tokenizer gives one."""

    def __init__(self, model: nn.Module, output: str, masked: bool) -> None:
        super().__init__(model, output)
        self.masked = masked

    def states(self, ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        wide = None
        if mask is not None and self.masked:
            wide = (1.0 - mask.to(torch.float32))[:, None, None, :] * BLOCKED
        hidden = self.model(input_ids=ids, attention_mask=wide).last_hidden_state
        return hidden, hidden[:, -1]

    def project(self, state: Tensor) -> Tensor:
        return cast(Tensor, self.model.head(state))


def kinds(folder: HubFolder) -> tuple[Kind, ...]:
    """The towers of this checkpoint: a classifier has no text."""
    return ("image",) if is_classifier(folder) else KINDS


def load(folder: HubFolder, ask: Ask) -> Tower:
    """One tower. What both give as `pooled` lies in one space, whose scale and bias are the checkpoint's."""
    must_have(folder, ask, kinds(folder))
    if is_classifier(folder):
        return _classifying(folder, ask)
    from transformers import SiglipModel

    output = ask.chosen(_SEEN if ask.kind == "image" else WORDS)
    model: Any = eager(folder.load(SiglipModel))
    similarity = Similarity(math.exp(model.logit_scale.item()), model.logit_bias.item(), "sigmoid")
    space: dict[str, Any] = {"shared": None, "similarity": None}
    if output in ("pooled", "patches", "tokens"):
        space = {"shared": "siglip", "similarity": similarity}
    if ask.kind == "image":
        seeing = SiglipImage(model.vision_model, output)
        return image_tower(folder, ask, seeing, trained=sides(model.config.vision_config), **space)
    settings = folder.json("tokenizer_config.json") if folder.has("tokenizer_config.json") else {}
    masked = "attention_mask" in (settings.get("model_input_names") or ())
    limit = int(model.config.text_config.max_position_embeddings)
    words = _words(folder, settings) if settings.get("tokenizer_class", _CLASS) == _CLASS else read_words(folder)
    return text_tower(folder, ask, SiglipText(model.text_model, output, masked), words, limit, **space)


def _words(folder: HubFolder, settings: dict[str, Any]) -> Words:
    """tokenizer.json with what `SiglipTokenizer` does in Python before it: lower case, no ASCII punctuation, single
    spaces. Twice does no harm, should the file do so already.
    """
    from tokenizers import Regex, Tokenizer, normalizers

    tokenizer = Tokenizer.from_str(folder.tokenizer().decode("utf-8"))
    steps: list[Any] = [normalizers.Lowercase()] if settings.get("do_lower_case", True) else []
    steps += [
        normalizers.Replace(Regex("[" + "".join(f"\\{each}" for each in string.punctuation) + "]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(),
    ]  # fmt: skip
    inner = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
    tokenizer.normalizer = normalizers.Sequence([*steps, *inner])
    named = settings.get("pad_token", "</s>")
    pad_id = tokenizer.token_to_id(named.get("content", "") if isinstance(named, dict) else str(named))
    if pad_id is None:
        raise CheckpointError(
            f"{folder.path} does not say which token fills a short text", found=f"pad_token {named!r}",
            expected="a pad_token of its vocabulary in tokenizer_config.json",
        )  # fmt: skip
    return Words(tokenizer.to_str().encode(), pad_id, "right", "right", settings.get("model_max_length"))


def _classifying(folder: HubFolder, ask: Ask) -> Tower:
    """The head reads the mean of the patches, which is what is given."""
    from transformers import SiglipForImageClassification

    output = ask.chosen(("mean", "patches"))
    model: Any = folder.load(SiglipForImageClassification)
    head = Classifier(model.classifier, labels_of(model))
    seeing = SiglipImage(eager(model.vision_model), output)
    return image_tower(folder, ask, seeing, trained=sides(model.config.vision_config), classifier=head)
