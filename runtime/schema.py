"""The manifest's structs: what manifest.json may say, field by field. docs/bundle-format.md tells the same in prose.

Every struct refuses unknown fields. manifest.py parses, checks the promises between fields, and encodes.
Paths are relative to the bundle, with forward slashes, and never leave it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .decoders import Captioner, Decoder, DiffusionDecoder, OnePassDecoder, PictureInput, Prompt
from .errors import InputError
from .values import TensorSpec

__all__ = [
    "SCHEMA",
    "AudioModality",
    "Captioner",
    "Decoder",
    "DiffusionDecoder",
    "ExternalFile",
    "Fusion",
    "Head",
    "ImageModality",
    "Manifest",
    "Mel",
    "Modality",
    "Model",
    "OnePassDecoder",
    "Part",
    "PictureInput",
    "Precision",
    "Prompt",
    "SeriesModality",
    "Space",
    "TextModality",
    "Tolerances",
    "Variant",
]

SCHEMA = 1
"""The schema version that this chiasm writes and reads."""

Precision = Literal["fp32", "fp16", "int8-cpu", "int8-trt"]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Model(_Struct, frozen=True, kw_only=True):
    """Who made the model and what it is for."""

    name: str
    version: str
    licence: str
    description: str


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


class ExternalFile(_Struct, frozen=True, kw_only=True):
    """External data of one ONNX graph."""

    file: str
    sha256: str
    bytes: int


class Variant(_Struct, frozen=True, kw_only=True):
    """One precision of one part. `cosine` and `max_relative_error` are measured against torch in FP32."""

    precision: Precision
    file: str
    sha256: str
    bytes: int
    opset: int
    max_relative_error: float
    cosine: float
    external: tuple[ExternalFile, ...] = ()


class Part(_Struct, frozen=True, kw_only=True):
    """One graph: its tensors and its variants. `preferred`: the precision measured best on a CPU at export."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variants: tuple[Variant, ...]
    preferred: Precision


class Fusion(_Struct, frozen=True, kw_only=True):
    """`kinds`: kind → part. Inputs: one token tensor per modality (named after it), presence and age (1, M)."""

    kinds: dict[str, str]
    default: str
    order: tuple[str, ...]
    state: int


class Head(_Struct, frozen=True, kw_only=True):
    """One answer read from an output of a part fed with the state.

    `classes`: probabilities (1, labels) that sum to 1; `embedding`: (1, D) of unit norm, without labels.
    """

    part: str
    output: str
    kind: Literal["classes", "embedding"]
    labels: tuple[str, ...] = ()


class Space(_Struct, frozen=True, kw_only=True):
    """A space that the embeddings of several modalities share: how like two are is scale·cosine + bias.

    `link` makes a probability of it: "softmax" over all candidates, or "sigmoid" of each alone.
    """

    modalities: tuple[str, ...]
    scale: float
    bias: float = 0.0
    link: Literal["softmax", "sigmoid"] = "softmax"


class Tolerances(_Struct, frozen=True, kw_only=True):
    """What `verify` holds the variants to."""

    fp32_max_relative_error: float
    fp16_cosine: float
    int8_cosine: float
    accuracy_drop: float


class Manifest(_Struct, frozen=True, kw_only=True):
    """The whole of manifest.json. `files` are the other files of the bundle with their SHA-256.

    Without `fusion` (and then without heads) the bundle decides nothing: it encodes what modalities it has, or it
    generates.
    """

    schema: int
    model: Model
    modalities: tuple[Modality, ...]
    parts: dict[str, Part]
    fusion: Fusion | None = None
    heads: dict[str, Head]
    tolerances: Tolerances
    files: dict[str, str]
    decoder: Decoder | None = None
    spaces: dict[str, Space] = {}
    captioner: Captioner | None = None
    chiasm: str = ""

    @property
    def fused(self) -> Fusion:
        """The fusion. Raises InputError in a bundle that has none."""
        if self.fusion is None:
            raise InputError(
                "This bundle does not decide",
                found="no fusion in it",
                expected="a bundle with fusion and heads",
                fix="It only generates: use generate" if self.decoder is not None else "It only encodes: use encode",
            )
        return self.fusion
