"""docs/benchmarks.md and its pictures, made from what was measured: `python -m chiasm.bench.peers.page`.

It reads docs/results/peers*.json (`chiasm bench peers`), fusion.json (`chiasm bench fusion`) and loadgen-*.json
(`report.json` of `chiasm bench BUNDLE --loadgen NAME`), as far as they are there, and says which are not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime.sinks import write_file
from .pictures import draw_fusions, draw_races
from .report import said
from .works import WORKS

__all__ = ["main", "page"]

_HEAD = """# Beside others

Made from `docs/results/*.json` by `python -m chiasm.bench.peers.page`; rows that chiasm loses stay in.

Everybody runs the same checkpoints (published architectures, seeded random weights), the same captures, the same number
of threads, in one interleaved run. Who does not answer as transformers does (cosine of the embedding, at least 0.999 in
FP32 and 0.99 in INT8) is refused, not timed. *Times ours*: how many times longer than chiasm, median over the rounds
with the 10th and 90th percentile. Where *alike* is near 1, such weights give similar answers to different captures, and
the cosine says less than it would of trained ones. The processors are transformers' own, on Pillow. Peers keep nothing
from step to step: on a stream whose text does not change they read it again, as their examples do.

```sh
pip install '.[cpu,camera-headless,export,report,loadgen]' openvino nncf
chiasm bench peers --work FOLDER --seconds 60 --out docs/results/peers.json
chiasm bench fusion --seconds 60 --out docs/results/fusion.json
chiasm bench reference --loadgen server --seconds 60 --out FOLDER/server    # and the other scenarios
python -m chiasm.bench.peers.page
```
"""


def page(results: Path, pictures: Path) -> str:
    """The page's text; draws its pictures into `pictures`, a folder beside it or below."""
    lines = [_HEAD]
    for path in sorted(results.glob("peers*.json")):
        report = json.loads(path.read_text())
        picture = draw_races(report, pictures / f"{path.stem}.svg")
        lines += [*_races(path, report), f"![times ours]({results.name}/{picture.name})", ""]
    fusion = results / "fusion.json"
    if fusion.exists():
        report = json.loads(fusion.read_text())
        picture = draw_fusions(report, pictures / "fusion.svg")
        lines += [*_fusions(report), f"![kinds of fusion]({results.name}/{picture.name})", ""]
    runs = [json.loads(path.read_text()) for path in sorted(results.glob("loadgen-*.json"))]
    if runs:
        lines += list(_load_gen(runs))
    lines += list(_missing(results))
    return "\n".join(lines).rstrip() + "\n"


def _where(report: Mapping[str, Any]) -> str:
    machine = report["machine"]
    return f"{report['when'][:10]}: {machine['cpu']}, {machine['cores']} cores, {machine['os']}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _races(path: Path, report: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {path.name}"
    yield ""
    yield f"{_where(report)}; {report['threads']} threads; {_versions(report['versions'])}."
    yield ""
    if report["pace"]["quick"]:
        yield "**A quick run**: fewer samples than a figure to quote needs."
        yield ""
    busiest = max(race["load"][0] for race in report["races"].values())
    if busiest > 1.5 * report["machine"]["cores"]:
        cores = report["machine"]["cores"]
        yield f"**The machine was shared**: its load average was up to {busiest:.1f} on {cores} cores."
        yield ""
    for name, race in report["races"].items():
        yield f"### {name}: {race['says']}"
        yield ""
        yield from _table(("", "cosine", "alike", "p50 ms", "p90 ms", "samples", "times ours"), [
            *(_race_row(row) for row in race["rows"]),
            *([peer, "-", "-", "-", "-", "-", f"absent: {why}"] for peer, why in race["absent"].items()),
        ])  # fmt: skip
    yield from _beyond(report)


def _race_row(row: Mapping[str, Any]) -> list[str]:
    latency = row.get("latency_ms", {})
    precisions = set(row["notes"].get("precisions", {}).values())
    name = f"{row['name']} ({', '.join(sorted(precisions))})" if precisions else row["name"]
    return [
        name, f"{row['cosine']:.4f}", f"{row['alike']:.3f}", _number(latency.get("p50")), _number(latency.get("p90")),
        str(row.get("samples", "-")), said(row),
    ]  # fmt: skip


