"""A frozen description of one export: which precisions, how they are chosen, and what they are held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from ..runtime.bundle import INLINE
from ..runtime.errors import ExportError
from ..runtime.manifest import Tolerances

__all__ = ["OPSET", "PRECISIONS", "TOLERANCES", "Settings"]

OPSET = 20
"""The newest opset that every consumer takes: TensorRT 10.3 (JetPack 6) parses up to 20, ONNX Runtime 1.20 up to 21."""

PRECISIONS = ("fp32", "fp16", "int8-cpu", "int8-trt")
"""Variants that an export can make. FP32 is always among them: the others are measured against it."""
DEFAULT = ("fp32", "fp16", "int8-cpu")
"""Those that it makes unless it is told; `int8-trt` serves TensorRT alone."""

TOLERANCES = Tolerances(fp32_max_relative_error=1e-4, fp16_cosine=0.999, int8_cosine=0.99, accuracy_drop=0.01)
"""FP32 is held to torch tensor by tensor, FP16 and INT8 to FP32 by cosine, and all to the fused accuracy of FP32."""


@dataclass(frozen=True)
class Settings:
    """What one export makes.

    `samples`: how many calibration samples set the INT8 ranges; `checks`: how many feeds each variant is compared on;
    `worth`: a variant is preferred over FP32 only where its median time is below `worth` times that of FP32;
    `rounds`: rounds of the interleaved timing; `aims`: cosines beyond the tolerance that INT8 must reach, by role: a
    cosine of 0.99 leaves an error of an eighth of the signal, which an eye would see, and which would change words.
    `pass_s`: a part whose FP32 graph is slow gets fewer samples, checks and rounds, so that all checks take about so
    many seconds; `ranking_s`: seconds of processor time for finding out which operators cost INT8 most, in each way of
    quantising a part. `inline`: bytes of weights from which on a graph is large: its weights lie in files, while
    exporting and in the bundle.
    """

    precisions: tuple[str, ...] = DEFAULT
    tolerances: Tolerances = TOLERANCES
    opset: int = OPSET
    samples: int = 256
    checks: int = 96
    worth: float = 0.95
    rounds: int = 60
    pass_s: float = 2.0
    ranking_s: float = 60.0
    inline: int = INLINE
    aims: Mapping[str, float] = field(
        default_factory=lambda: {"denoiser": 0.995, "picture": 0.997, "prefill": 0.995, "step": 0.995}
    )

    def __post_init__(self) -> None:
        unknown = [name for name in self.precisions if name not in PRECISIONS]
        if unknown:
            raise ExportError(
                "This export cannot make that precision",
                found=", ".join(unknown),
                expected=" or ".join(PRECISIONS),
            )
        if "fp32" not in self.precisions:
            raise ExportError(
                "FP32 is missing from the precisions",
                found=", ".join(self.precisions) or "none",
                fix="Add fp32: the other variants are measured against it.",
            )

    def tolerances_as_dict(self) -> dict[str, float]:
        """The tolerances as plain numbers."""
        return dict(msgspec.structs.asdict(self.tolerances))
