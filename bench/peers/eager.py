"""transformers, eager: processors and models as the model card shows them, under `torch.inference_mode`."""

from __future__ import annotations

from pathlib import Path

from .parts import Arrays, module
from .racer import Network, Racer, assembled
from .works import Work

NAME, NEEDS, PRECISION = "transformers eager", ("torch", "transformers"), "fp32"


def open_racer(work: Work, folder: Path, threads: int) -> Racer:
    """The racer. Sets torch's threads."""
    import torch

    torch.set_num_threads(threads)
    return assembled(NAME, "fp32", work, folder, lambda part: torch_network(module(work, part, folder)))


def torch_network(model: object) -> Network:
    """A torch module, or what looks like one, on NumPy arrays; neither way is copied."""
    import torch

    def run(arrays: Arrays) -> Arrays:
        with torch.inference_mode():
            made = model(*map(torch.from_numpy, arrays))  # type: ignore[operator]
        return tuple(each.numpy() for each in made) if isinstance(made, tuple) else (made.numpy(),)

    return run
