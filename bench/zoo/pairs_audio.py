"""Checkpoints of CLAP: sound and text in one space, the sound with the fusion of crops or without.

Real sizes are those of clap-htsat-unfused and -fused: HTSAT-tiny over 10 s at 48 kHz, and RoBERTa-base. The class's own
initialisation hardly tells sounds apart (of the real size, embeddings of noise and of a tone agree to a cosine of
0.95), so the weights of the audio tower are drawn wider (then 0.07), and the statistics of its first batch
normalisation are of the decibels that it normalises.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import Make, Model, Size
from ._write import seeded, write_model
from .tokenizers import roberta

__all__ = ["MODELS"]


def _clap(fused: bool) -> Make:
    def make(folder: Path, size: Size, seed: int = 0) -> None:
        from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

        tokenizer = roberta()
        text: dict[str, Any] = {}
        audio: dict[str, Any] = {"enable_fusion": fused, "fusion_type": "aff_2d" if fused else None}
        numbers: dict[str, Any] = {}
        seconds = 10
        if size == "tiny":
            seconds, numbers = 1, {"projection_dim": 16}
            text = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
                    "max_position_embeddings": 82, "vocab_size": len(tokenizer)}  # fmt: skip
            audio |= {"spec_size": 128, "num_mel_bins": 64, "patch_embeds_hidden_size": 16, "depths": [2, 1],
                      "num_attention_heads": [2, 4], "window_size": 4, "hidden_size": 32}  # fmt: skip
        config = ClapConfig(text_config=text, audio_config=audio, **numbers)
        extractor = ClapFeatureExtractor(
            max_length_s=seconds, frequency_min=50, truncation="fusion" if fused else "rand_trunc"
        )
        with seeded(seed):
            model = ClapModel(config)
            _settle(model.audio_model.audio_encoder)
            write_model(model, folder)
        extractor.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return make


def _settle(encoder: Any) -> None:
    """Wider weights, and statistics as of real sounds."""
    import torch

    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
                module.weight.normal_(std=module.weight[0].numel() ** -0.5)
            if isinstance(module, torch.nn.BatchNorm2d):
                statistics: Any = module
                statistics.running_mean.normal_(std=0.1)
                statistics.running_var.uniform_(0.5, 1.5)
        encoder.batch_norm.running_mean.normal_(-35.0, 5.0)
        encoder.batch_norm.running_var.uniform_(150.0, 250.0)
        for name, each in encoder.named_parameters():
            if name.endswith("relative_position_bias_table"):
                each.normal_(std=0.5)


_EACH = (
    Model("clap-htsat-unfused", "clap", ("audio", "text"), _clap(fused=False)),
    Model("clap-htsat-fused", "clap", ("audio", "text"), _clap(fused=True)),
)
MODELS: dict[str, Model] = {each.name: each for each in _EACH}
"""Name → checkpoint."""
