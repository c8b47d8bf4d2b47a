"""BLIP (Li et al. 2022): a vision transformer, and a text decoder that describes what it saw.

As an encoder of images it gives every patch and the class token, which is what its text decoder reads. `captioner` is
that decoder in two parts that share no weight: one makes keys and values of the patches, once a picture; the other
reads a token. A step attends to what it is handed of the past and to itself, side by side, so that nothing in its
graph depends on how long the text is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError, ExportError
from ...runtime.manifest import Captioner
from .. import interfaces
from ..assembly import PartSource
from . import Ask, Captions, Kind, Tower
from ._pixels import Pixels, image_tower, unit, vector
from ._text import BLOCKED
from ._words import read_words

if TYPE_CHECKING:
    from ..hub import HubFolder

MODEL_TYPES = ("blip",)
KINDS: tuple[Kind, ...] = ("image",)
OUTPUTS = ("patches", "pooled", "mean")

LENGTH = 64
"""Tokens of prompt and caption together, unless asked otherwise: BLIP was trained on captions of at most 40."""
_PREFILL, _STEP = "caption.prefill", "caption.step"


class BlipVision(Pixels):
    """`patches`: the class token and every patch, the embedding is the pooled class token; `mean`: of the patches."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.model(pixels)
        hidden = cast(Tensor, answer.last_hidden_state)
        if self.output == "patches":
            return hidden, unit(answer.pooler_output)
        return vector(hidden[:, 1:].mean(dim=1) if self.output == "mean" else answer.pooler_output)


class Prefill(nn.Module):
    """Tokens of the encoder (1, N, D) → keys and values (layers, heads, N, size) of the attention to them."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        attentions = [layer.crossattention.self for layer in decoder.bert.encoder.layer]
        self.heads = attentions[0].num_attention_heads
        self.keys = nn.ModuleList([each.key for each in attentions])
        self.values = nn.ModuleList([each.value for each in attentions])

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        keys = [_heads(key(tokens), self.heads) for key in self.keys]
        return torch.cat(keys), torch.cat([_heads(value(tokens), self.heads) for value in self.values])


class Step(nn.Module):
    """One token → logits of the next (1, V), and its own keys and values (layers, heads, 1, size).

    ``keys`` and ``values`` hold those of earlier tokens before ``position`` and anything finite behind it.
    """

    def __init__(self, decoder: Any, length: int) -> None:
        super().__init__()
        self.embeddings, self.answer = decoder.bert.embeddings, decoder.cls
        self.layers = nn.ModuleList(decoder.bert.encoder.layer)
        self.register_buffer("places", torch.arange(length)[None], persistent=False)

    def forward(
        self, token: Tensor, position: Tensor, keys: Tensor, values: Tensor, seen_keys: Tensor, seen_values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = self.embeddings(input_ids=token, position_ids=position)
        later = (cast(Tensor, self.places) >= position).to(torch.float32) * BLOCKED
        blocked = torch.cat([later, torch.zeros(1, 1)], dim=1)[:, None, None]
        new_keys, new_values = [], []
        for index, each in enumerate(self.layers):
            layer: Any = each
            own, cross = layer.attention, layer.crossattention
            heads = own.self.num_attention_heads
            key, value = _heads(own.self.key(x), heads), _heads(own.self.value(x), heads)
            past = (keys[index : index + 1], values[index : index + 1])
            query = _heads(own.self.query(x), heads)
            read = _attend(query, torch.cat([past[0], key], 2), torch.cat([past[1], value], 2), blocked)
            x = own.output(read, x)
            seen = (seen_keys[index : index + 1], seen_values[index : index + 1])
            x = cross.output(_attend(_heads(cross.self.query(x), heads), *seen), x)
            x = layer.feed_forward_chunk(x)
            new_keys.append(key)
            new_values.append(value)
        # Of one row the exporter makes a product with the table as it lies: embedding and answer share it in the graph.
        return self.answer(x[:, 0]), torch.cat(new_keys), torch.cat(new_values)


def _heads(x: Tensor, heads: int) -> Tensor:
    """(1, N, D) → (1, heads, N, D / heads)."""
    return x.reshape(1, x.shape[1], heads, -1).transpose(1, 2)


def _attend(query: Tensor, keys: Tensor, values: Tensor, blocked: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention; `blocked` is added to the scores. (1, heads, N, size) → (1, N, heads · size)."""
    scores = query @ keys.transpose(2, 3) / math.sqrt(query.shape[3])
    if blocked is not None:
        scores = scores + blocked
    return (torch.softmax(scores, dim=-1) @ values).transpose(1, 2).flatten(2)


