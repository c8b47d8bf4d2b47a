"""TensorRT-RTX: engines for GeForce, RTX and laptop GPUs, built anywhere with `chiasm compile`.

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
    if importlib.util.find_spec("tensorrt_rtx") is None:
        return "tensorrt_rtx is not installed; run: pip install 'chiasm[rtx]'"
    return why_no_gpu()


def open_backend(options: SessionOptions) -> EngineBackend:
    """Opens the engines that are there; see `SessionOptions.build`."""
    return EngineBackend("rtx", "tensorrt_rtx", options)
