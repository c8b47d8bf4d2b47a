"""docs/families.md, from the families themselves: python -m chiasm.export.families > docs/families.md"""

from __future__ import annotations

import re

from . import families

HEAD = """# Families

What `chiasm export` reads: folders as a model hub serves them, with `config.json`, `model.safetensors` and the files of
the processor or tokenizer. One short file each in `export/families/`; a new family is a new file there. A network of
your own needs none: see [recipes](recipes.md). This page is made by `python -m chiasm.export.families`.

Tiny checkpoints of every family, with seeded random weights, go through the test suite: the tower against the original
model in torch, and the FP32 graph against it (at most 1e-4). What their full sizes cost in accuracy, megabytes and
milliseconds has **not been measured into a table yet**.

| family | `model_type` | encodes | `output`, the default first | |
|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = []
    for name, family in families().items():
        about = re.split(r"(?<! al)\. ", " ".join((family.__doc__ or "").split()))[0].rstrip(".") + "."
        kinds, outputs = " and ".join(family.KINDS), ", ".join(family.OUTPUTS)
        kinds += "; captions" if hasattr(family, "captioner") else ""
        types = ", ".join(f"`{each}`" for each in family.MODEL_TYPES)
        rows.append(f"| {name} | {types} | {kinds} | {outputs} | {about} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(page(), end="")
