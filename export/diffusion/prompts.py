"""Text encoders of pipelines as parts: ids (1, N) → what the denoiser takes of them.

CLIP gives the last states (Stable Diffusion), or those before the last layer and the projected state at the end token
(SDXL, SD 3); T5 gives its last states. None of them reads a mask: that is how the pipelines were trained.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError, ExportError
from ...runtime.manifest import Prompt
from ...runtime.values import TensorSpec
from ..assembly import PartSource
from ..families._pairs import BLOCKED, first_of
from ..hub import HubFolder, check_weights, quiet
from ..interfaces import Interface
from . import Words
from .folder import PipelineFolder, read_json

__all__ = ["PART", "clip_words", "t5_words"]

PART = "prompt.{}"
"""The part of a prompt."""
_CLIP = ("CLIPTextModel", "CLIPTextModelWithProjection")
_POSITIONS = ("text_model.embeddings.position_ids", "embeddings.position_ids")
"""Old files carry these constants."""
_TOKENS = 256
"""Tokens of T5, unless asked otherwise: diffusers' own."""


class ClipWords(nn.Module):
    """`penultimate`: the states before the last layer, not normalised. `pooled`: also the projected end state."""

    later: Tensor

    def __init__(self, model: Any, projection: nn.Module | None, *, penultimate: bool) -> None:
        super().__init__()
        self.model, self.projection, self.penultimate = model, projection, penultimate
        most = model.config.max_position_embeddings
        self.register_buffer("later", torch.full((1, 1, most, most), BLOCKED).triu(1), persistent=False)
        if penultimate and projection is None:
            model.encoder.layers = model.encoder.layers[:-1]

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        count = ids.shape[1]
        later = self.later[:, :, :count, :count]
        hidden = before = self.model.embeddings(input_ids=ids)
        for layer in self.model.encoder.layers:
            before = hidden
            hidden = layer(hidden, later)
        if self.projection is None:
            return (hidden,) if self.penultimate else (self.model.final_layer_norm(hidden),)
        last = self.model.final_layer_norm(hidden)
        end = self.model.config.eos_token_id
        # Early files say 2 where they mean the token of the highest number, which is the end token.
        marks = ids == (ids.amax(dim=1, keepdim=True) if end == 2 else end)
        return before if self.penultimate else last, self.projection(first_of(marks, last))


