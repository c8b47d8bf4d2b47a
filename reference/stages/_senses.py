"""The four senses of a split as tensors, ready for the encoders; shared by the perception stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from ...export.modules.encoders import LogMel
from ..dataset import ATTRIBUTES, Scenes

__all__ = ["Senses", "load_senses", "log_mels", "normal_mel", "silence", "to_pixels", "to_waveform"]


@dataclass(frozen=True)
class Senses:
    """``ids`` (N, captions + notes, 32), ``mels`` (N, 40, 61) fp16 without normalisation, ``truth`` (N, K), and the
    scenes.
    """

    scenes: Scenes
    ids: Tensor
    mels: Tensor
    truth: Tensor
    facts: Tensor

    def __len__(self) -> int:
        return len(self.scenes)


def to_pixels(images: NDArray[np.uint8], device: str) -> Tensor:
    """uint8 (B, 64, 64, 3) → (B, 3, 64, 64) in [-1, 1]: mean 0.5 and deviation 0.5, as the runtime does it."""
    pixels = torch.from_numpy(np.array(images)).to(device)
    return (pixels.permute(0, 3, 1, 2).float() / 255.0 - 0.5) / 0.5


def to_waveform(sound: NDArray[np.int16], device: str) -> Tensor:
    """int16 (B, 16000) → float32 in [-1, 1]."""
    return torch.from_numpy(np.array(sound)).to(device).float() / 32767.0


def tokenise(scenes: Scenes, tokenizer: Path) -> Tensor:
    """Ids (N, captions + notes, 32) of every text of every scene; 0 is padding."""
    coder = Tokenizer.from_file(str(tokenizer))
    lines = [
        line for captions, notes in zip(scenes.captions, scenes.notes, strict=True) for line in (*captions, *notes)
    ]
    ids = np.array([encoding.ids for encoding in coder.encode_batch(lines)], np.int16)
    return torch.from_numpy(ids.reshape(len(scenes), -1, ids.shape[1]))


@torch.no_grad()
def log_mels(sound: NDArray[np.int16], mel: LogMel, device: str) -> Tensor:
    """Log-mel spectrograms (N, 40, 61) in fp16, with the mean and deviation of ``mel``."""
    pieces = [mel(to_waveform(sound[at : at + 256], device)).half().cpu() for at in range(0, len(sound), 256)]
    return torch.cat(pieces)


def normal_mel(mels: Tensor, mel: LogMel, device: str) -> Tensor:
    """Raw log-mel spectrograms as ``mel`` would have returned them: minus its mean, divided by its deviation."""
    return (mels.float().to(device) - mel.mean) / mel.deviation


def silence(mel: LogMel, device: str) -> Tensor:
    """One frame (40,) of the normalised spectrogram of zeros."""
    quiet: Tensor = mel(torch.zeros(1, 512, device=device))
    return quiet[0, :, 0]


def load_senses(scenes: Scenes, tokenizer: Path, device: str) -> Senses:
    """Everything but the pixels, which stay memory-mapped in ``scenes``."""
    mel = LogMel(mean=0.0, deviation=1.0).to(device)
    truth = np.stack([scenes.attributes[name] for name in ATTRIBUTES], axis=1)
    return Senses(
        scenes,
        tokenise(scenes, tokenizer),
        log_mels(scenes.sound, mel, device),
        torch.from_numpy(truth),
        torch.from_numpy(scenes.facts.copy()).long(),
    )
