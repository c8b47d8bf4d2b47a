"""The table of docs/families.md, from what `python -m chiasm.bench.zoo.table` measured."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["MEASURED", "costs"]

MEASURED = Path(__file__).parents[2] / "docs" / "results" / "families.json"

_HEAD = """
## What they cost at their real sizes

Published architectures, seeded random weights, exported and measured by `python -m chiasm.bench.zoo.table` on
{machine}, {when}.
*Error*: of the FP32 graph against the model in torch, the largest of any output relative to its largest value, on three
inputs (at most 1e-4). *FP16*, *INT8*: lowest cosine with torch; on random weights that says
what the arithmetic loses, not what a trained model would. *ms*: median of one run, all variants taking turns; a graph
above 64 MB has both cores, a smaller one has one. INT8 is dynamic for matrix products and static, with ranges from
made-up captures, for convolutions; where no INT8 graph came within its tolerance of 0.99, the best one's cosine stands
in brackets. The machine was busy with other work meanwhile: a ratio says more than a time. Rows down to Stable
Diffusion's were taken before the rewrites of [export.md](export.md), which make INT8 faster than it stands there.
{missing}

| model | encodes | error | FP16 | INT8 | MB FP32 | MB INT8 | ms FP32 | ms INT8 | faster |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
"""


def costs(families: Collection[str], path: Path = MEASURED) -> str:
    """The section, which names those of `families` that were not measured; nothing where nothing was."""
    if not path.is_file():
        return ""
    found = json.loads(path.read_text("utf-8"))
    where = found["machine"]
    machine = f"{where['cpu']} ({', '.join(where['isa'])}), {where['cores']} cores"
    measured = {each.get("family") for each in found["models"].values()}
    rest = ", ".join(sorted(set(families) - measured))
    missing = f"**Not measured yet**: {rest}." if rest else ""
    head = _HEAD.format(machine=machine, when=found["when"], missing=missing)
    return head + "\n".join(line for name, each in found["models"].items() for line in _lines(name, each)) + "\n"


def _lines(name: str, model: Mapping[str, Any]) -> Iterator[str]:
    if "parts" not in model:
        yield f"| {name} | **not exported**: {model['error']} | | | | | | | | |"
        return
    for part in model["parts"]:
        made, refused = part["variants"], part["refused"]
        fp32, int8 = made["fp32"], made.get("int8-cpu")
        cells = [
            name, part["modality"], f"{fp32['max_relative_error']:.1e}", _cosine("fp16", made, refused),
            _cosine("int8-cpu", made, refused), f"{fp32['bytes'] / 1e6:.1f}",
            "" if int8 is None else f"{int8['bytes'] / 1e6:.1f}", _ms(fp32), "" if int8 is None else _ms(int8),
            _faster(fp32, int8),
        ]  # fmt: skip
        yield "| " + " | ".join(cells) + " |"


def _cosine(precision: str, made: Mapping[str, Any], refused: Mapping[str, Any]) -> str:
    if precision in made:
        return f"{made[precision]['cosine']:.5f}"
    return f"({refused[precision]['cosine']:.3f})" if precision in refused else "none"


def _ms(variant: Mapping[str, Any]) -> str:
    value = variant["milliseconds"]
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _faster(fp32: Mapping[str, Any], int8: Mapping[str, Any] | None) -> str:
    if int8 is None or fp32["milliseconds"] is None or int8["milliseconds"] is None:
        return ""
    return f"{fp32['milliseconds'] / int8['milliseconds']:.2f}"
