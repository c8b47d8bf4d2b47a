"""What was measured of each part, written after each so that an interrupted run goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from ...runtime.sinks import write_file
from ...runtime.tuned import Basis, Choice

__all__ = ["REFERENCE", "PartResult", "Progress", "Row", "Whole", "Wish", "partial_file", "resume", "save"]

REFERENCE = "the reference"
"""Why the row that all ratios are to is fit."""


class Wish(msgspec.Struct, frozen=True):
    """What is asked for. `objective`: latency, p99, throughput or memory; `budget_s` for all; `samples` judged on."""

    max_drop: float = 0.01
    objective: str = "latency"
    budget_s: float = 300.0
    samples: int = 300


class Row(msgspec.Struct):
    """One candidate of a part. `ratio` to FP32 on ONNX Runtime as it comes, in the unit of the objective, between `low`
    and `high` (99 %); `cost`: ms, or MiB; `drop`: what it costs on the fused answers alone, at `where`; `verdict`:
    fit, slower, refused, or untried for lack of time, with the reason in `why`."""

    choice: Choice
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    cost: float | None = None
    rounds: int = 0
    drop: float | None = None
    where: str = ""
    verdict: str = "fit"
    why: str = ""


class PartResult(msgspec.Struct):
    """All candidates of one part, those that are fit first, the fastest of them at the top. `lost`: "backend precision"
    → set of modalities and head ("image+text hazard") → accuracy lost alone; `shift`: how far the fused scores move.
    `seconds`: of opening and of one run; `raced`: it is done, not just judged."""

    rows: list[Row]
    lost: dict[str, dict[str, float]] = {}
    shift: dict[str, float] = {}
    seconds: dict[str, tuple[float, float]] = {}
    raced: bool = False


class Whole(msgspec.Struct):
    """The parts' own choices beside the best single setting, in one interleaved run of a whole decision: ratio of
    their times, interval. `taken`: the single setting was faster, and is what was chosen. `same`: both are the same
    plan, so that nothing was left to race. `rivals`: single settings that were raced before the last two were."""

    single: Choice | None
    ratio: float
    low: float
    high: float
    ms: float
    single_ms: float
    rounds: int
    taken: bool = False
    same: bool = False
    rivals: int = 0


class Progress(msgspec.Struct, forbid_unknown_fields=True):
    """A run so far; it is gone on with where basis and wish are the same."""

    basis: Basis
    wish: Wish
    schema: Literal[2]
    parts: dict[str, PartResult] = {}


def partial_file(out: Path) -> Path:
    """Where a run that is not done keeps what it has."""
    return out.with_suffix(".partial.json")


def save(progress: Progress, out: Path) -> None:
    """Write atomically."""
    write_file(partial_file(out), msgspec.json.encode(progress))


def resume(out: Path, basis: Basis, wish: Wish) -> Progress:
    """What an interrupted run of the same wish left, or an empty start."""
    try:
        found = msgspec.json.decode(partial_file(out).read_bytes(), type=Progress)
    except (OSError, msgspec.MsgspecError):
        return Progress(basis, wish, 2)
    return found if (found.basis, found.wish) == (basis, wish) else Progress(basis, wish, 2)
