"""TensorRT-RTX: engines for GeForce, RTX and laptop GPUs, built anywhere with `chiasm compile`.

It is never chosen by itself yet: ask for it by name.
"""

from __future__ import annotations

from ._engines import of_vendor

__all__ = ["RANK", "open_backend", "why_not"]

RANK: int | None = None
why_not, open_backend = of_vendor("rtx", "tensorrt_rtx")
