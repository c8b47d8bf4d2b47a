"""diffusers, eager: the pipeline as its page shows it, with the tiny autoencoder (TAESD) in place of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .racer import Racer
from .works import DRAWN, SIDE, Capture, Work

NAME, NEEDS, PRECISION = "diffusers eager", ("torch", "diffusers"), "fp32"


def open_racer(work: Work, folder: Path, threads: int) -> Racer:
    """The racer. Its noise is drawn as the runtime draws it, so that both draw the same picture."""
    import diffusers
    import torch

    torch.set_num_threads(threads)
    diffusers.utils.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        autoencoder = diffusers.AutoencoderTiny.from_pretrained(folder / "taesd")
        pipeline: Any = diffusers.DiffusionPipeline.from_pretrained(folder / work.pipeline, vae=autoencoder)
    pipeline.set_progress_bar_config(disable=True)
    net = pipeline.unet.config
    side = SIDE if (folder / "size.txt").read_text() == "real" else int(net.sample_size) * pipeline.vae_scale_factor

    def run(capture: Capture) -> NDArray[np.float32]:
        with _noise() as draw, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            factor = pipeline.vae_scale_factor
            made = pipeline(
                prompt=capture["text"], num_inference_steps=work.steps, guidance_scale=work.guidance, height=side,
                width=side, latents=draw((1, int(net.in_channels), side // factor, side // factor)), output_type="np",
            )  # fmt: skip
        picture: NDArray[np.float32] = np.round(made.images[0] * 255).astype(np.float32).ravel() - 127.5
        return picture

    return Racer(NAME, "fp32", lambda capture: capture, run)


@contextmanager
def _noise() -> Iterator[Any]:
    """While it lasts the steps of LCM draw the runtime's noise of `DRAWN`, in its order; gives what draws."""
    import torch
    from diffusers.schedulers import scheduling_lcm

    from ...kernels import normal_noise

    count = -1

    def draw(shape: Any, *_: Any, **__: Any) -> Any:
        nonlocal count
        count += 1
        return torch.from_numpy(normal_noise(DRAWN, count, tuple(shape)))

    own = scheduling_lcm.randn_tensor
    scheduling_lcm.randn_tensor = draw
    try:
        yield draw
    finally:
        scheduling_lcm.randn_tensor = own
