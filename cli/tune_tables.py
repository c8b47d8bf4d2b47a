"""How a tuning looks on a terminal: every candidate, those that were refused and why, and what was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .common import stdout

if TYPE_CHECKING:
    from ..bench.tune.search import Finding
    from ..bench.tune.state import Row, Whole
    from ..runtime.tuned import Choice

__all__ = ["print_finding"]


def print_finding(found: Finding) -> None:
    """A table of all candidates, the whole beside single settings, and what to know of it."""
    out = stdout()
    out.print(_candidates(found))
    out.print(f"\nJudged by {found.judged}.", soft_wrap=True)
    where = f" ({found.where})" if found.drop > 0 else ""
    out.print(f"All parts as chosen: drop {found.drop:.4f}{where}, allowed {found.tuned.max_drop:g}.", soft_wrap=True)
    if found.whole is not None:
        out.print(_beside(found.whole), soft_wrap=True)
    for note in found.notes:
        out.print(note, soft_wrap=True, markup=False)
    if found.short is not None:
        out.print(found.short, soft_wrap=True, markup=False, style="yellow")
    out.print(f"It took {found.seconds / 60:.1f} minutes.", soft_wrap=True)


def _candidates(found: Finding) -> Any:
    from rich.table import Table

    unit = "MiB" if found.tuned.objective == "memory" else "ms"
    table = Table(title=f"candidates, by {found.tuned.objective}; * chosen, x refused, - no time", title_justify="left",
                  title_style="bold", box=None, padding=(0, 1, 0, 0))  # fmt: skip
    table.add_column("part", no_wrap=True, max_width=12)
    table.add_column("candidate", no_wrap=True)
    for name in (unit, "x FP32", "drop"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", ratio=1, overflow="fold")
    for part, result in found.parts.items():
        chosen = found.tuned.choices.get(part)
        for index, row in enumerate(result.rows):
            table.add_row(*_cells(row, part if index == 0 else "", chosen))
    return table


def _cells(row: Row, part: str, chosen: Choice | None) -> tuple[str, ...]:
    from rich.markup import escape

    mark = (
        "[green]*[/] "
        if row.choice == chosen
        else "[red]x[/] "
        if row.verdict == "refused"
        else "- "
        if row.verdict == "untried"
        else "  "
    )
    words = f"{row.choice.precision} {row.choice.backend} {_settings(row.choice)}"
    cost = "" if row.cost is None else f"{row.cost:.3f}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    drop = "" if row.drop is None else f"{row.drop:.4f}"
    why = row.why if row.verdict == "refused" else row.why.split(":")[0].split(",")[0]
    return part, mark + words, cost, ratio, drop, escape(why)


def _settings(choice: Choice) -> str:
    words = [f"{choice.threads}thr"] if choice.threads else []
    words += ["spin"] * choice.spinning + ["-arena"] * (not choice.arena)
    return " ".join(words + ([choice.level] if choice.level != "all" else []))


def _beside(whole: Whole) -> str:
    from ..bench.tune.ranking import words

    single = "" if whole.single is None else words(whole.single)
    raced = f"the best of {whole.rivals} single settings that were raced, {single}"
    interval = f"99 %: {whole.low:.3f} to {whole.high:.3f}; {whole.rounds} rounds in turns"
    if whole.same:
        return f"A decision without preprocessing: {whole.ms:.3f} ms. The parts' own choices are {raced}."
    end = "so that is taken in their place" if whole.taken else "so they are kept"
    return (
        f"A decision without preprocessing: {whole.ms:.3f} ms by the parts' own choices, {whole.single_ms:.3f} ms by "
        f"{raced}: {whole.ratio:.3f} times as long ({interval}), {end}."
    )
