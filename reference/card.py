"""Measured numbers as Markdown: the tables of `evaluate`, and the model card around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["card", "tables"]

_COMMAND = "python -m chiasm.reference.evaluate"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(value: float) -> str:
    return f"{100.0 * value:.1f}"


def _hazards(numbers: Mapping[str, Any]) -> str:
    table = numbers["hazard"]
    kinds = list(table)
    rows = [[name, *(_percent(table[kind][name]) for kind in kinds)] for name in table[kinds[0]]]
    title = (
        f"Hazard accuracy (%), {numbers['sizes']['scenes']} held-out scenes, by present modalities and fusion kind "
        f"(default: {numbers['default']})"
    )
    return f"{title}\n\n{_table(['present', *kinds], rows)}"


def _retrieval(numbers: Mapping[str, Any]) -> str:
    rows = [[name, _percent(value)] for name, value in numbers["retrieval"].items()]
    title = f"Retrieval (%): top hit right among 200 scenes, mean of {numbers['sizes']['galleries']} galleries"
    return f"{title}\n\n{_table(['query → index', 'right'], rows)}"


def _pictures(numbers: Mapping[str, Any]) -> str:
    keys = ("weather", "object", "both")
    rows = [[_picture_name(name), *(_percent(row[key]) for key in keys)] for name, row in numbers["pictures"].items()]
    title = (
        f"Pictures (%): read right by the recogniser, {numbers['sizes']['pictures']} held-out scenes, "
        "from text + audio + radar"
    )
    return f"{title}\n\n{_table(['pictures', *keys], rows)}"


def _picture_name(name: str) -> str:
    return "true" if name == "true" else f"{name} step" + ("" if name == "1" else "s")


def tables(numbers: Mapping[str, Any]) -> str:
    """The tables of hazards, retrieval and pictures, in percent."""
    parts = [_hazards(numbers), _retrieval(numbers)]
    if "pictures" in numbers:
        parts.append(_pictures(numbers))
    return "\n\n".join(parts) + "\n"


def card(numbers: Mapping[str, Any], parameters: Mapping[str, int]) -> str:
    """The whole model card; ``parameters`` are the learned values of each part."""
    host = numbers["machine"]
    versions = ", ".join(f"{name} {host[name]}" for name in ("python", "numpy", "torch") if name in host)
    measured = _MEASURED.format(command=_COMMAND, versions=versions, **host)
    sizes = _table(["part", "learned values"], [[part, f"{count:,}"] for part, count in parameters.items()])
    total = f"In all {sum(parameters.values()):,} learned values, stored as FP16."
    return "\n".join([_INTRODUCTION, measured, tables(numbers), "## Size\n", sizes, f"\n{total}", _LIMITS])


_INTRODUCTION = """# Model card: reference-street

A street as a small vehicle meets it, told by four modalities with one truth behind them: a camera picture (64×64), one
second of sound (16 kHz), 1.6 s of radar (time × range) and a line of text. The model decides which of seven hazards is
there, names the weather and the main object, embeds every modality in one space, and draws the camera picture from the
other three.

It exists to exercise chiasm from end to end: small, trained from nothing on drawn scenes, with ground truth for
everything.

- **Encoders**: picture: patches of 4×4 and two convolutions; text: 2-layer transformer on 32 byte-pair tokens; sound:
  log-mel front end inside the graph and a 1-D CNN; radar: 1-D CNN. Trained together by InfoNCE between every two
  modalities (every scene in which all that the query says holds counts as a match) and by reading off what each
  modality can tell. What was trained so for pictures is a residual CNN with five times the products; the one that ships
  was then taught to say the same, because a camera is the fastest sense and its encoder runs most often.
- **Fusion**: early, middle, late, hybrid, gated, adaptive, all into one state of 256 values, all trained on random
  subsets of present modalities, with packets that are stale, damaged or dead. Task heads are shared.
- **Decoder**: autoencoder (factor 8) and a latent flow denoiser conditioned on the state, distilled to 1, 2 and 4
  steps.

Training: `python -m chiasm.reference.train` (seed 0, 24 000 drawn scenes).

## Measured
"""

_MEASURED = """`{command}` prints these tables
({seconds:.0f} s on {cores} cores of {processor}; {versions}).
Test scenes have seeds that no training stage draws. Packets are fresh (age 0); text in the hazard table is what the
radio carries (some of it useless or false), in retrieval and pictures a truthful caption.
"""

_LIMITS = """
## Limits

- Drawn scenes only. Nothing here has seen a real street, microphone or radar, and nothing here may steer a vehicle.
- Four weathers, six kinds of main object, one main object a scene; captions in English, from templates.
- `hazard` follows a fixed order of urgency; a scene with two hazards gets the first.
- Single modalities cannot know the hazard (see the table): that is how the scenes are made. But the radar gives more
  away than it should: a small target is nearer on the road than on the pavement, so text, sound and radar find most
  pedestrians without the camera.
- The decoder was trained on states made without the camera. A picture generated with `image` among the conditions is
  not reliable.
- The shipped weights come from one run in stages during which two stages were changed: the autoencoder's loss learned
  to weigh objects half way through, and the adaptive head's memory of age was added after its first stage. The small
  picture encoder came last, taught by the residual CNN as it had been stored, in FP16. Training from nothing follows
  the same recipe and gives other weights.
- The recogniser that reads the pictures was trained on true pictures of the same generator, with its own weights and
  scenes.

Licence: Apache-2.0, weights and code. No personal data; no third-party data.
"""
