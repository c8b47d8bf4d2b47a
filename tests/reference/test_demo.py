from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.reference.demo import SEED, Outcome, run_demo
from chiasm.reference.demo_charts import percentile, segments
from chiasm.reference.demo_drive import FPS, SIZE, record
from chiasm.reference.demo_story import outages
from chiasm.reference.drive import Drive
from chiasm.runtime import open_bundle, open_source
from chiasm.runtime.errors import ChiasmError, InputError, MissingExtraError

av: Any = pytest.importorskip("av")
cv2: Any = pytest.importorskip("cv2")

SECONDS = 4.0
FILES = {"annotated.mp4", "bench.json", "drive.mp4", "drive.npz", "generated.png", "notes.txt", "report.html"}
BENCH = {
    "note": "a pretended <bench>",
    "machine": {"cpu": "a pretended processor", "cores": 2, "os": "some system"},
    "scenarios": {
        "single-stream": {
            "steps": 7, "headline": {"name": "p90 latency", "value": 1.5, "unit": "ms"},
            "latency_ms": {"p50": 1.0, "p90": 1.5, "p99": None}, "peak_rss_mib": 99.0,
        }
    },
}  # fmt: skip


def bench(advance: Callable[[float], None]) -> Mapping[str, Any]:
    advance(1.0)
    return BENCH


class Page(HTMLParser):
    """Checks that elements close in order; collects tags, addresses and text."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "poster", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome, list[tuple[str, float]]]:
    """One short demo with the tiny bundle."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("demo") / "demo"
    moves: list[tuple[str, float]] = []
    outcome = run_demo(
        folder, tiny, seconds=SECONDS, seed=1, bench=bench, advance=lambda words, done: moves.append((words, done))
    )
    return folder, outcome, moves


def test_everything_is_there_and_nothing_else(made: tuple[Path, Outcome, Any]) -> None:
    folder, outcome, _ = made
    assert {path.name for path in folder.iterdir()} == FILES
    assert {path.name for path in outcome.files} == FILES
    assert outcome.files[0].name == "report.html"
    assert outcome.decisions == SECONDS * FPS
    assert 0 <= outcome.right <= 1
    assert 0 < outcome.p50_ms <= outcome.p99_ms


def test_progress_runs_forward(made: tuple[Path, Outcome, list[tuple[str, float]]]) -> None:
    fractions = [done for _, done in made[2]]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= 0.01
    assert 0.9 < fractions[-1] <= 1


def test_the_film_is_whole_and_has_the_sound_of_the_drive(made: tuple[Path, Outcome, Any]) -> None:
    folder = made[0]
    with av.open(str(folder / "annotated.mp4")) as film, av.open(str(folder / "drive.mp4")) as drive:
        assert film.streams.video[0].codec_context.name == "h264"
        assert film.streams.video[0].pix_fmt == "yuv420p"
        assert sum(1 for _ in film.decode(video=0)) == SECONDS * FPS
        film.seek(0)
        heard = [bytes(packet) for packet in film.demux(audio=0) if packet.size]
        assert heard == [bytes(packet) for packet in drive.demux(audio=0) if packet.size]


