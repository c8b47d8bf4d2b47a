"""How a plan looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .common import stdout

if TYPE_CHECKING:
    from ..runtime.planning.memory import Line
    from ..runtime.planning.plan import Plan
    from ..targets.roofline import Bound

__all__ = ["print_plan"]

_COLOURS = {"fits": "green", "tight": "yellow", "does not fit": "red", "not known": "yellow"}
_WORDS = {
    "fits": "fits",
    "tight": "does not fit as installed, and fits once services are off",
    "does not fit": "does not fit",
    "not known": "cannot be told: its memory is not known (--memory MIB)",
}


def print_plan(made: Plan) -> None:
    """The verdict, the sum, the parts, the bounds, and what else would fit."""
    out = stdout()
    words = f"[bold]{made.bundle}[/] on [bold]{made.target.title}[/]: "
    out.print(f"{words}[{_COLOURS[made.verdict]}]{_WORDS[made.verdict]}[/]", soft_wrap=True)
    out.print(_sum(made))
    out.print(_parts(made))
    for reason in dict.fromkeys((part.precision, part.why) for part in made.parts):
        out.print(f"{reason[0]}: {reason[1]}", soft_wrap=True)
    out.print()
    for task in made.tasks:
        out.print(f"{task.about}: at least {_time(task.bound)}, bounded by {task.bound.limit}", soft_wrap=True)
    out.print("Bounds, not measurements: operations and bytes of the graphs by the device's rates (roofline).")
    out.print(_alternatives(made))
    if made.idle:
        out.print(f"not counted, since nothing here runs them: {', '.join(made.idle)}", soft_wrap=True)
    for note in made.notes:
        out.print(f"note: {note}", soft_wrap=True)


def _table(title: str, left: Iterable[str], right: Iterable[str], last: str | None = None) -> Any:
    from rich.table import Table

    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in left:
        table.add_column(column, no_wrap=True)
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    if last is not None:
        table.add_column(last, overflow="fold")
    return table


def _sum(made: Plan) -> Any:
    table = _table("memory", ["what"], ["MiB"], "from")
    for line in made.have or ():
        table.add_row(line.what, _mib(line.mib), _short(line))
    if made.have_mib is not None:
        table.add_row("[bold]ours[/]", f"[bold]{_mib(made.have_mib)}[/]", "")
    for line in made.need:
        table.add_row(line.what, _mib(line.mib), _short(line))
    table.add_row("[bold]needed[/]", f"[bold]{_mib(made.need_mib)}[/]", "")
    if made.have_mib is not None:
        left = made.have_mib - made.need_mib
        table.add_row("left" if left >= 0 else "[red]lacking[/]", _mib(abs(left)), "")
        if left < 0 and made.spare_mib:
            words = "with services off: chiasm targets show " + made.target.name
            table.add_row("could be freed", _mib(made.spare_mib), words)
    return table


def _short(line: Line) -> str:
    return line.note or ("" if line.source == "counted on its graph" else line.source)


def _mib(mib: float) -> str:
    return f"{mib:,.0f}" if abs(mib) >= 10 else f"{mib:,.1f}"


def _parts(made: Plan) -> Any:
    table = _table("parts", ["part", "variant"], ["weights", "activ.", "Gop", "runs", "ms ≥"], "by")
    for part in made.parts:
        runs = " ".join(dict.fromkeys(str(number) for number in part.runs.values()))
        gop = sum(part.count.operations.values()) / 1e9
        figures = (_mib(part.count.weights / 2**20), _mib(part.count.activations / 2**20), _figure(gop), runs)
        table.add_row(part.part, part.precision, *figures, _figure(part.bound.seconds * 1e3), part.bound.limit)
    how = [f"{part.part} {part.how}" for part in made.parts if part.how]
    words = f"; runs: {'; '.join(how)}" if how else ""
    table.caption = "weights and activations in MiB; ms of one run, at least" + words
    table.caption_justify = "left"
    return table


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _time(bound: Bound) -> str:
    seconds = bound.seconds
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _alternatives(made: Plan) -> Any:
    table = _table("if every part were", ["in"], ["MiB needed"], "here")
    table.add_column("smallest device that holds it", overflow="fold")
    for each in made.alternatives:
        lacking = f", but {', '.join(each.lacking)}" if each.lacking else ""
        colour = _COLOURS[each.verdict]
        verdict = "fits trimmed" if each.verdict == "tight" else each.verdict
        table.add_row(each.precision + lacking, _mib(each.need_mib), f"[{colour}]{verdict}[/]", each.smallest or "none")
    return table
