"""Checkpoints of pairs that share a space: CLIP, SigLIP and ALIGN.

Real sizes are CLIP ViT-B/32, SigLIP base (patches of 16) and ALIGN base (EfficientNet-B7 and BERT-base), with the
vocabularies that were published; their tokenizers are the small ones of `tokenizers.py`, whose numbers all lie in them.
The classes' own initialisation is kept, except that of ALIGN's EfficientNet (see `image.py`) and of SigLIP's scale and
bias, which the class draws at random: they are log 10 and −10, where its training begins (Zhai et al. 2023).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from . import Make, Model, Size
from ._write import labelled, seeded, write_json, write_model
from .image import LABELS, draw, settle

__all__ = ["MODELS"]

_MEAN, _STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
_HALF = [0.5, 0.5, 0.5]
_TINY: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
_SEEN: dict[str, Any] = {**_TINY, "image_size": 32, "patch_size": 8}


def _clip(kind: str = "CLIPModel") -> Make:
    """The pair, one of its towers with its projection, or the classifier over the picture's tower."""

    def make(folder: Path, size: Size, seed: int = 0) -> None:
        import transformers

        from . import tokenizers

        words = tokenizers.clip()
        text: dict[str, Any] = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
        seen: dict[str, Any] = {}
        if size == "tiny":
            text |= {**_TINY, "vocab_size": len(words), "max_position_embeddings": 32, "projection_dim": 16}
            seen |= {**_SEEN, "projection_dim": 16}
        config: Any = transformers.CLIPConfig(
            text_config=text, vision_config=seen, projection_dim=16 if size == "tiny" else 512, **labelled(LABELS)
        )
        config = {"Vi": config.vision_config, "Te": config.text_config}.get(kind[4:6], config)
        with seeded(seed):
            model = getattr(transformers, kind)(config)
        side = 32 if size == "tiny" else 224
        processor = {  # as openai/clip-vit-base-patch32 has it
            "crop_size": side, "do_center_crop": True, "do_normalize": True, "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": _MEAN, "image_std": _STD, "resample": 3,
            "size": side,
        }  # fmt: skip
        write_model(model, folder, preprocessor_config=processor)
        words.save_pretrained(folder)

    return make


def _siglip(head: bool = False) -> Make:
    """The pair, or the classifier over the picture's tower."""

    def make(folder: Path, size: Size, seed: int = 0) -> None:
        import torch
        import transformers

        words = _siglip_words()
        tiny = {**_TINY, "vocab_size": words.get_vocab_size(), "max_position_embeddings": 32}
        numbers = {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1}
        config = transformers.SiglipConfig(
            text_config={**(tiny if size == "tiny" else {}), **numbers},
            vision_config=_SEEN if size == "tiny" else {}, **labelled(LABELS),
        )  # fmt: skip
        with seeded(seed):
            model: Any = (transformers.SiglipForImageClassification if head else transformers.SiglipModel)(config)
        if not head:
            with torch.no_grad():
                model.logit_scale.fill_(math.log(10.0))
                model.logit_bias.fill_(-10.0)
        side = 32 if size == "tiny" else 224
        processor = {  # as google/siglip-base-patch16-224 has it
            "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": _HALF, "image_std": _HALF,
            "image_processor_type": "SiglipImageProcessor", "processor_class": "SiglipProcessor", "resample": 3,
            "rescale_factor": 0.00392156862745098, "size": {"height": side, "width": side},
        }  # fmt: skip
        write_model(model, folder, preprocessor_config=processor)
        words.save(str(folder / "tokenizer.json"))
        write_json(folder / "tokenizer_config.json", {
            "do_lower_case": True, "eos_token": "</s>", "model_input_names": ["input_ids"], "model_max_length": 64,
            "pad_token": "</s>", "tokenizer_class": "SiglipTokenizer", "unk_token": "<unk>",
        })  # fmt: skip

    return make


def _siglip_words() -> Any:
    """A Unigram of everyday words: <pad> 0, </s> 1, which ends a text and fills it up, <unk> 2."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    from .words import sentences

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator((each.lower() for each in sentences(300)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer


def _align(folder: Path, size: Size, seed: int = 0) -> None:
    import transformers

    from . import tokenizers

    words = tokenizers.bert()
    text: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    if size == "tiny":
        text = {**_TINY, "vocab_size": len(words)}
        seen = {
            "image_size": 32, "in_channels": [32, 16], "out_channels": [16, 24], "kernel_sizes": [3, 5],
            "strides": [1, 2], "num_block_repeats": [1, 1], "expand_ratios": [1, 2], "hidden_dim": 320,
            "width_coefficient": 0.25, "depth_coefficient": 1.0, "depth_divisor": 4,
        }  # fmt: skip
    config = transformers.AlignConfig(
        text_config=text, vision_config=seen, projection_dim=8 if size == "tiny" else 640,
        temperature_init_value=0.05,
    )  # fmt: skip
    side, crop = (40, 32) if size == "tiny" else (346, 289)
    with seeded(seed):
        model = transformers.AlignModel(config)
        draw(model.vision_model)
        settle(model.vision_model, crop)
    processor = {  # as kakaobrain/align-base has it
        "crop_size": {"height": crop, "width": crop}, "do_center_crop": True, "do_normalize": False,
        "do_rescale": True, "do_resize": True, "image_mean": _HALF, "image_std": _HALF,
        "image_processor_type": "EfficientNetImageProcessor", "include_top": False, "resample": 2,
        "rescale_factor": 1 / 127.5, "rescale_offset": True, "size": {"height": side, "width": side},
    }  # fmt: skip
    write_model(model, folder, preprocessor_config=processor)
    words.save_pretrained(folder)


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model("clip", "clip", ("image", "text"), _clip()),
        Model("clip-image", "clip", ("image",), _clip("CLIPVisionModelWithProjection")),
        Model("clip-text", "clip", ("text",), _clip("CLIPTextModelWithProjection")),
        Model("clip-classes", "clip", ("image",), _clip("CLIPForImageClassification")),
        Model("siglip", "siglip", ("image", "text"), _siglip()),
        Model("siglip-classes", "siglip", ("image",), _siglip(head=True)),
        Model("align", "align", ("image", "text"), _align),
    )
}
