"""Frozen values that go forward from stage to stage. No stage holds another stage; these are all they share.

Structs of msgspec: several are made in every step, and these cost a tenth of a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array", "Asked", "Caption", "Embeddings", "Generation", "OnnxGraph", "Origin", "Packet", "Result", "Snapshot",
    "TensorSpec", "numbers",
]  # fmt: skip

Array = NDArray[Any]


def numbers(array: Array) -> memoryview[float]:
    """The floats of a contiguous array, in place: for the few numbers of a step, far cheaper than NumPy's ways."""
    return cast("memoryview[float]", array.reshape(-1).data)


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, NumPy dtype name and static shape of one tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Origin(msgspec.Struct, frozen=True):
    """Where a graph comes from: the part and precision of a bundle, the hash of graph and weights, and the folder that
    keeps engines made of it. `apart`: it encodes one modality and waits for no other part."""

    part: str
    precision: str
    digest: str
    engines: Path
    apart: bool = False


class OnnxGraph(msgspec.Struct, frozen=True):
    """An ONNX graph ready to be opened: `proto`, and where the weights are that it leaves out.

    `folder` None: the graph is whole. Else every external tensor of `proto` names a file in `folder`; whoever made this
    value has checked those files. `outside`: bytes of all weights that lie there.
    """

    proto: bytes
    folder: Path | None = None
    outside: int = 0
    origin: Origin | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the graph with its weights."""
        return len(self.proto) + self.outside


class Packet(msgspec.Struct, frozen=True, eq=False):
    """One capture of one modality, as its source gave it.

    `data`: image uint8 RGB (H, W, 3), or a `VideoFrame`; audio float32 (N,) in [-1, 1] with `sample_rate` in Hz; text
    `str`; series float32 (T, C). `time_s` is the capture time on the stream's clock, never the arrival time.
    """

    modality: str
    data: Any
    time_s: float = 0.0
    sample_rate: int | None = None


class Snapshot(msgspec.Struct, frozen=True, eq=False):
    """The freshest packet of each modality at `time_s`; an absent modality is not in `packets`.

    `ages` in seconds, for present modalities: `time_s` minus the packet's capture time.
    """

    time_s: float
    packets: Mapping[str, Packet]
    ages: Mapping[str, float]


class Embeddings(Mapping[str, NDArray[np.float32]]):
    """modality → embedding (D,), read-only: bytes that become an array where somebody looks."""

    __slots__ = ("_kept",)

    def __init__(self, kept: Mapping[str, bytes]) -> None:
        self._kept = kept

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return np.frombuffer(self._kept[name], np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return repr(dict(self))


class Result(msgspec.Struct, frozen=True, eq=False):
    """One decision.

    `embedding` (D,) fused, unit norm; `embeddings` the same per present modality; `scores[head][label]` probabilities;
    `labels[head]` the best label; `weights[modality]` sum to 1 over present modalities; `ages` in seconds;
    `timings` seconds per stage (`preprocess.image`, `encode.image`, `fuse`, `heads`, `total`, ...);
    `encoded` the modalities whose encoder ran in this step (the others were kept from before); `snapshot` what it was
    made from (sinks draw on its picture).
    """

    time_s: float
    embedding: NDArray[np.float32]
    embeddings: Mapping[str, NDArray[np.float32]]
    scores: Mapping[str, Mapping[str, float]]
    labels: Mapping[str, str]
    weights: Mapping[str, float]
    ages: Mapping[str, float]
    timings: Mapping[str, float]
    encoded: tuple[str, ...] = ()
    snapshot: Snapshot | None = None

    @property
    def present(self) -> tuple[str, ...]:
        """Modalities that took part, in the order of the manifest."""
        return tuple(self.ages)

    def to_dict(self, *, embedding: bool = False) -> dict[str, Any]:
        """Plain types for JSON; the embedding only when asked for."""
        out: dict[str, Any] = {
            "time_s": self.time_s,
            "labels": dict(self.labels),
            "scores": {head: dict(scores) for head, scores in self.scores.items()},
            "weights": dict(self.weights),
            "ages": dict(self.ages),
            "encoded": list(self.encoded),
            "timings": dict(self.timings),
        }
        if embedding:
            out["embedding"] = [float(value) for value in self.embedding]
        return out


class Asked(msgspec.Struct, frozen=True, eq=False):
    """What a caller asks of a generation, as it was handed in; None is the bundle's own choice, or nothing."""

    steps: Any = None
    seed: Any = 0
    guidance: Any = None
    decoder: Any = None
    preview: bool = False
    negative: Any = None
    mask: Any = None
    strength: Any = None
    noise: Any = None


class Caption(msgspec.Struct, frozen=True, eq=False):
    """What a captioner says of a picture.

    `tokens`: all of them, as transformers' `generate` gives them, with the prompt and the end; `score`: sum of the
    log-probabilities of the new ones over their number to the power of the length penalty; `timings` in seconds
    (`preprocess.image`, `encode.image`, `prefill`, `steps`, `total`).
    """

    text: str
    score: float
    tokens: tuple[int, ...]
    timings: Mapping[str, float] = {}

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return {
            "text": self.text,
            "score": self.score,
            "tokens": list(self.tokens),
            "timings": dict(self.timings),
        }


class Generation(msgspec.Struct, frozen=True, eq=False):
    """One step of a generation: `step` of `steps`; `latents` (C, h, w), the clean estimate x0 after this step.

    After the last step they are what the sampler ends on; of a one-pass generator, the picture (3, H, W) in [-1, 1].
    `picture` uint8 (H, W, 3): on the last step; on every step when asked for (`preview=True`).
    """

    step: int
    steps: int
    latents: NDArray[np.float32]
    picture: NDArray[np.uint8] | None = None
    timings: Mapping[str, float] = {}
