"""The manifest's structs: what manifest.json may say, field by field. docs/bundle-format.md tells the same in prose.

Every struct refuses unknown fields. manifest.py parses, checks the promises between fields, and encodes.
Paths are relative to the bundle, with forward slashes, and never leave it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .decoders import Captioner, Decoder, DiffusionDecoder, OnePassDecoder, PictureInput, Prompt
from .errors import InputError
from .modalities import AudioModality, ImageModality, Mel, Modality, SeriesModality, TextModality
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

    @property
    def nbytes(self) -> int:
        """Bytes of the graph with the files that it refers to."""
        return self.bytes + sum(each.bytes for each in self.external)

    @property
    def digest(self) -> str:
        """What it is made of: the hashes of the graph and of the files that it refers to."""
        return "+".join((self.sha256, *(each.sha256 for each in self.external)))


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
