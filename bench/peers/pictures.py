"""Pictures of the benchmark page. Needs matplotlib (extra `report`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.errors import MissingExtraError
from ...runtime.sinks import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_fusions", "draw_races"]

_INK, _OURS, _THEIRS, _LOST = "#1f2933", "#2f6f9f", "#9aa5b1", "#c0504d"


def draw_races(report: Mapping[str, Any], path: Path) -> Path:
    """Bars of every race: how many times ours, with the spread over the rounds; red where ours was slower."""
    figure = _blank(2.2 * len(report["races"]))
    for index, (name, race) in enumerate(report["races"].items()):
        axes = figure.add_subplot(len(report["races"]), 1, index + 1)
        rows = [row for row in race["rows"] if row.get("times_ours")]
        middles = [row["times_ours"]["median"] for row in rows]
        spread = [
            [middle - row["times_ours"]["p10"] for middle, row in zip(middles, rows, strict=True)],
            [row["times_ours"]["p90"] - middle for middle, row in zip(middles, rows, strict=True)],
        ]
        colours = [_OURS if row["name"].startswith("chiasm") else _LOST if middle < 1 else _THEIRS
                   for middle, row in zip(middles, rows, strict=True)]  # fmt: skip
        axes.barh([row["name"] for row in rows], middles, xerr=spread, color=colours, ecolor=_INK, height=0.7)
        axes.invert_yaxis()
        axes.axvline(1.0, color=_INK, linewidth=0.8)
        axes.set_title(f"{name}: {race['says']}", loc="left", fontsize=9, color=_INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=_INK)
    figure.supxlabel("times as long as chiasm", fontsize=8)
    return _write(figure, path)


def draw_fusions(report: Mapping[str, Any], path: Path) -> Path:
    """Accuracy of the first head over the latency, a point for every kind and set."""
    figure = _blank(4.5)
    axes = figure.add_subplot()
    for kind in report["peak_rss_mib"]:
        rows = [row for row in report["rows"] if row["fusion"] == kind and row["accuracy"]]
        axes.scatter([row["latency_ms"]["p50"] for row in rows],
                     [100 * next(iter(row["accuracy"].values())) for row in rows], label=kind, s=18)  # fmt: skip
    axes.set_xlabel("a decision, p50, ms", fontsize=8)
    axes.set_ylabel("right, %", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=_INK)
    axes.legend(fontsize=8, frameon=False)
    return _write(figure, path)


def _blank(height: float) -> Figure:
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "report", "drawing a bench")
    from matplotlib.figure import Figure

    return Figure(figsize=(9, max(2.5, height)), layout="constrained")


def _write(figure: Figure, path: Path) -> Path:
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "chiasm"}):  # the same picture is the same file
        write_file(path, lambda file: figure.savefig(file, format="svg", metadata={"Date": None}))
    return path