class T5Words(nn.Module):
    """The last states; the bias of the relative positions is a constant."""

    def __init__(self, model: Any, length: int) -> None:
        super().__init__()
        self.model = model
        first = model.encoder.block[0].layer[0].SelfAttention
        with torch.no_grad():
            bias = first.compute_bias(length, length).clone()
        first.compute_bias = lambda *sizes, **options: bias
        self.register_buffer("open", torch.zeros(1, 1, 1, length), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        states: Tensor = self.model(input_ids=ids, attention_mask=self.open).last_hidden_state
        return states


def clip_words(folder: PipelineFolder, name: str, number: str, *, penultimate: bool, pooled: bool) -> Words:
    """The CLIP text encoder in `text_encoder<number>` with its tokenizer. `name`: of the prompt."""
    config = folder.config(f"text_encoder{number}", _CLIP)
    config = config.get("text_config", config)
    place, projected = folder.at(f"text_encoder{number}"), folder.index[f"text_encoder{number}"][1] == _CLIP[1]
    if config.get("use_attention_mask"):
        raise CheckpointError(f"{place} reads a mask", found="use_attention_mask", expected="a CLIP text encoder")
    if pooled and not projected:
        raise CheckpointError(f"{place} has no projection", found=_CLIP[0], expected=_CLIP[1])
    check_weights(place)
    file, pad_id, limit = _clip_tokenizer(folder, f"tokenizer{number}")
    length = min(limit, int(config.get("max_position_embeddings", 77)))
    width = int(config.get("hidden_size", 512))
    shapes: dict[str, tuple[int, ...]] = {"tokens": (1, length, width)}
    if pooled:
        shapes["pooled"] = (1, int(config.get("projection_dim", 512)))

    def load() -> nn.Module:
        import transformers

        whole: Any = HubFolder(place).load(getattr(transformers, _CLIP[projected]), unused=_POSITIONS)
        whole.set_attn_implementation("eager")
        inner = whole.text_model if projected else whole
        return ClipWords(inner, whole.text_projection if pooled else None, penultimate=penultimate).eval()

    return _words(name, length, pad_id, load, file, shapes)


def t5_words(folder: PipelineFolder, name: str, number: str, length: int | None) -> Words:
    """The T5 encoder in `text_encoder<number>`; its tokenizer must be there as tokenizer.json."""
    config = folder.config(f"text_encoder{number}", ("T5EncoderModel",))
    place, tokenizer = folder.at(f"text_encoder{number}"), folder.at(f"tokenizer{number}")
    if not (tokenizer / "tokenizer.json").is_file():
        raise CheckpointError(
            f"{tokenizer} has no tokenizer.json", found="a SentencePiece model only",
            expected="the fast tokenizer, in one file",
            fix='Make it (needs sentencepiece): python -c "from transformers import AutoTokenizer as t; '
            f"t.from_pretrained('{tokenizer}', use_fast=True).save_pretrained('{tokenizer}')\"",
        )  # fmt: skip
    check_weights(place)
    file, pad_id, _ = _fast_tokenizer(tokenizer, "T5Tokenizer")
    tokens = _TOKENS if length is None else length
    if not 2 <= tokens <= 4096:
        raise ExportError("decoder.length cannot be used", found=length, expected="2 to 4096 tokens of T5")

    def load() -> nn.Module:
        from transformers import T5EncoderModel

        whole: Any = HubFolder(place).load(T5EncoderModel, unused=("decoder.", "lm_head."))
        whole.set_attn_implementation("eager")
        return T5Words(whole, tokens).eval()

    return _words(name, tokens, pad_id, load, file, {"tokens": (1, tokens, int(config.get("d_model", 512)))})


def _words(
    name: str, length: int, pad_id: int, load: Any, tokenizer: bytes, shapes: dict[str, tuple[int, ...]]
) -> Words:
    prompt = Prompt(part=PART.format(name), tokenizer=f"{name}.tokenizer.json", length=length, pad_id=pad_id)
    interface = Interface("prompt", (TensorSpec("ids", "int64", (1, length)),), tuple(shapes))
    return Words(prompt, PartSource(interface, load), tokenizer, shapes)


def _clip_tokenizer(folder: PipelineFolder, name: str) -> tuple[bytes, int, int]:
    """tokenizer.json of a CLIP tokenizer, made of vocab.json and merges.txt where there is none; pad id; length."""
    path = folder.at(name)
    whole = all((path / file).is_file() for file in ("vocab.json", "merges.txt"))
    if not whole and not (path / "tokenizer.json").is_file():
        expected = "vocab.json and merges.txt, or tokenizer.json"
        raise CheckpointError(f"{path} is not a CLIP tokenizer", expected=expected)
    return _fast_tokenizer(path, "CLIPTokenizer")


def _fast_tokenizer(path: Any, kind: str) -> tuple[bytes, int, int]:
    """(tokenizer.json, pad id, length) as transformers builds it from a folder."""
    config = path / "tokenizer_config.json"
    if config.is_file() and "auto_map" in read_json(config):
        raise CheckpointError(f"{path} asks for code of its own to be run", found="auto_map", fix="Never run")
    with quiet():
        import transformers

        try:
            built = getattr(transformers, kind).from_pretrained(path, local_files_only=True, trust_remote_code=False)
            file = built.backend_tokenizer.to_str()
        except Exception as error:  # the tokenizers library raises bare Exception
            reason = str(error).split("\n")[0]
            raise CheckpointError(f"The tokenizer in {path} cannot be read", found=reason) from error
    limit = built.model_max_length
    return file.encode(), int(built.pad_token_id or 0), int(limit) if limit < 2**20 else 77
