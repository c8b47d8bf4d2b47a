"""The demo's report: one page of HTML that holds everything it shows, and asks the network for nothing."""

from __future__ import annotations

import shlex
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from .demo_charts import histogram, percentile, plain, ribbons, segments, stages, weights
from .demo_drive import FPS
from .demo_pictures import CONDITIONS, Example, encode_png
from .demo_story import Decision, Story

__all__ = ["render"]

EMBED_BYTES = 12_000_000
"""A larger video is linked beside the page instead of being inside it."""
HEADS = ("hazard", "weather", "object")
SHORTEST_EVENT_S = 0.3
SENSES = {"image": "camera", "audio": "microphone", "text": "radio notes", "radar": "radar"}


FILM = """
Every frame with what was decided at that moment. Turn the sound on: the model hears the same. A click on a chart below
jumps to that moment here."""
SEEN = """
Each pair of ribbons shows the truth of the street above and what the model decided below."""
SAID = """
What the radio said meanwhile. Some notes are useless and some are false; those about exits are always true."""
WEIGHED = """
The fusion head gives every sense a weight in every decision, from what it carries and how old it is. The weights sum to
one. When a plug is pulled the last capture counts on, less and less; when it is too old the sense is absent: it has no
weight, and its encoder does not run."""
TOOK = """
Measured while the files were played in real time, as a camera would deliver them. A decision is quick when only the
picture is new, and slower when a new stretch of sound or radar comes with it: what has not changed is not encoded
again."""
MADE = """
The same fused state can be turned back into a picture. The camera was not asked: each picture is made from what stands
on the left alone, by a denoiser that was distilled to a few steps. What those senses cannot know is made up from what
such streets look like."""

NEXT = (
    (
        "the same files again: your own film and results",
        "chiasm run reference --image {0}/drive.mp4 --audio {0}/drive.mp4 --radar {0}/drive.npz \\\n"
        "    --text {0}/notes.txt --sink my.mp4 --sink my.jsonl",
    ),
    ("your camera and microphone, in a window", "chiasm run reference --image camera:0 --audio mic: --sink window"),
    ("a picture from words", 'chiasm generate reference --text "a red bus on the left in the rain" --out bus.png'),
    ("another, longer drive", "chiasm demo --seed 7 --seconds 30 --out longer"),
    ("what the bundle holds, and what each precision costs", "chiasm inspect reference"),
    ("every figure of this machine", "chiasm bench reference --scenario all --out bench.json --plot bench.png"),
    ("what is installed and what is missing", "chiasm doctor"),
)


def _paragraph(words: str) -> str:
    return f"<p>{' '.join(words.split())}</p>"


def render(story: Story) -> str:
    """The whole page."""
    here = Path(__file__).parent
    style = (here / "demo_report.css").read_text("utf-8")
    script = (here / "demo_report.js").read_text("utf-8")
    parts = (
        _opening(story),
        _film(story),
        _seen(story),
        _contributed(story),
        _took(story),
        _made(story),
        _machine(story),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>chiasm: a drive of {story.seconds:g} seconds</title><style>{style}</style></head><body><main>"
        + "".join(parts)
        + _next(story)
        + f"</main><script>{script}</script></body></html>\n"
    )


def _rights(decisions: Sequence[Decision], head: str) -> float:
    """Share of decisions that were right."""
    return float(np.mean([d.labels.get(head) == d.truth[head] for d in decisions])) if decisions else float("nan")


def _failing(story: Story, decision: Decision) -> list[str]:
    """Senses that give nothing new at a decision's moment: the plug is pulled, or nothing has come yet."""
    pulled = {name for name, (start, end) in story.outages.items() if start <= decision.time_s < end}
    return [name for name in story.modalities if name in pulled or name not in decision.weights]


def _tile(figure: str, unit: str, words: str) -> str:
    return f'<div class="tile"><b>{figure}<small>{unit}</small></b><span>{words}</span></div>'


def _opening(story: Story) -> str:
    totals = [1e3 * value for value in story.live.totals]
    ages = [1e3 * value for value in story.live.frame_ages]
    dropped = sum(story.live.dropped.values())
    tiles = [
        _tile(f"{len(story.decisions)}", "", f"decisions, {FPS} a second, from {len(story.modalities)} senses"),
        _tile(
            f"{100 * _rights(story.decisions, 'hazard'):.0f}", " %", "of them named the right hazard, outages included"
        ),
        _tile(f"{percentile(totals, 0.5):.1f}", " ms", "for a decision at the median (p50)"),
        _tile(f"{percentile(totals, 0.99):.1f}", " ms", "for the slowest in a hundred (p99)"),
        _tile(f"{percentile(ages, 0.99):.0f}", " ms", "from capture to decision, frame age at p99"),
        _tile(f"{dropped}", "", "captures came too late and were dropped"),
    ]
    (dark, light), (mute, loud) = story.outages["image"], story.outages["audio"]
    lead = f"""
        A small vehicle drives through a street for {story.seconds:g} seconds. It sees, hears, measures with radar and
        reads the radio. From {dark:.1f} to {light:.1f} s the camera is dark; from {mute:.1f} to {loud:.1f} s the
        microphone is unplugged. The decisions go on."""
    return (
        '<p class="eyebrow">chiasm · demo</p><h1>Four senses, one decision</h1>'
        f'<p class="lead">{" ".join(lead.split())}</p><div class="tiles">{"".join(tiles)}</div>'
    )


