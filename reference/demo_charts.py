"""The report's charts as SVG text. Colours come from the page's style sheet, so they follow its light or dark theme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby

import numpy as np

from .demo_story import Story

__all__ = ["histogram", "percentile", "plain", "ribbons", "segments", "stages", "weights"]

WIDTH, LEFT, RIGHT = 1000.0, 116.0, 16.0
_LETTER = 7.6
"""About the width of a letter at the ribbons' size."""


def plain(label: str) -> str:
    """A label as people write it, safe in HTML."""
    return escape(label.replace("_", " "))


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: an observed value."""
    ordered = sorted(values)
    return ordered[max(0, int(np.ceil(share * len(ordered))) - 1)] if ordered else float("nan")


def segments(times: Sequence[float], labels: Sequence[str], end_s: float) -> list[tuple[float, float, str]]:
    """(from, to, label) of equal neighbours."""
    found, index = [], 0
    for label, group in groupby(labels):
        first, index = index, index + len(list(group))
        found.append((times[first], times[index] if index < len(times) else end_s, label))
    return found


def _x(time_s: float, seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * time_s / seconds


def _svg(height: float, body: Sequence[str], label: str, seconds: float | None = None) -> str:
    timed = (
        "" if seconds is None else f' data-left="{LEFT:g}" data-right="{WIDTH - RIGHT:g}" data-seconds="{seconds:g}"'
    )
    cursor = "" if seconds is None else f'<line class="cursor" x1="{LEFT:g}" x2="{LEFT:g}" y1="0" y2="{height:g}"/>'
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(label)}"{timed}>'
        '<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<line class="hatch" x1="0" y1="0" x2="0" y2="7"/></pattern></defs>' + "".join(body) + cursor + "</svg>"
    )


def _outages(story: Story, top: float, height: float) -> list[str]:
    names = {"image": "camera dark", "audio": "microphone unplugged"}
    body = []
    for name, (start, end) in story.outages.items():
        x, width = _x(start, story.seconds), _x(end, story.seconds) - _x(start, story.seconds)
        body.append(f'<rect class="outage" x="{x:.1f}" y="{top - 6:g}" width="{width:.1f}" height="{height + 12:g}"/>')
        body.append(f'<text class="small warn" x="{x + 5:.1f}" y="{top - 12:g}">{names.get(name, name)}</text>')
    return body


def _axis(seconds: float, y: float) -> list[str]:
    step = next(step for step in (1, 2, 5, 10, 20, 30, 60) if seconds / step <= 12)
    return [
        f'<text class="small faint mid" x="{_x(time_s, seconds):.1f}" y="{y:g}">{time_s} s</text>'
        for time_s in range(0, int(seconds) + 1, step)
    ]


def ribbons(story: Story, heads: Sequence[str]) -> str:
    """Truth above decision for each head, over the drive."""
    times = [decision.time_s for decision in story.decisions]
    body: list[str] = []
    y = top = 34.0
    for head in heads:
        order = list(story.labels.get(head, ()))
        body.append(f'<text class="label" x="0" y="{y + 18:g}">{plain(head)}</text>')
        for row, words in enumerate(("truth", "decided")):
            source = [decision.truth[head] if row == 0 else decision.labels[head] for decision in story.decisions]
            body.append(f'<text class="small faint end" x="{LEFT - 8:g}" y="{y + 16 + 24 * row:g}">{words}</text>')
            for start, end, label in segments(times, source, story.seconds):
                kind = ("l" if head == heads[0] else "k") + str((order.index(label) if label in order else 0) % 7)
                body.append(_segment(story.seconds, start, end, label, kind, y + 24 * row))
        y += 66
    height = y - 14
    body += _outages(story, top, height - top)
    body += _axis(story.seconds, height + 16)
    return _svg(height + 24, body, "Truth and decisions over time", story.seconds)


def _segment(seconds: float, start: float, end: float, label: str, kind: str, y: float) -> str:
    x, width = _x(start, seconds), _x(end, seconds) - _x(start, seconds)
    words = plain(label)
    shape = (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:g}" width="{max(0.8, width - 1.2):.1f}" height="22" rx="3">'
        f"<title>{words}, {start:.1f} to {end:.1f} s</title></rect>"
    )
    if len(words) * _LETTER + 12 > width:
        return shape
    return shape + f'<text class="inside" x="{x + 7:.1f}" y="{y + 15.5:g}">{words}</text>'


def weights(story: Story) -> str:
    """Stacked shares of the modalities; where one is absent its band is gone."""
    top, high = 34.0, 190.0
    times = np.array([decision.time_s for decision in story.decisions])
    shares = np.array([[d.weights.get(name, 0.0) for name in story.modalities] for d in story.decisions])
    edges = np.concatenate([np.zeros((len(times), 1)), np.cumsum(shares, axis=1)], axis=1)
    body = [f'<rect class="track" x="{LEFT:g}" y="{top:g}" width="{WIDTH - LEFT - RIGHT:g}" height="{high:g}"/>']
    for number, name in enumerate(story.modalities):
        upper = [(_x(t, story.seconds), top + high * (1 - e)) for t, e in zip(times, edges[:, number + 1], strict=True)]
        lower = [(_x(t, story.seconds), top + high * (1 - e)) for t, e in zip(times, edges[:, number], strict=True)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in upper + lower[::-1])
        body.append(f'<polygon class="m{number % 6}" points="{points}"><title>{plain(name)}</title></polygon>')
        # The name stands where the band is thickest.
        widest = int(np.convolve(shares[:, number], np.ones(31) / 31, "same").argmax())
        if shares[widest, number] * high > 16:
            x = min(max(_x(times[widest], story.seconds), LEFT + 30), WIDTH - RIGHT - 30)
            y = top + high * (1 - (edges[widest, number] + edges[widest, number + 1]) / 2) + 4.5
            body.append(f'<text class="inside mid" x="{x:.1f}" y="{y:.1f}">{plain(name)}</text>')
    for share in (0.0, 0.5, 1.0):
        y = top + high * (1 - share)
        body.append(f'<text class="small faint end" x="{LEFT - 8:g}" y="{y + 4:.1f}">{100 * share:.0f} %</text>')
    body += _outages(story, top, high) + _axis(story.seconds, top + high + 24)
    return _svg(top + high + 32, body, "Weights of the modalities over time", story.seconds)


def histogram(values_ms: Sequence[float]) -> str:
    """How the latencies are distributed, with the percentiles that matter."""
    top, high, base = 40.0, 150.0, 190.0
    marks = {"p50": percentile(values_ms, 0.5), "p90": percentile(values_ms, 0.9), "p99": percentile(values_ms, 0.99)}
    # A far p99 would press everything else against the axis: then it is named at the edge.
    limit = max(min(1.15 * marks["p99"], 4.0 * marks["p90"]), 1e-3)
    counts, edges = np.histogram([value for value in values_ms if value <= limit], bins=60, range=(0.0, limit))
    scale = (WIDTH - LEFT - RIGHT) / limit
    body = [f'<line class="rule" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{base:g}" y2="{base:g}"/>']
    for number, start in zip(counts, edges[:-1], strict=True):
        bar = high * number / max(1, counts.max())
        x, width = LEFT + scale * start, scale * limit / 60 - 2
        what = "decision" if number == 1 else "decisions"
        body.append(
            f'<rect class="bar" x="{x:.1f}" y="{base - bar:.1f}" width="{width:.1f}" height="{bar:.1f}" rx="2">'
            f"<title>{number} {what}, {start:.2f} to {start + limit / 60:.2f} ms</title></rect>"
        )
    for row, (name, value) in enumerate(marks.items()):
        x, y = LEFT + scale * value, 14.0 + 13 * row
        beyond = value > limit
        if not beyond:
            body.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 4:g}" y2="{base:g}"/>')
        side, x = ("end", min(x - 5, WIDTH - RIGHT)) if x > WIDTH - 160 else ("", x + 5)
        words = f'<tspan class="strong">{name}</tspan> {value:.2f} ms{" →" if beyond else ""}'
        body.append(f'<text class="small {side}" x="{x:.1f}" y="{y + 6:g}">{words}</text>')
    for tick in _ticks(0.93 * limit):
        x = LEFT + scale * tick
        body.append(f'<text class="small faint mid" x="{x:.1f}" y="{base + 18:g}">{tick:g}</text>')
    further = len(values_ms) - int(counts.sum())
    if further:
        words = f"{further} more, up to {max(values_ms):.1f} ms →"
        body.append(f'<text class="small faint end" x="{WIDTH - RIGHT:g}" y="{base - 8:g}">{words}</text>')
    body.append(f'<text class="small faint end" x="{WIDTH - RIGHT:g}" y="{base + 18:g}">milliseconds</text>')
    body.append(f'<text class="small faint end" x="{LEFT - 8:g}" y="{top + 8:g}">decisions</text>')
    return _svg(base + 26, body, "Latency of one decision")


def _ticks(limit: float) -> list[float]:
    """Round numbers from 0 to the limit, about six of them."""
    rough = limit / 6
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))
    return [round(step * number, 6) for number in range(int(limit / step) + 1)]


def stages(seconds: Mapping[str, Sequence[float]], steps: int, modalities: Sequence[str]) -> str:
    """Where a mean decision's time goes: one bar, and what it is made of."""
    rows = [(name, 1e3 * sum(values) / steps, len(values)) for name, values in seconds.items() if name != "total"]
    total = 1e3 * sum(seconds["total"]) / steps
    rows.sort(key=lambda row: -row[1])
    rows.append(("everything else", max(0.0, total - sum(row[1] for row in rows)), steps))
    scale, x, body, lines = WIDTH / max(total, 1e-9), 0.0, [], []
    for name, share, runs in rows:
        kind, width = _stage_class(name, modalities), scale * share
        title = f"<title>{escape(name)}: {share:.3f} ms</title>"
        shape = f'x="{x:.1f}" y="0" width="{max(0.5, width - 1.5):.1f}" height="34" rx="3"'
        body.append(f'<rect class="{kind}" {shape}>{title}</rect>')
        if len(name) * _LETTER + 14 < width:
            body.append(f'<text class="inside" x="{x + 8:.1f}" y="22">{escape(name)}</text>')
        x += width
        cells = (
            f"{share:.3f} ms",
            f"{100 * share / total:.0f} %",
            f"{runs} of {steps}",
            f"{share * steps / runs:.3f} ms",
        )
        numbers = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f'<tr><td><i class="{kind}"></i>{escape(name)}</td>{numbers}</tr>')
    head = "<tr><th>stage</th><th>per decision</th><th>share</th><th>ran</th><th>when it ran</th></tr>"
    table = f'<div class="scroll"><table class="figures">{head}{"".join(lines)}</table></div>'
    return _svg(34, body, "Stages of a decision") + table


def _stage_class(name: str, modalities: Sequence[str]) -> str:
    """The colour of the modality, paler for preparing it; grey for what all share."""
    step, _, modality = name.partition(".")
    if modality in modalities:
        return f"m{list(modalities).index(modality) % 6}" + (" pale" if step == "preprocess" else "")
    return {"fuse": "s0", "heads": "s1"}.get(name, "s2")
