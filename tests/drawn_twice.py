"""The same picture by diffusers and by chiasm: exports of tiny pipelines, and noise that both share.

A part with the same weights is traced once, whatever pipeline it comes from: tracing takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.bench.zoo.diffusion import MODELS
from chiasm.export import Calibration, Settings, export, workshop
from chiasm.export.assemble import assemble
from chiasm.export.recipe import DecoderRecipe, Recipe
from chiasm.export.to_onnx import to_onnx
from chiasm.kernels import normal_noise

FP32 = Settings(precisions=("fp32",), samples=3, checks=3, rounds=1)
WARNINGS = (
    "ignore:.*:FutureWarning:diffusers", "ignore:.*:DeprecationWarning:diffusers", "ignore:.*:UserWarning:diffusers",
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)  # fmt: skip
_traced: dict[str, tuple[Any, Any]] = {}


def traced_once(module: Any, interface: Any, part: str, opset: int) -> Any:
    """`to_onnx`, remembered by the part's interface, structure and weights."""
    digest = hashlib.sha256(f"{interface} {module} {opset}".encode())
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(name.encode() + tensor.detach().numpy().tobytes())
    if digest.digest().hex() not in _traced:
        _traced[digest.digest().hex()] = module, to_onnx(module, interface, part, opset)  # its weights are the module's
    return _traced[digest.digest().hex()][1]


def exported(
    folder: Path, name: str, settings: Settings = FP32, calibration: Calibration | None = None, **table: Any
) -> Path:
    """The bundle of a tiny pipeline that is made in `folder`; `table`: further keys of the recipe's [decoder]."""
    if not (folder / name).exists():
        MODELS[name].make(folder / name, "tiny")
    recipe = Recipe(decoder=DecoderRecipe(checkpoint=name, **table))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workshop, "to_onnx", traced_once)
        assembly = assemble(recipe, folder, name=name)
        return export(assembly, folder / f"{name}.chiasm", settings=settings, calibration=calibration)


def changed(bundle: Path, out: Path, **fields: Any) -> Path:
    """The same bundle with other fields of its decoder."""
    shutil.copytree(bundle, out, copy_function=os.link)
    manifest = json.loads((out / "manifest.json").read_bytes())
    manifest["decoder"].update(fields)
    (out / "manifest.json").unlink()
    (out / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return out


def original(kind: str, folder: Path, **changes: Any) -> Any:
    """The pipeline of diffusers, without its advice. `changes`: components in the place of its own."""
    import diffusers
    from diffusers.utils import logging

    logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = getattr(diffusers, kind).from_pretrained(folder, use_safetensors=True, **changes)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def shared_noise(seed: int, first: int = 0) -> Iterator[None]:
    """While it lasts diffusers draws the runtime's noise, in its order, and autoencoders give their mean."""
    import torch
    from diffusers.models.autoencoders import vae
    from diffusers.pipelines.latent_consistency_models import pipeline_latent_consistency_img2img as lcm
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img as again
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_inpaint as inpaint
    from diffusers.pipelines.stable_diffusion_3 import pipeline_stable_diffusion_3_img2img as again3
    from diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl_img2img as again_xl
    from diffusers.schedulers import scheduling_euler_ancestral_discrete, scheduling_lcm, scheduling_tcd

    count = first

    def draw(shape: Any, *_: Any, **__: Any) -> Any:
        nonlocal count
        count += 1
        return torch.from_numpy(normal_noise(seed, count - 1, tuple(shape)))

    with pytest.MonkeyPatch.context() as patch:
        for module in (lcm, again, inpaint, again3, again_xl, scheduling_euler_ancestral_discrete, scheduling_lcm,
                       scheduling_tcd):  # fmt: skip
            patch.setattr(module, "randn_tensor", draw)
        patch.setattr(vae.DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield


def theirs(pipeline: Any, seed: int, latents: tuple[int, ...] | None, **asked: Any) -> np.ndarray[Any, Any]:
    """uint8 RGB by diffusers; `latents`: the shape of the noise that it starts from, None: it draws that itself."""
    import torch

    start = {} if latents is None else {"latents": torch.from_numpy(normal_noise(seed, 0, (1, *latents)))}
    with shared_noise(seed, 0 if latents is None else 1):
        made = pipeline(output_type="np", **start, **asked).images[0]
    return np.round(made * 255).astype(np.uint8)


def ours(pipeline: Any, **asked: Any) -> np.ndarray[Any, Any]:
    """uint8 RGB by the runtime."""
    picture: np.ndarray[Any, Any] = list(pipeline.generate(**asked))[-1].picture
    return picture


def apart(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> tuple[float, int]:
    """(mean, largest) difference in grey levels. Pictures without contrast prove nothing, and are refused."""
    assert first.shape == second.shape
    assert min(first.std(), second.std()) > 5.0, "nothing to see"
    difference = np.abs(first.astype(int) - second.astype(int))
    return float(difference.mean()), int(difference.max())
