"""chiasm with every part in FP32: the same arithmetic as the FP32 peers."""

from __future__ import annotations

from pathlib import Path

from .ours import open_bundle
from .racer import Racer
from .works import Work

NAME, NEEDS, PRECISION = "chiasm, FP32", ("onnxruntime",), "fp32"


def open_racer(work: Work, folder: Path, threads: int) -> Racer:
    """The racer."""
    return open_bundle(NAME, "fp32", work, folder, threads)
