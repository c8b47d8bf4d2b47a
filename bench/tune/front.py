"""What was measured as a picture: for each part, what a candidate costs against how fast it is. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.sinks import write_file
from ..plots import check_plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .search import Finding
    from .state import PartResult

__all__ = ["draw", "front"]

_MARKS = {"fp32": "o", "fp16": "s", "int8-cpu": "^", "int8-trt": "v"}
_COLOURS = ("#2f6f9f", "#d17a22", "#4a9d6f", "#a4557c")
_WIDE = 3


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (ratio, drop) points that no other one beats in both, the fastest first."""
    found: list[tuple[float, float]] = []
    for ratio, drop in sorted(points):
        if not found or drop < found[-1][1]:
            found.append((ratio, drop))
    return found


def draw(finding: Finding, path: Path) -> None:
    """Draw a panel for each part into `path`, atomically."""
    check_plot(path)
    from matplotlib.figure import Figure

    count = max(1, len(finding.parts))
    high = -(-count // _WIDE)
    figure = Figure(figsize=(4 * min(count, _WIDE), 1 + 2.8 * high), layout="constrained")
    where = finding.tuned.basis
    figure.suptitle(f"{finding.tuned.objective} on {where.cpu}, {where.cores} cores", fontsize=11)
    figure.supxlabel("times FP32 on ONNX Runtime (lower is faster)", fontsize=9)
    figure.supylabel("drop", fontsize=9)
    for index, (part, result) in enumerate(finding.parts.items()):
        axes = figure.add_subplot(high, min(count, _WIDE), index + 1)
        axes.set_title(part, loc="left", fontsize=10)
        _panel(axes, finding, part, result)
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color="#5a6570", marker=mark, linestyle="", label=name) for name, mark in _MARKS.items()]
    marks += [Line2D([], [], color=_COLOURS[index % len(_COLOURS)], linewidth=4, label=name)
              for index, name in enumerate(_backends(finding))]  # fmt: skip
    figure.legend(handles=marks, loc="outside upper right", ncols=len(marks), fontsize=7, frameon=False)
    write_file(path, lambda file: figure.savefig(file, format=path.suffix[1:].lower(), dpi=150))


def _panel(axes: Axes, finding: Finding, part: str, result: PartResult) -> None:
    """Candidates as points, the front as a line, what was chosen ringed, the allowed drop dotted."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    backends = _backends(finding)
    points = [(row.ratio, row.drop or 0.0, row.choice) for row in result.rows if row.ratio is not None]
    for ratio, drop, choice in points:
        colour = _COLOURS[backends.index(choice.backend) % len(_COLOURS)]
        ring = choice == finding.tuned.choices.get(part)
        axes.scatter(ratio, drop, s=60 if ring else 22, marker=_MARKS.get(choice.precision, "x"), color=colour,
                     edgecolors="black" if ring else "none", linewidths=1.2)  # fmt: skip
    line = front([(ratio, drop) for ratio, drop, _ in points])
    axes.step([ratio for ratio, _ in line], [drop for _, drop in line], where="post", color="#9aa5b1", linewidth=0.8)
    axes.axhline(finding.tuned.max_drop, color="#c0504d", linewidth=0.7, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    highest = max([finding.tuned.max_drop, *(drop for _, drop, _ in points)])
    axes.set_ylim(-0.05 * highest - 1e-6, 1.15 * highest + 1e-6)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _backends(finding: Finding) -> list[str]:
    return list(dict.fromkeys(row.choice.backend for result in finding.parts.values() for row in result.rows))
