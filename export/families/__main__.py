"""docs/families.md, from the families themselves: python -m chiasm.export.families > docs/families.md"""

from __future__ import annotations

import re

from ..diffusion import architectures
from . import families
from ._costs import costs

HEAD = """# Families

What `chiasm export` reads: folders as a model hub serves them, with `config.json`, `model.safetensors` and the files of
the processor or tokenizer. One short file each in `export/families/`; a new family is a new file there. A network of
your own needs none: see [recipes](recipes.md). This page is made by `python -m chiasm.export.families`.

Tiny checkpoints of every family, with seeded random weights, go through the test suite: the tower against the original
model in torch, and the FP32 graph against it (at most 1e-4). What their real sizes cost stands below.

| family | `model_type` | encodes | `output`, the default first | |
|---|---|---|---|---|
"""
PIPELINES = """
## Pipelines that draw

Folders of diffusers, with `model_index.json`, in a recipe's `[decoder]` or alone. One short file each in
`export/diffusion/`. Samplers: DDIM, Euler, Euler ancestral, LCM, TCD and flow-matched Euler; a pipeline with another
scheduler (PNDM, DPM-Solver, …) is given one of these on the same constants. Autoencoders: `AutoencoderKL` and
`AutoencoderTiny`. Tiny pipelines with random weights go through the test suite: the same noise gives the same picture
as in diffusers, up to one grey level of 255.

| architecture | pipelines | |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + _encoders() + PIPELINES + _pipelines() + costs(families())


def _pipelines() -> str:
    rows = []
    for name, each in architectures().items():
        classes = ", ".join(f"`{kind}`" for kind in each.PIPELINES)
        rows.append(f"| {name} | {classes} | {' '.join((each.__doc__ or '').split())} |")
    return "\n".join(rows) + "\n"


def _encoders() -> str:
    rows = []
    for name, family in families().items():
        about = re.split(r"(?<! al)\. ", " ".join((family.__doc__ or "").split()))[0].rstrip(".") + "."
        kinds, outputs = " and ".join(family.KINDS), ", ".join(family.OUTPUTS)
        kinds += "; captions" if hasattr(family, "captioner") else ""
        types = ", ".join(f"`{each}`" for each in family.MODEL_TYPES)
        rows.append(f"| {name} | {types} | {kinds} | {outputs} | {about} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(page(), end="")
