"""transformers behind `torch.compile` (inductor): compiled while warming up, which is not timed."""

from __future__ import annotations

import shutil
from pathlib import Path

from .eager import torch_network
from .parts import module
from .racer import AbsentError, Racer, assembled
from .works import Work

NAME, NEEDS, PRECISION = "torch.compile", ("torch", "transformers"), "fp32"


def open_racer(work: Work, folder: Path, threads: int) -> Racer:
    """The racer. Inductor needs a C++ compiler."""
    import torch

    if not (shutil.which("g++") or shutil.which("clang++")):
        raise AbsentError("no C++ compiler, which torch.compile needs")
    torch.set_num_threads(threads)
    return assembled(
        NAME, "fp32", work, folder, lambda part: torch_network(torch.compile(module(work, part, folder), dynamic=False))
    )