def _film(story: Story) -> str:
    source = "annotated.mp4"
    if len(story.video) <= EMBED_BYTES:
        source = "data:video/mp4;base64," + b64encode(story.video).decode()
    film = f'<video controls playsinline preload="metadata" src="{source}"></video>'
    return f"<h2>The drive</h2>{_paragraph(FILM)}{film}"


def _seen(story: Story) -> str:
    heads = [head for head in HEADS if head in story.labels]
    figures = ", ".join(f"{plain(head)} {100 * _rights(story.decisions, head):.0f} %" for head in heads)
    notes = "".join(f"<li><b>{time_s:.1f} s</b>“{escape(words)}”</li>" for time_s, words in story.notes)
    words = f"{SEEN} Right: {figures}. {_lag(story)}"
    return (
        f'<h2>What was seen</h2>{_paragraph(words)}<div class="chart">{ribbons(story, heads)}</div>{_events(story)}'
        f'{_paragraph(SAID)}<ul class="notes">{notes}</ul>'
    )


def _lag(story: Story) -> str:
    """Why a change is not named at once."""
    windows = " and ".join(f"{seconds:.2g} s of {name}" for name, seconds in story.windows.items())
    return (
        f"A capture holds the last {windows}, so what is heard or measured takes a moment to show." if windows else ""
    )


def _events(story: Story) -> str:
    """For each stretch of one true hazard: how long until it was named, and how often it was."""
    times = [decision.time_s for decision in story.decisions]
    truth = [decision.truth["hazard"] for decision in story.decisions]
    rows = []
    for start, end, label in segments(times, truth, story.seconds):
        inside = [d for d in story.decisions if start <= d.time_s < end]
        if end - start < SHORTEST_EVENT_S:
            continue
        first = next((d.time_s - start for d in inside if d.labels.get("hazard") == label), None)
        named = "never" if first is None else "at once" if first < 0.5 / FPS else f"after {first:.2f} s"
        failing = sorted({SENSES.get(name, name) for decision in inside for name in _failing(story, decision)})
        rows.append(
            f"<tr><td>{plain(label)}</td><td>{start:.1f} to {end:.1f} s</td><td>{named}</td>"
            f"<td>{100 * _rights(inside, 'hazard'):.0f} %</td><td>{', '.join(failing) or 'nothing'}</td></tr>"
        )
    head = "<tr><th>hazard</th><th>when</th><th>named</th><th>right</th><th>failing meanwhile</th></tr>"
    return f'<div class="chart"><div class="scroll"><table class="figures">{head}{"".join(rows)}</table></div></div>'


def _contributed(story: Story) -> str:
    shifts = "".join(f"<p>{line}</p>" for line in _shifts(story))
    return f'<h2>What each sense contributed</h2>{_paragraph(WEIGHED)}<div class="chart">{weights(story)}</div>{shifts}'


def _shifts(story: Story) -> Iterator[str]:
    """Where the weight of a failing sense went: the second before, against the end of its outage."""
    for name, (start, end) in story.outages.items():
        before = [d for d in story.decisions if start - 1.0 <= d.time_s < start and name in d.weights]
        during = [d for d in story.decisions if start <= d.time_s < end]
        late = [d for d in during if d.time_s >= end - 0.2]
        if not before or not late:
            continue
        was, then = (
            {m: float(np.mean([d.weights.get(m, 0.0) for d in group])) for m in story.modalities}
            for group in (before, late)
        )
        gains = sorted(((then[other] - was[other], other) for other in story.modalities if other != name), reverse=True)
        words = ", ".join(f"{SENSES.get(other, other)} {100 * gain:+.0f}" for gain, other in gains)
        sense, right = SENSES.get(name, name), 100 * _rights(during, "hazard")
        yield (
            f"<strong>Without the {sense}:</strong> its weight went from {100 * was[name]:.0f} % to "
            f"{100 * then[name]:.0f} %; the others took it over (in points: {escape(words)}). {right:.0f} % of the "
            f"{len(during)} decisions meanwhile named the right hazard."
        )


