"""Torch modules of our own: encoders, fusion heads, task heads, autoencoder, denoiser."""

from __future__ import annotations

__all__ = ["KINDS"]

KINDS: dict[str, str] = {
    "image_cnn": "encoders:ImageEncoder",
    "image_patches": "encoders:PatchImageEncoder",
    "text_transformer": "encoders:TextEncoder",
    "audio_cnn": "encoders:AudioEncoder",
    "radar_cnn": "encoders:RadarEncoder",
    "early": "fusion:EarlyFusion",
    "middle": "fusion:MiddleFusion",
    "late": "fusion:LateFusion",
    "hybrid": "fusion:HybridFusion",
    "gated": "fusion:GatedFusion",
    "adaptive": "fusion:AdaptiveFusion",
    "mean": "fusion:MeanFusion",
    "heads": "heads:Heads",
    "denoiser": "denoiser:Denoiser",
    "picture_encoder": "autoencoder:PictureEncoder",
    "picture_decoder": "autoencoder:PictureDecoder",
}
"""File and class of each `kind` that a checkpoint's config.json may name; imported only when asked for."""
