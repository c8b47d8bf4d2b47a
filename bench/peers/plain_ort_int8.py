"""ONNX Runtime with dynamic INT8 by `onnxruntime.quantization`, and transformers' processors."""

from __future__ import annotations

from pathlib import Path

from .plain_ort import open_sessions
from .racer import Racer
from .works import Work

NAME, NEEDS, PRECISION = "ONNX Runtime, dynamic INT8", ("onnxruntime", "transformers"), "int8"


def open_racer(work: Work, folder: Path, threads: int) -> Racer:
    """The racer. Quantises once, needing the package onnx then."""
    return open_sessions(NAME, "int8", work, folder, threads)