def _took(story: Story) -> str:
    totals = [1e3 * value for value in story.live.totals]
    bars = stages(story.live.stages, len(totals), story.modalities)
    return (
        f"<h2>How long it took</h2>{_paragraph(TOOK)}"
        f'<div class="chart">{histogram(totals)}</div><div class="chart">{bars}</div>'
    )


def _made(story: Story) -> str:
    if not story.examples:
        return ""
    steps = sorted({number for _, number in story.examples[0].pictures})
    names = ["true frame"] + [f"{number} step{'s' if number > 1 else ''}" for number in steps]
    captions = "".join(f'<th colspan="{len(names)}">“{escape(example.words)}”</th>' for example in story.examples)
    columns = "".join(f"<th>{name}</th>" for name in names) * len(story.examples)
    rows = []
    for row, condition in enumerate(CONDITIONS):
        cells = "".join(_cells(example, condition, steps, row == 0) for example in story.examples)
        rows.append(f'<tr><th scope="row">{"<br>+ ".join(condition)}</th>{cells}</tr>')
    return (
        f"<h2>Pictures from the other senses</h2>{_paragraph(MADE)}"
        f'<div class="scroll"><table class="pictures"><tr><th></th>{captions}</tr><tr><th></th>{columns}</tr>'
        f"{''.join(rows)}</table></div>"
    )


def _cells(example: Example, condition: tuple[str, ...], steps: Sequence[int], first: bool) -> str:
    truth = ""
    if first:
        truth = f'<td class="truth" rowspan="{len(CONDITIONS)}">{_image(example.truth)}{_facts(example)}</td>'
    pictures = [
        f"<td{' class=last' if number == steps[-1] else ''}>{_image(example.pictures[condition, number])}</td>"
        for number in steps
    ]
    return truth + "".join(pictures)


def _facts(example: Example) -> str:
    """What each sense could know of the scene."""
    scene = example.scene
    heard = [scene.source if scene.source == "bell" else f"{scene.source} engine"] if scene.source != "none" else []
    heard += ["siren"] * scene.siren + ["horn"] * scene.horn + ["reversing beep"] * scene.beep
    heard += ["rain"] * (scene.weather == "rain")
    echo = f"{scene.distance_m:.0f} m away, closing at {scene.closing_mps:.1f} m/s"
    return f"to hear:<br>{', '.join(heard) or 'wind and tyres'}<br><br>on radar:<br>{echo}"


def _image(picture: Any) -> str:
    return f'<img alt="" src="data:image/png;base64,{b64encode(encode_png(picture)).decode()}">'


def _machine(story: Story) -> str:
    """The bench, where it was run."""
    rows = []
    for name, scenario in story.bench.get("scenarios", {}).items():
        headline: Mapping[str, Any] = scenario.get("headline", {})
        latency: Mapping[str, Any] = scenario.get("latency_ms", {})
        spread = "".join(f"<td>{_number(latency.get(column))}</td>" for column in ("p50", "p90", "p99"))
        value = f"{_number(headline.get('value'))} {escape(str(headline.get('unit', '')))}"
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{escape(str(headline.get('name', '')))}: {value}</td>{spread}"
            f"<td>{scenario.get('steps', '')}</td><td>{_number(scenario.get('peak_rss_mib'))}</td></tr>"
        )
    where = story.bench.get("machine", {})
    facts = [where.get("cpu"), f"{where['cores']} cores" if "cores" in where else None, where.get("os")]
    on = escape(", ".join(str(fact) for fact in facts if fact)) or "An unnamed machine"
    chosen = ", ".join(f"{escape(part)} {escape(precision)}" for part, precision in story.precisions.items())
    words = f"{on}. Backend {escape(story.backend)}; precisions: {chosen}. {escape(str(story.bench.get('note', '')))}"
    names = ("scenario", "figure", "p50 ms", "p90 ms", "p99 ms", "steps", "peak MiB")
    head = f"<tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>"
    return (
        f"<h2>On this machine</h2>{_paragraph(words)}"
        f'<div class="chart"><div class="scroll"><table class="figures">{head}{"".join(rows)}</table></div></div>'
        '<p class="note">The whole measurement is in <a href="bench.json">bench.json</a>.</p>'
    )


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _next(story: Story) -> str:
    """Commands that lead on from here."""
    folder = shlex.quote(story.folder)
    body = "\n".join(
        f'<span class="why"># {escape(why)}</span>\n{escape(command.format(folder))}\n' for why, command in NEXT
    )
    name = story.manifest.model.name
    footer = f"{name} · drive {story.seed}, {story.seconds:g} s · made on this machine; loads nothing from a network"
    return f"<h2>What to try next</h2><pre>{body}</pre><footer>{escape(footer)}</footer>"
