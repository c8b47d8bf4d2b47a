"""Tables of tunings for docs/tune.md, from the files that `chiasm tune --out` wrote: between two marks, anew each time.

python -m chiasm.bench.tune.document docs/tune.md docs/results/tune-*.json
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ...runtime.errors import ChiasmError, InputError
from ...runtime.sinks import write_file
from ...runtime.tuned import Tuned
from .opener import kind_of
from .ranking import words
from .state import PartResult, Row, Whole, Wish

__all__ = ["rewritten", "table"]

BEGIN, END = "<!-- tunings: made by python -m chiasm.bench.tune.document -->", "<!-- end of tunings -->"


class Evidence(msgspec.Struct):
    """What a tuning keeps for people, as far as it is shown."""

    judged: str
    drop: float
    where: str
    parts: dict[str, PartResult]
    wish: Wish
    notes: list[str] = []
    whole: Whole | None = None
    short: str | None = None
    seconds: float = 0.0


def rewritten(text: str, tables: Sequence[str]) -> str:
    """The document with these tables between its marks. Raises InputError where it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError("The document has no place for tables", expected=f"{BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n" + "\n\n".join(tables) + f"\n\n{END}{after}"


def table(name: str, tuned: Tuned) -> str:
    """One tuning: what it was, a row for each part, and whole decisions."""
    found, basis = msgspec.json.decode(tuned.evidence, type=Evidence), tuned.basis
    versions = ", ".join(f"{package} {version}" for package, version in basis.versions.items())
    lines = [
        f"**{name}**, `--budget {found.wish.budget_s / 60:g} --samples {found.wish.samples} --objective "
        f"{tuned.objective} --max-drop {tuned.max_drop:g}`, {tuned.when[:10]}, {basis.cores} cores of {basis.cpu}, "
        f"{versions}: it took {found.seconds / 60:.1f} minutes.",
        "",
        "| part | chosen | times FP32 (99 %) | rounds | the best of the other kinds | refused |",
        "|---|---|---|---|---|---|",
        *(_row(part, result, tuned) for part, result in found.parts.items()),
        "",
        f"Drop of the whole: {found.drop:.4f} ({found.where}), {tuned.max_drop:g} allowed; {found.judged}.",
    ]
    if found.whole is not None:
        lines.append(_whole(found.whole))
    return "\n".join([*lines, *([found.short] if found.short else []), *_busy(found.notes)])


def _row(part: str, result: PartResult, tuned: Tuned) -> str:
    choice = tuned.choices[part]
    row = next((each for each in result.rows if each.choice == choice), None)
    chosen = ("", "") if row is None else (_ratio(row), str(row.rounds))
    others: dict[tuple[str, str], Row] = {}
    for each in result.rows:
        kind = kind_of(each.choice)
        if each.ratio is not None and kind != kind_of(choice):
            others[kind] = min(others.get(kind, each), each, key=lambda row: row.ratio or 0.0)
    rest = "; ".join(f"{kind[1]} on {kind[0]} {_ratio(each)}" for kind, each in others.items())
    refused = "; ".join(f"{words(each.choice)}: {each.why}" for each in result.rows if each.verdict == "refused")
    return f"| {part} | {words(choice)} | {' | '.join(chosen)} | {rest} | {refused} |"


def _ratio(row: Row) -> str:
    assert row.ratio is not None
    return "1" if row.low == row.high == 1.0 else f"{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f})"


def _whole(whole: Whole) -> str:
    single = "" if whole.single is None else words(whole.single)
    if whole.same:
        return f"A decision: {whole.ms:.2f} ms; the choices are the best of {whole.rivals} single settings, {single}."
    end = "the single setting is taken" if whole.taken else "kept"
    interval = f"{whole.low:.3f} to {whole.high:.3f}, {whole.rounds} rounds"
    return (
        f"A decision: {whole.ms:.2f} ms by the parts' own choices, {whole.single_ms:.2f} ms by the best of "
        f"{whole.rivals} single settings ({single}): {whole.ratio:.3f} times ({interval}): {end}."
    )


def _busy(notes: Sequence[str]) -> Iterator[str]:
    yield from (note for note in notes if note.startswith("this machine was busy"))


def _main(document: str, *files: str) -> None:
    tables = [table(Path(file).stem, msgspec.json.decode(Path(file).read_bytes(), type=Tuned)) for file in files]
    text = rewritten(Path(document).read_text(encoding="utf-8"), tables)
    write_file(Path(document), text.encode())


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except (OSError, msgspec.MsgspecError, ChiasmError) as error:
        sys.exit(f"{error}")
