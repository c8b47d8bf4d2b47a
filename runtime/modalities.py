"""The manifest's structs of what is sensed: how a raw capture becomes the tensors of its encoder, constant by constant.

modality_rules.py has the promises between their fields.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["AudioModality", "ImageModality", "Mel", "Modality", "SeriesModality", "TextModality"]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class _Modality(_Struct, frozen=True, kw_only=True):
    """What all modalities have: the part that encodes it, its usual rate, and how old a packet may be.

    `max_age_s`: an older packet counts as absent; None: never too old (text). `tokens`: (N, D) of the encoder's output.
    """

    name: str
    part: str
    rate_hz: float
    max_age_s: float | None
    tokens: tuple[int, int]


class ImageModality(_Modality, tag="image", tag_field="kind", frozen=True, kw_only=True):
    """uint8 RGB (H, W, 3) → grey, with one channel → resize → crop → (x·scale − mean) / std → pad → float32
    (1, channels, height, width).

    `resize`: "exact" to `resized`; "fit" inside `resized`, keeping the proportions; "shortest-edge" to `edge`, or until
    (height, width) is covered; "none". `resized`: (height, width), None: that of the tensor. `order` of the two passes
    of a resize: "across" the rows first, or "pillow", as Pillow 13 decides by the sizes. `crop` "centre": what is
    smaller than the tensor gets black around it. `pad` "end": zeros below and to the right.
    """

    height: int
    width: int
    resize: Literal["shortest-edge", "exact", "fit", "none"]
    filter: Literal["nearest", "area", "bilinear", "hamming", "bicubic", "lanczos"]
    crop: Literal["centre", "none"]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    edge: int | None = None
    resized: tuple[int, int] | None = None
    order: Literal["across", "pillow"] = "across"
    pad: Literal["none", "end"] = "none"
    channels: Literal[1, 3] = 3


class Mel(_Struct, frozen=True, kw_only=True):
    """A log-mel front end: the constants of `kernels.MelSpec`, where the order of the work is told.

    Frames of `frame_length` samples, `hop` apart, through a window and a Fourier transform of `fft_size`, to `n_mels`
    triangles between `fmin` and `fmax` Hz (None: half the rate). What has a default is as in the plainest one.
    """

    frame_length: int
    hop: int
    fft_size: int
    n_mels: int
    window: Literal["hann", "hamming", "povey", "rectangular"] = "hann"
    periodic: bool = True
    fmin: float = 0.0
    fmax: float | None = None
    scale: Literal["htk", "kaldi", "slaney"] = "htk"
    triangles: Literal["hertz", "mel"] = "hertz"
    norm: Literal["none", "slaney"] = "none"
    gain: float = 1.0
    remove_dc: bool = False
    preemphasis: float = 0.0
    centre: bool = True
    drop_last: bool = False
    power: Literal[1, 2] = 2
    log: Literal["ln", "log10", "dB"] = "log10"
    floor: float = 1e-10
    range: float | None = None
    mean: float = 0.0
    std: float = 1.0
    layout: Literal["frames-first", "mels-first"] = "frames-first"


class AudioModality(_Modality, tag="audio", tag_field="kind", omit_defaults=True, frozen=True, kw_only=True):
    """float32 (N,) in [-1, 1] at `sample_rate` Hz → the last `samples` → padded to `length` (None: `samples`) →
    normalised → the waveform (1, length), or with `mel` its log-mel.

    `pad`: what a shorter sound gets: zeros "before" or "after" it; copies of itself until it is long enough ("repeat"),
    or while whole ones fit, then zeros ("repeat-whole"); "frames": no samples, but frames of 0 behind its mel, before
    mean and std. `normalise`: zero mean and unit variance over all of "length", or over the "sound" alone, whose
    padding stays zero. `mask`: the encoder also takes int64 (1, length), 1 where there is sound.

    `crops`: axes of the mel: 0: as its layout says, behind the batch; 1: one channel before that; 4: four channels, for
    CLAP's fusion: all of a sound longer than `length` squeezed into its frames, then as many frames from the middle of
    each third of it; of a shorter sound four times the same.
    """

    sample_rate: int
    samples: int
    pad: Literal["before", "after", "repeat", "repeat-whole", "frames"] = "before"
    length: int | None = None
    normalise: Literal["none", "length", "sound"] = "none"
    mask: bool = False
    mel: Mel | None = None
    crops: Literal[0, 1, 4] = 0


class TextModality(_Modality, tag="text", tag_field="kind", frozen=True, kw_only=True):
    """str → ids and mask, int64 (1, length), by the tokenizer file; cut and padded to `length`.

    Special tokens that the file adds survive the cut. `padding`: the side on which `pad_id` fills up (the mask is 0
    there, whatever the id: CLIP pads with its end token); `truncation`: the end of a long text that is cut off; `mask`:
    whether the encoder takes the mask at all (SigLIP does not).
    """

    tokenizer: str
    length: int
    pad_id: int
    padding: Literal["left", "right"] = "right"
    truncation: Literal["left", "right"] = "right"
    mask: bool = True


class SeriesModality(_Modality, tag="series", tag_field="kind", frozen=True, kw_only=True):
    """float32 (T, channels) at `sample_rate` Hz → the last `frames` rows → (x − mean) / std → (1, frames, channels)."""

    frames: int
    channels: int
    sample_rate: float
    mean: float
    std: float


Modality = ImageModality | AudioModality | TextModality | SeriesModality
