"""TensorRT: engines for Jetson and data-centre GPUs, built on the device with `chiasm compile --vendor tensorrt`.

It is never chosen by itself yet: ask for it by name.
"""

from __future__ import annotations

from . import _engines
from .base import SessionOptions

__all__ = ["RANK", "open_backend", "why_not"]

RANK: int | None = None


def why_not() -> str | None:
    """None where its module, PyCUDA and a GPU are there."""
    return _engines.why_not("tensorrt")


def open_backend(options: SessionOptions) -> _engines.EngineBackend:
    """Opens the engines that are there; see `SessionOptions.build`."""
    return _engines.EngineBackend("trt", "tensorrt", options)
