"""A bench report as one picture. Needs matplotlib (extra `report`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.errors import InputError, MissingExtraError
from ..runtime.sinks import check_output, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_plot", "plot"]

_KINDS = (".png", ".svg", ".pdf")
_INK, _SOFT = "#1f2933", "#9aa5b1"
_COLOURS = ("#2f6f9f", "#d17a22", "#4a9d6f", "#a4557c", "#7a6bb0", "#8a8d3f", "#c0504d", "#5a7d8c")


def check_plot(path: Path) -> None:
    """Raise before the measuring what would fail after it: no matplotlib, a kind of file, a place."""
    if path.suffix.lower() not in _KINDS:
        raise InputError(
            "the plot cannot be drawn", found=path.name or "no name", expected=f"a name ending in {', '.join(_KINDS)}"
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "report", "drawing a bench")
    check_output(path)


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Draw latency distributions, stages and frame age into `path`, atomically."""
    check_plot(path)
    figure = _figure(report)
    write_file(path, lambda file: figure.savefig(file, format=path.suffix[1:].lower(), dpi=150))


def _figure(report: Mapping[str, Any]) -> Figure:
    from matplotlib.figure import Figure

    scenarios: Mapping[str, Any] = report["scenarios"]
    drawn = [(draw, title) for draw, title, key in _PANELS if any(key in scenario for scenario in scenarios.values())]
    figure = Figure(figsize=(10, 1.2 + 2.6 * len(drawn)), layout="constrained")
    where = report["machine"]
    figure.suptitle(f"{report['bundle']['name']}: {where['cpu']}, {where['cores']} cores", color=_INK, fontsize=12)
    figure.supxlabel(f"{report['note']}\n{report['when']}", color=_SOFT, fontsize=7)
    for index, (draw, title) in enumerate(drawn):
        axes = figure.add_subplot(len(drawn), 1, index + 1)
        axes.set_title(title, loc="left", fontsize=10, color=_INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=_INK)
        draw(axes, scenarios)
    return figure


def _cumulative(axes: Axes, scenarios: Mapping[str, Any], key: str, unit: str) -> None:
    """The share of steps that were done within so many milliseconds; logarithmic, as tails are what matters."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for colour, (name, scenario) in zip(_COLOURS, scenarios.items(), strict=False):
        if key not in scenario:
            continue
        values = np.sort(np.asarray(scenario[key]))
        share = np.arange(1, values.size + 1) / values.size
        axes.step(values, share, where="post", color=colour, label=name, linewidth=1.4)
    for level in (0.5, 0.9, 0.99):
        axes.axhline(level, color=_SOFT, linewidth=0.5, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks([0, 0.5, 0.9, 1.0])
    axes.set_xlabel(unit, fontsize=8)
    axes.set_ylabel("share of steps", fontsize=8)
    axes.legend(fontsize=8, frameon=False, loc="lower right")


def _latencies(axes: Axes, scenarios: Mapping[str, Any]) -> None:
    _cumulative(axes, scenarios, "samples_ms", "latency, ms")


def _ages(axes: Axes, scenarios: Mapping[str, Any]) -> None:
    _cumulative(axes, scenarios, "age_samples_ms", "frame age when the decision is there, ms")


def _stages(axes: Axes, scenarios: Mapping[str, Any]) -> None:
    """What each stage takes of a mean step, end to end, one bar per scenario; an often skipped stage is short."""
    bars = {name: scenario["stages_ms"] for name, scenario in scenarios.items() if "stages_ms" in scenario}
    stages = list(dict.fromkeys(stage for bar in bars.values() for stage in bar))
    left = np.zeros(len(bars))
    for index, stage in enumerate(stages):
        widths = np.array([bar.get(stage, {}).get("per_step") or 0.0 for bar in bars.values()])
        axes.barh(list(bars), widths, left=left, color=_COLOURS[index % len(_COLOURS)], label=stage, height=0.6,
                  alpha=1.0 if index < len(_COLOURS) else 0.6)  # fmt: skip
        left += widths
    axes.invert_yaxis()
    axes.set_xlabel("mean per step, ms", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _memory(axes: Axes, scenarios: Mapping[str, Any]) -> None:
    for colour, (name, scenario) in zip(_COLOURS, scenarios.items(), strict=False):
        if scenario.get("resident_mib"):
            values = scenario["resident_mib"]
            axes.plot(np.linspace(0, scenario["seconds"], len(values)), values, color=colour, label=name)
    axes.set_ylim(0, 1.2 * max(max(s.get("resident_mib") or [0.0]) for s in scenarios.values()))
    axes.set_xlabel("s", fontsize=8)
    axes.set_ylabel("resident, MiB", fontsize=8)
    axes.legend(fontsize=8, frameon=False)


_PANELS = (
    (_latencies, "How long a decision takes", "samples_ms"),
    (_stages, "Where the time goes", "stages_ms"),
    (_ages, "How old the picture is", "age_samples_ms"),
    (_memory, "Memory under overload", "resident_mib"),
)
