"""Who leads among the candidates of a part, and what is said of the others."""

from __future__ import annotations

from collections.abc import Sequence

from ...runtime.backends import candidates
from ...runtime.tuned import Choice
from .opener import FP32, PLAIN
from .state import REFERENCE, Row

__all__ = ["rank", "words"]

_NEAR = 1.01
"""How much slower a plainer candidate may be and still lead."""
_SURE = 8
"""Rounds from which on the interval of a median is one of 99 %: 2 / 2^8 is below 1 %."""


def words(choice: Choice) -> str:
    """A choice in a few words."""
    threads = "" if choice.threads is None else f", {choice.threads} thread" + ("s" if choice.threads > 1 else "")
    more = ", spinning" * choice.spinning + ", no arena" * (not choice.arena)
    return f"{choice.precision} on {choice.backend}{threads}{more}" + (
        f", level {choice.level}" if choice.level != "all" else ""
    )


def rank(rows: Sequence[Row], reference: Choice) -> list[Row]:
    """The fit first, who is to be taken at their top; a row that is not surely faster than the reference is not fit.

    Of those within 1 % of the fastest the plainest leads: the higher precision, the usual backend and settings. Who ran
    in fewer than eight rounds leads only where nobody else but the reference is fit.
    """
    for row in rows:
        assert row.ratio is not None
        assert row.high is not None
        if row.choice == reference:
            row.verdict, row.why = "fit", REFERENCE
        elif row.low is not None and row.low > 1.0:
            row.verdict, row.why = "slower", f"slower than FP32: {row.ratio:.2f} times [{row.low:.2f}, {row.high:.2f}]"
        elif row.high >= 1.0:
            row.verdict, row.why = "slower", f"not surely faster than FP32: {row.low:.2f} to {row.high:.2f} times"
        elif row.verdict == "fit" and 0 < row.rounds < _SURE:
            row.why = f"{row.rounds} rounds only: less sure than 99 %"
        elif row.verdict == "slower":
            row.why = row.why or f"slower than others, after {row.rounds} rounds"
    fit = sorted((row for row in rows if row.verdict == "fit"), key=lambda row: row.ratio or 0.0)
    sure = [row for row in fit if row.rounds >= _SURE]
    heads = sure if any(row.choice != reference for row in sure) else fit
    near = [row for row in heads if (row.ratio or 0.0) <= (heads[0].ratio or 0.0) * _NEAR]
    first = min(near, key=lambda row: _plainness(row.choice))
    rest = sorted((row for row in rows if row.verdict != "fit"), key=lambda row: row.ratio or 0.0)
    return [first, *(row for row in fit if row is not first), *rest]


def _plainness(choice: Choice) -> tuple[object, ...]:
    usual = candidates(1)  # in the order in which backends are tried by themselves, ORT's first
    backend = (
        0 if choice.backend == FP32[0] else 1 + list(usual).index(choice.backend) if choice.backend in usual else 9
    )
    return (
        PLAIN.index(choice.precision),
        backend,
        choice.threads or 0,
        choice.spinning,
        not choice.arena,
        choice.level,
    )
