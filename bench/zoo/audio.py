"""Checkpoints of the sound models: wav2vec 2.0, HuBERT, AST, Whisper, and a mel-spectrogram CNN of our own.

The classes' own initialisation gives sane activations for wav2vec 2.0, HuBERT and AST. Whisper's is too weak: its
convolutions pass on little of what comes in, and the sinusoids of the positions drown it (of the tiny size, embeddings
of different features agree to a cosine of 0.9998), so they are scaled up here. The shares of the layers, where a head
reads all of them, are drawn too: the classes begin with equal ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import Make, Model, Size
from ._write import labelled, seeded, write_json, write_model

__all__ = ["LABELS", "MODELS"]

LABELS = ("silence", "speech", "siren")
"""The classes of the tiny heads."""


def _labels(size: Size, real: int) -> dict[str, Any]:
    return labelled(LABELS if size == "tiny" else tuple(f"class {index}" for index in range(real)))


def _draw_shares(model: Any) -> None:
    if hasattr(model, "layer_weights"):
        model.layer_weights.data.normal_()


_SPEECH_TINY: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 24,
    "codevector_dim": 16, "num_codevectors_per_group": 8, "proj_codevector_dim": 16,
}  # fmt: skip
_SPEECH_LARGE: dict[str, Any] = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
}  # fmt: skip
_CLASSES = "ForSequenceClassification"
_LAYER: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


def _speech(family: str, head: str = "Model", large: bool = False, layers: bool = False) -> Make:
    """wav2vec 2.0 or HuBERT, with the `head` that the published one has. The large ones normalise every layer and were
    trained with the attention mask; `layers`: the head reads a weighted sum of all layers."""

    def make(folder: Path, size: Size, seed: int = 0) -> None:
        import transformers

        numbers = dict(_SPEECH_TINY if size == "tiny" else _SPEECH_LARGE if large else {})
        numbers |= (_LAYER if large else {}) | (_labels(size, 12) if head == _CLASSES else {})
        numbers |= {"use_weighted_layer_sum": True} if layers else {}
        stem = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert"}[family]
        config = getattr(transformers, f"{stem}Config")(**numbers)
        kind = getattr(transformers, f"{stem}{head}")
        extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=large, do_normalize=True)
        with seeded(seed):
            model = kind(config)
            _draw_shares(model)
            write_model(model, folder)
        extractor.save_pretrained(folder)

    return make


def _ast(folder: Path, size: Size, seed: int = 0) -> None:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    tiny = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
            "max_length": 128, "num_mel_bins": 64}  # fmt: skip
    config = ASTConfig(**(tiny if size == "tiny" else {}), **_labels(size, 527))
    extractor = ASTFeatureExtractor(num_mel_bins=config.num_mel_bins, max_length=config.max_length)
    with seeded(seed):
        write_model(ASTForAudioClassification(config), folder)
    extractor.save_pretrained(folder)


def _whisper(classes: bool) -> Make:
    def make(folder: Path, size: Size, seed: int = 0) -> None:
        import torch
        from transformers import (
            WhisperConfig,
            WhisperFeatureExtractor,
            WhisperForAudioClassification,
            WhisperForConditionalGeneration,
        )

        numbers: dict[str, Any] = {"d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "encoder_ffn_dim": 1536,
                                   "decoder_ffn_dim": 1536, "encoder_attention_heads": 6,
                                   "decoder_attention_heads": 6}  # fmt: skip
        seconds = 30
        if size == "tiny":
            seconds = 2
            numbers = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 64,
                       "decoder_ffn_dim": 64, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
                       "max_source_positions": 100, "max_target_positions": 16, "vocab_size": 64, "pad_token_id": 0,
                       "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}  # fmt: skip
        classifies = {"use_weighted_layer_sum": True, **_labels(size, 102)} if classes else {}
        config = WhisperConfig(**numbers, **classifies, classifier_proj_size=24 if size == "tiny" else 256)
        kind = WhisperForAudioClassification if classes else WhisperForConditionalGeneration
        with seeded(seed), torch.no_grad():
            model = kind(config)
            encoder = model.encoder if classes else model.model.encoder
            for layer in (encoder.conv1, encoder.conv2):
                layer.weight.normal_(std=(layer.in_channels * 3) ** -0.5 * 2)
            _draw_shares(model)
            write_model(model, folder)
        WhisperFeatureExtractor(chunk_length=seconds).save_pretrained(folder)

    return make


def _mel_cnn(folder: Path, size: Size, seed: int = 0) -> None:
    from safetensors.torch import save_file

    from ...export.modules.encoders import AudioEncoder

    numbers: dict[str, Any] = {"mels": 40, "channels": [8, 8, 8] if size == "tiny" else [80, 96, 112], "width": 128}
    mel = {"frame_length": 512, "hop": 256, "fft_size": 512, "n_mels": 40, "fmin": 30.0, "scale": "slaney",
           "norm": "slaney", "centre": False, "log": "ln", "floor": 1e-5, "mean": -6.0, "std": 4.0,
           "layout": "mels-first"}  # fmt: skip
    extractor = {"feature_extractor_type": "MelSpec", "sampling_rate": 16000, "seconds": 1.0, "mel": mel}
    with seeded(seed):
        module = AudioEncoder(tuple(numbers["channels"]), numbers["width"], numbers["mels"])
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, folder / "model.safetensors")
    write_json(folder / "config.json", {"model_type": "mel_cnn", **numbers})
    write_json(folder / "preprocessor_config.json", extractor)


_EACH = (
    Model("wav2vec2-base", "wav2vec2", ("audio",), _speech("wav2vec2", "ForPreTraining")),
    Model("wav2vec2-large-lv60", "wav2vec2", ("audio",), _speech("wav2vec2", "ForCTC", large=True)),
    Model("wav2vec2-base-superb", "wav2vec2", ("audio",), _speech("wav2vec2", _CLASSES, layers=True)),
    Model("hubert-base-ls960", "hubert", ("audio",), _speech("hubert")),
    Model("hubert-large-superb", "hubert", ("audio",), _speech("hubert", _CLASSES, large=True, layers=True)),
    Model("ast-audioset", "ast", ("audio",), _ast),
    Model("whisper-tiny", "whisper", ("audio",), _whisper(classes=False)),
    Model("whisper-tiny-classes", "whisper", ("audio",), _whisper(classes=True)),
    Model("mel-cnn", "mel_cnn", ("audio",), _mel_cnn),
)
MODELS: dict[str, Model] = {each.name: each for each in _EACH}
"""Name → checkpoint."""