def _beyond(report: Mapping[str, Any]) -> Iterator[str]:
    for name, each in report.get("fresh", {}).items():
        yield f"### {name} in a fresh process: first result, peak memory"
        yield ""
        yield from _table(("", "first result, s", "peak, MiB", "processes"), [
            [peer, found["error"], "-", "-"] if "error" in found else
            [peer, f"{found['first_result_s']:.2f}", f"{found['peak_rss_mib']:.0f}", str(found["runs"])]
            for peer, found in each.items()
        ])  # fmt: skip
    ages = {name: each for name, each in report.get("frame_age", {}).items() if isinstance(each, Mapping)}
    if ages:
        yield "### Age of the frame at twice the rate that is sustained"
        yield ""
        yield from _table(("", "p50 ms", "p90 ms", "max ms", "in service times", "steps"), [
            [name, *(_number(each["age_ms"][key]) for key in ("p50", "p90", "max")), f"{each['in_service_times']:.1f}",
             str(each["steps"])]
            for name, each in ages.items() if "age_ms" in each
        ])  # fmt: skip
    yield "### Installed"
    yield ""
    yield from _table(("", "MiB", "largest"), [
        [way, "-", "not installed"] if sizes is None else [way, f"{sum(sizes.values()):.0f}", _largest(sizes)]
        for way, sizes in report["installed_mib"].items()
    ])  # fmt: skip


def _largest(sizes: Mapping[str, float]) -> str:
    first = sorted(sizes, key=lambda name: -sizes[name])[:3]
    return ", ".join(f"{name} {sizes[name]:.0f}" for name in first)


def _fusions(report: Mapping[str, Any]) -> Iterator[str]:
    kinds = list(report["peak_rss_mib"])
    yield "## Kinds of fusion, sets of senses"
    yield ""
    yield (
        f"{_where(report)}; `{report['bundle']['name']}`. A cell: median of a decision in ms / share of the first head "
        "right in FP32 (`verify.json`). *Skipped*: share of the operations of a full decision that do not run."
    )
    yield ""
    rows = []
    for one in dict.fromkeys(tuple(row["present"]) for row in report["rows"]):
        mine = {row["fusion"]: row for row in report["rows"] if tuple(row["present"]) == one}
        skipped = f"{100 * next(iter(mine.values()))['skipped']:.0f} %"
        rows.append([" + ".join(one), skipped, *(_fusion_cell(mine[kind]) for kind in kinds)])
    rows.append(["peak of a fresh process, MiB", "", *(f"{report['peak_rss_mib'][kind]:.0f}" for kind in kinds)])
    yield from _table(("present", "skipped", *kinds), rows)


def _fusion_cell(row: Mapping[str, Any]) -> str:
    accuracy = row["accuracy"]
    right = "-" if not accuracy else f"{100 * next(iter(accuracy.values())):.1f} %"
    return f"{row['latency_ms']['p50']:.2f} / {right}"


def _load_gen(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## MLPerf's LoadGen"
    yield ""
    yield f"{_where(runs[0])}. {runs[0]['note']}"
    yield ""
    keys = (
        "90.0th percentile latency (ns)", "99.0th percentile latency (ns)", "99.00 percentile latency (ns)",
        "Samples per second", "Completed samples per second",
    )  # fmt: skip
    yield from _table(("scenario", "its verdict", "samples", "asked, s", "figures"), [
        [run["scenario"], run["summary"].get("Result is", "-"), str(run["samples"]), f"{run['asked']['seconds']:g}",
         "; ".join(_load_gen_figure(key, run["summary"][key]) for key in keys if key in run["summary"])]
        for run in runs
    ])  # fmt: skip


def _load_gen_figure(key: str, value: str) -> str:
    return f"{key.removesuffix(' (ns)')} {int(value) / 1e6:.1f} ms" if key.endswith("(ns)") else f"{key} {value}"


def _missing(results: Path) -> Iterator[str]:
    raced = {name for path in results.glob("peers*.json") for name in json.loads(path.read_text())["races"]}
    unraced = [name for name in WORKS if name not in raced]
    wanted = {"peers*.json": "races", "fusion.json": "kinds of fusion", "loadgen-*.json": "LoadGen"}
    missing = [words for pattern, words in wanted.items() if not list(results.glob(pattern))]
    yield "## Not measured"
    yield ""
    if missing:
        yield f"- Not run yet: {', '.join(missing)}."
    if unraced:
        yield f"- Not raced yet: {', '.join(unraced)}."
    yield "- Any machine with a GPU, any ARM board. Trained weights: no hub could be reached."


def _versions(found: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks.md"))
    given = parser.parse_args()
    write_file(given.out, page(given.results, given.results).encode())
    print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
