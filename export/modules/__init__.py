"""Torch modules of our own: encoders, fusion heads, task heads, autoencoder, denoiser."""

from __future__ import annotations
