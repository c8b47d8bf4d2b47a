"""Text models: BERT and its kin, a sentence-transformers chain, T5, GPT-2, and word vectors.

The classes' own initialisation, but for the biases and the scales of normalisations, which it leaves at 0 and 1: they
are drawn too, so that one that is overlooked shows. Tokenizers have some 900 tokens; a `real` model keeps its published
vocabulary all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import Make, Model, Size
from . import tokenizers as words

__all__ = ["MODELS", "classifier"]

_BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_LABELS = ("clear", "closing", "siren")
_TINY: dict[str, dict[str, Any]] = {
    "Bert": _BERT | {"max_position_embeddings": 64},
    "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64},
    "MPNet": _BERT | {"max_position_embeddings": 66},
    "Roberta": _BERT | {"max_position_embeddings": 66},
    "XLMRoberta": _BERT | {"max_position_embeddings": 66},
    "T5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
}
_REAL: dict[str, dict[str, Any]] = {
    "MPNet": {"vocab_size": 30527, "max_position_embeddings": 514},
    "Roberta": {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
    "XLMRoberta": {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1},
    "T5": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
}
"""Where the class's defaults are not the published base model."""
_TOKENIZERS: dict[str, Callable[[], Any]] = {
    "Bert": words.bert, "DistilBert": words.distilbert, "MPNet": words.mpnet, "Roberta": words.roberta,
    "XLMRoberta": words.xlm_roberta, "T5": words.t5, "GPT2": words.gpt2,
}  # fmt: skip
_HEADS = {"T5": "ForConditionalGeneration"}
"""What a hub serves where it is not the bare model."""


def _write(name: str, head: str, folder: Path, size: Size, seed: int, **config: Any) -> None:
    """A model of the transformers class `<name><head>`, and its tokenizer."""
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = _TOKENIZERS[name]()
    torch.manual_seed(seed)
    settings = {"vocab_size": len(tokenizer), **_TINY[name]} if size == "tiny" else _REAL.get(name, {})
    made = getattr(transformers, f"{name}Config")(**settings, **config)
    model = getattr(transformers, f"{name}{head}")(made).eval()
    shake(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def shake(model: Any) -> None:
    """Draw the vectors of a model (biases, scales of normalisations) around what they are."""
    import torch

    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.dim() == 1:
                tensor += torch.randn_like(tensor) * 0.1


def _maker(name: str) -> Make:
    def make(folder: Path, size: Size, seed: int = 0) -> None:
        _write(name, _HEADS.get(name, "Model"), folder, size, seed)

    return make


def classifier(name: str, folder: Path, size: Size, seed: int = 0) -> None:
    """A sequence classifier of three labels; `name`: Bert, DistilBert, MPNet, Roberta or GPT2."""
    labels = {"id2label": dict(enumerate(_LABELS)), "label2id": {label: index for index, label in enumerate(_LABELS)}}
    _write(name, "ForSequenceClassification", folder, size, seed, **labels)


def sentence_transformer(folder: Path, size: Size, seed: int = 0) -> None:
    """The shape of all-MiniLM-L6-v2: six layers of 384, mean pooling, unit length; here with a dense layer between."""
    import torch
    from safetensors.torch import save_file

    small = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    _write("Bert", "Model", folder, size, seed, **(small if size == "real" else {}))
    width = 384 if size == "real" else 32
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    places = ["", *(f"{index}_{kind}" for index, kind in enumerate(kinds) if index)]
    modules = [
        {"idx": index, "name": str(index), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, place) in enumerate(zip(kinds, places, strict=True))
    ]
    pooling = {"word_embedding_dimension": width, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
               "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}  # fmt: skip
    dense = {"in_features": width, "out_features": width // 2, "bias": True,
             "activation_function": "torch.nn.modules.activation.Tanh"}  # fmt: skip
    files: dict[str, Any] = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": 256 if size == "real" else 48, "do_lower_case": False},
        "1_Pooling/config.json": pooling, "2_Dense/config.json": dense,
    }  # fmt: skip
    for name in places[1:]:
        (folder / name).mkdir()
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    layer = torch.nn.Linear(width, width // 2)
    save_file({f"linear.{name}": value for name, value in layer.state_dict().items()},
              folder / "2_Dense" / "model.safetensors")  # fmt: skip


def word_vectors(folder: Path, size: Size, seed: int = 0) -> None:
    """GloVe: no first line, words in small letters; `real` has 400,000 words of 100 numbers."""
    import numpy as np

    from .words import SCRIPTS

    known = [word.lower() for _, text in SCRIPTS.values() for word in text.split(" ")]
    known += ["<unk>", ". . .", ".", ","]
    count, width = (400_000, 100) if size == "real" else (len(known), 16)
    known += [f"word{index}" for index in range(count - len(known))]
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"glove.{width}d.txt", "w", encoding="utf-8") as file:
        for word in dict.fromkeys(known):
            file.write(f"{word} {' '.join(f'{value:.5f}' for value in random.standard_normal(width) * 0.3)}\n")


MODELS = {
    name: Model(name, family, ("text",), make)
    for name, family, make in [
        ("bert", "bert", _maker("Bert")),
        ("distilbert", "distilbert", _maker("DistilBert")),
        ("mpnet", "mpnet", _maker("MPNet")),
        ("roberta", "roberta", _maker("Roberta")),
        ("xlm-roberta", "roberta", _maker("XLMRoberta")),
        ("t5", "t5", _maker("T5")),
        ("gpt2", "gpt2", _maker("GPT2")),
        ("sentence-transformers", "sentence_transformers", sentence_transformer),
        ("word-vectors", "word_vectors", word_vectors),
    ]
}