def load(folder: HubFolder, ask: Ask) -> Tower:
    """The vision transformer alone."""
    return _tower(folder, ask, _whole(folder).vision_model)


def captioner(folder: HubFolder, ask: Ask) -> Captions:
    """The encoder of the modality that `ask` names, and what describes it. `ask.length`: of prompt and caption."""
    whole = _whole(folder)
    tower = _tower(folder, ask, whole.vision_model)
    if ask.chosen(OUTPUTS) != "patches":
        raise ExportError(f"The captions of {ask.name!r} need its patches", found=ask.output, expected="patches")
    words, decoder = read_words(folder), whole.text_decoder
    file = f"{ask.name}.tokenizer.json"
    made = _captioner(folder, ask, decoder, file)
    prefill, step = Prefill(decoder).eval(), Step(decoder, made.length).eval()
    parts = {
        _PREFILL: PartSource(interfaces.caption_prefill(made, tower.modality.tokens), lambda: prefill),
        _STEP: PartSource(interfaces.caption_step(made, tower.modality.tokens), lambda: step),
    }
    return Captions(tower, made, parts, {file: words.file})


def _whole(folder: HubFolder) -> Any:
    from transformers import BlipForConditionalGeneration

    kinds = folder.config.get("architectures") or ["BlipForConditionalGeneration"]
    if kinds[0] != "BlipForConditionalGeneration":
        raise CheckpointError(
            f"{folder.path} is a BLIP that chiasm does not read", found=kinds[0],
            expected="BlipForConditionalGeneration", fix="Take a checkpoint for captions",
        )  # fmt: skip
    return folder.load(BlipForConditionalGeneration)


def _tower(folder: HubFolder, ask: Ask, model: Any) -> Tower:
    size = int(model.config.image_size)
    return image_tower(folder, ask, BlipVision(model, ask.chosen(OUTPUTS)), trained=(size, size))


def _captioner(folder: HubFolder, ask: Ask, decoder: Any, file: str) -> Captioner:
    """What the manifest says; the searches' settings are those that `generate` would take from the checkpoint."""
    config, search = decoder.config, _search(folder, decoder.generation_config)
    most = int(config.max_position_embeddings)
    length = min(LENGTH, most) if ask.length is None else ask.length
    if not 2 <= length <= most:
        raise ExportError(
            f"{folder.path} cannot make captions of that length", found=f"length {length}", expected=f"2 to {most}"
        )
    heads = int(config.num_attention_heads)
    return Captioner(
        modality=ask.name, prefill=_PREFILL, step=_STEP, tokenizer=file, bos_id=int(config.bos_token_id),
        eos_id=int(config.sep_token_id), pad_id=int(config.pad_token_id), vocabulary=int(config.vocab_size),
        length=length, cache=(int(config.num_hidden_layers), heads, int(config.hidden_size) // heads),
        max_tokens=min(int(search.max_new_tokens or 20), length - 1), beams=int(search.num_beams or 1),
        length_penalty=float(1.0 if search.length_penalty is None else search.length_penalty),
        early_stopping=search.early_stopping or False,
    )  # fmt: skip


def _search(folder: HubFolder, found: Any) -> Any:
    """The settings of `generate`, if they are those that the runtime's searches have."""
    usual = {
        "do_sample": False, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_length": 0, "min_new_tokens": 0,
        "num_beam_groups": 1, "diversity_penalty": 0.0, "bad_words_ids": None, "forced_eos_token_id": None,
    }  # fmt: skip
    other = {name: getattr(found, name, None) for name in usual}
    other = {name: value for name, value in other.items() if value is not None and value != usual[name]}
    if other:
        raise ExportError(
            f"{folder.path} asks for a search that chiasm does not have",
            found=", ".join(f"{name} {value}" for name, value in other.items()),
            expected="greedy or beam search", fix="Take it out of text_config in config.json",
        )  # fmt: skip
    return found
