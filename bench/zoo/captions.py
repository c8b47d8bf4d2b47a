"""Models that describe pictures: BLIP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import Model, Size
from . import tokenizers as words

__all__ = ["MODELS", "blip"]

_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
           "image_size": 32, "patch_size": 8}  # fmt: skip
_TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 48}  # fmt: skip
_PROCESSOR = {"image_processor_type": "BlipImageProcessor", "do_resize": True, "resample": 3, "do_rescale": True,
              "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073],
              "image_std": [0.26862954, 0.26130258, 0.27577711]}  # fmt: skip


def blip(folder: Path, size: Size, seed: int = 0, *, spread: float = 0.3, ending: float = 1.5) -> None:
    """BLIP for captions: ViT-B/16 at 384 and a text decoder of twelve layers, or two layers of 32 each.

    The class's own initialisation says one word for ever (its vision hardly differs from zero, and an output that is
    tied to the input finds its own token likeliest). So weights are drawn with a standard deviation of `spread` over
    the root of their width in thirtieths, and the end token's bias is `ending`: captions of random weights are of many
    tokens and lengths.
    """
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = words.bert()
    vocabulary = len(tokenizer) + 2 if size == "tiny" else 30524
    marks = {"bos_token_id": vocabulary - 2, "eos_token_id": 2, "pad_token_id": 0,
             "sep_token_id": tokenizer.sep_token_id}  # fmt: skip
    vision, text = (_VISION, _TEXT) if size == "tiny" else ({}, {})
    config = BlipConfig(vision_config=vision, text_config={**text, "vocab_size": vocabulary, **marks})
    torch.manual_seed(seed)
    model = BlipForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" not in name.lower():
                tensor.normal_(std=spread * (30.0 / tensor.shape[-1]) ** 0.5 if tensor.dim() > 1 else 0.1)
        model.text_decoder.cls.predictions.bias[tokenizer.sep_token_id] += ending
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    edge = config.vision_config.image_size
    square = {"height": edge, "width": edge}
    processor: dict[str, Any] = {**_PROCESSOR, "size": square, "processor_class": "BlipProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")


MODELS = {"blip": Model("blip", "blip", ("image",), blip)}