def test_the_report_is_one_page_that_needs_nothing_else(made: tuple[Path, Outcome, Any]) -> None:
    text = (made[0] / "report.html").read_text("utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(address.startswith("data:") or address == "bench.json" for address in page.addresses)
    assert not re.findall(r"https?://|@import|url\((?!#)", text)
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 2 * (1 + 5 * 3)
    film = next(attrs["src"] for tag, attrs in page.tags if tag == "video")
    assert film is not None
    assert film.startswith("data:video/mp4;base64,AAAA")
    for words in ("camera dark", "microphone unplugged", "p99", "a pretended processor", "a pretended <bench>"):
        assert words in page.words
    assert f"chiasm run reference --image {made[0]}/drive.mp4" in page.words


def test_the_charts_show_the_outages_where_they_were(made: tuple[Path, Outcome, Any]) -> None:
    page = Page()
    page.feed((made[0] / "report.html").read_text("utf-8"))
    charts = [attrs for tag, attrs in page.tags if tag == "svg" and "data-seconds" in attrs]
    shades = [attrs for tag, attrs in page.tags if tag == "rect" and attrs.get("class") == "outage"]
    assert len(charts) == 2
    assert len(shades) == 2 * len(outages(SECONDS))
    left, right = (float(charts[0][f"data-{side}"] or 0) for side in ("left", "right"))
    start, end = outages(SECONDS)["image"]
    assert float(shades[0]["x"] or 0) == pytest.approx(left + (right - left) * start / SECONDS, abs=0.1)
    assert float(shades[0]["width"] or 0) == pytest.approx((right - left) * (end - start) / SECONDS, abs=0.1)


def test_the_sheet_has_a_true_frame_in_every_row(made: tuple[Path, Outcome, Any]) -> None:
    sheet = cv2.imread(str(made[0] / "generated.png"))
    cells = [sheet[156 + row * 160 : 156 + row * 160 + 152, 196 : 196 + 152] for row in range(5)]
    for cell in cells[1:]:
        np.testing.assert_array_equal(cell, cells[0])
    assert cells[0].std() > 20


def test_a_recording_reads_back_as_it_was_drawn(tmp_path: Path, tiny: Path) -> None:
    drive = Drive(3, 1.0)
    recording = record(drive, tmp_path, lambda _: None)
    modalities = {modality.name: modality for modality in open_bundle(tiny).manifest.modalities}
    packets = {name: list(open_source(modalities[name], uri)) for name, uri in recording.uris().items()}
    assert [p.time_s for p in packets["image"]] == pytest.approx([k / FPS for k in range(FPS)], abs=1e-4)
    first = np.asarray(packets["image"][0].data)
    assert first.shape == (SIZE[1], SIZE[0], 3)
    assert np.abs(first.astype(int) - drive.frame(0.0, (SIZE[1], SIZE[0]))).mean() < 4
    times, rows = drive.radar_rows()
    assert [p.time_s for p in packets["radar"]] == pytest.approx(times.tolist())
    np.testing.assert_array_equal(packets["radar"][-1].data[-1], rows[-1])
    assert [(p.time_s, p.data) for p in packets["text"]] == [(round(t, 2), words) for t, words in drive.texts()]
    heard, sound = packets["audio"][-1], drive.sound()
    assert heard.time_s == pytest.approx(1.0, abs=0.07)
    first = round(heard.time_s * 16000) - len(heard.data)
    assert np.corrcoef(heard.data[: 16000 - first], sound[first:])[0, 1] > 0.98


@pytest.mark.parametrize("seconds", [0.0, 3.9, 121.0, float("nan")])
def test_a_length_that_cannot_be(tmp_path: Path, tiny: Path, seconds: float) -> None:
    with pytest.raises(InputError, match="expected 4 to 120 s"):
        run_demo(tmp_path / "demo", tiny, seconds=seconds, bench=bench, advance=lambda *_: None)
    assert not (tmp_path / "demo").exists()


def test_a_bundle_of_another_model(tmp_path: Path) -> None:
    from bundles import tiny_bundle

    def rename(manifest: dict[str, Any]) -> None:
        manifest["modalities"][3]["name"] = manifest["fusion"]["order"][3] = "lidar"
        for kind in manifest["fusion"]["kinds"].values():
            manifest["parts"][kind]["inputs"][3]["name"] = "lidar"

    with pytest.raises(InputError, match="reference model's senses: found image, text, audio, lidar"):
        run_demo(tmp_path / "demo", tiny_bundle(tmp_path, mutate=rename), bench=bench, advance=lambda *_: None)
    assert not (tmp_path / "demo").exists()


def test_the_demo_needs_its_extra(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chiasm.reference.demo.find_spec", lambda name: None if name == "av" else object())
    with pytest.raises(MissingExtraError, match=r"chiasm\[camera\]"):
        run_demo(tmp_path / "demo", tiny, bench=bench, advance=lambda *_: None)


def test_the_command_shows_the_same_drive() -> None:
    from chiasm.cli.demo import command

    assert inspect.signature(command).parameters["seed"].default == SEED


@pytest.mark.slow
def test_the_command_measures_in_a_process_of_its_own(tiny: Path) -> None:
    pytest.importorskip("onnxruntime")
    from chiasm.cli.demo import _bench

    report = _bench(tiny)(lambda _: None)
    assert set(report["scenarios"]) == {"single-stream", "fixed-rate"}
    assert report["scenarios"]["fixed-rate"]["frame_age_ms"]["p50"] > 0


def test_a_bench_that_fails_says_why(tmp_path: Path) -> None:
    from chiasm.cli.demo import _bench

    with pytest.raises(ChiasmError, match=r"the bench failed: found No bundle here.*Try: chiasm bench"):
        _bench(tmp_path / "nowhere")(lambda _: None)


def test_segments_and_percentiles() -> None:
    assert segments([0.0, 0.1, 0.2, 0.3], ["a", "a", "b", "a"], 0.4) == [
        (0.0, 0.2, "a"),
        (0.2, 0.3, "b"),
        (0.3, 0.4, "a"),
    ]
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert percentile([3.0], 0.5) == 3.0
