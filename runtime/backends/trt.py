"""TensorRT: engines for Jetson and data-centre GPUs, built on the device with `chiasm compile --vendor tensorrt`.

It is never chosen by itself yet: ask for it by name.
"""

from __future__ import annotations

import importlib.util

from ._engines import EngineBackend
from ._gpu import why_no_gpu
from .base import SessionOptions

__all__ = ["RANK", "open_backend", "why_not"]

RANK: int | None = None


def why_not() -> str | None:
    """None where its module, PyCUDA and a GPU are there."""
    if importlib.util.find_spec("tensorrt") is None:
        return "tensorrt is not installed; JetPack brings it (in a virtual environment: --system-site-packages)"
    return why_no_gpu()


def open_backend(options: SessionOptions) -> EngineBackend:
    """Opens the engines that are there; see `SessionOptions.build`."""
    return EngineBackend("trt", "tensorrt", options)
