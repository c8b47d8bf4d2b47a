from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from chiasm.runtime.values import Packet

pytest.importorskip("cv2", reason="OpenCV reads the pictures")


def test_json_lines_and_a_summary(chiasm: Callable, tiny: Path, media: Path) -> None:
    outcome = chiasm("run", tiny, "--image", media / "pictures", "--text", "the exit is blocked", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    *results, last = map(json.loads, outcome.out.splitlines())
    assert len(results) == 3
    assert all(abs(sum(result["weights"].values()) - 1) < 1e-5 for result in results)
    assert [result["encoded"] for result in results] == [["image", "text"], ["image"], ["image"]]
    summary = last["summary"]
    assert summary["steps"] == 3
    assert summary["encoded"] == {"image": 3, "text": 1}
    assert summary["dropped"] == {"image": 0, "text": 0}
    assert summary["latency_ms"]["p99"] is None
    assert set(summary["precisions"]) == {"image", "text", "fuse.adaptive", "heads"}


def test_lines_for_a_person_by_default(chiasm: Callable, tiny: Path, media: Path) -> None:
    outcome = chiasm("run", tiny, "--radar", media / "radar.npz", "--audio", media / "sound.wav", "--backend", "null")
    assert outcome.code == 0
    assert "hazard" in outcome.out
    assert "radar encoded" in outcome.err
    assert "p50" in outcome.err


def test_seconds_ends_a_run_early(chiasm: Callable, tiny: Path, media: Path) -> None:
    outcome = chiasm("run", tiny, "--radar", media / "radar.npz", "--seconds", "0.5", "--json", "--fusion", "late")
    *results, last = map(json.loads, outcome.out.splitlines())
    assert 9 <= len(results) <= 11
    assert "fuse.late" in last["summary"]["precisions"]


def test_a_file_sink_holds_the_results(chiasm: Callable, tiny: Path, media: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    outcome = chiasm("run", tiny, "--image", media / "pictures", "--sink", out)
    assert f"Written: {out}" in outcome.err
    assert (outcome.code, outcome.out) == (0, "")
    assert len(out.read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["film.mp4", "./film.mp4", "linked.mp4"])
def test_a_sink_never_replaces_what_is_read(
    chiasm: Callable, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "film.mp4").write_bytes(b"the only copy")
    (tmp_path / "linked.mp4").symlink_to("film.mp4")
    monkeypatch.chdir(tmp_path)
    outcome = chiasm("run", tiny, "--image", "film.mp4", "--sink", name)
    assert outcome.code == 2
    assert f"{name} cannot be written: found a file that is read" in outcome.err
    assert (tmp_path / "film.mp4").read_bytes() == b"the only copy"


def test_a_failing_run_leaves_nothing_behind(
    chiasm: Callable, tiny: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chiasm.runtime.pipeline import Pipeline

    step, calls = Pipeline.step, iter(range(10))

    def fail_late(self: Pipeline, snapshot: object) -> object:
        if next(calls) == 2:
            raise ZeroDivisionError("half way")
        return step(self, snapshot)  # type: ignore[arg-type]

    monkeypatch.setattr(Pipeline, "step", fail_late)
    outcome = chiasm("run", tiny, "--image", media / "pictures", "--sink", tmp_path / "results.jsonl")
    assert outcome.code == 2
    assert "half way" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_what_was_written(
    chiasm: Callable, tiny: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chiasm.runtime.sinks import JsonLines

    write, calls = JsonLines.write, iter(range(10))

    def interrupted(self: JsonLines, result: object) -> None:
        write(self, result)  # type: ignore[arg-type]
        if next(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(JsonLines, "write", interrupted)
    out = tmp_path / "results.jsonl"
    outcome = chiasm("run", tiny, "--image", media / "pictures", "--sink", out)
    assert outcome.code == 130
    assert "(interrupted)" in outcome.err
    assert len(out.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--imag", "x.png"], "Did you mean --image?"),
        (["--image", "nothing.png"], "nothing.png"),
        ([], "no modality is given"),
        (["--text", "x", "--sink", "x.xyz"], "x.xyz"),
        (["--text", "x", "--precision", "int4"], "int4"),
        (["--text", "x", "--backend", "abacus"], "abacus"),
        (["--text", "x", "--fusion", "cold"], "cold"),
        (["--text", "x", "--rate", "0"], "--rate"),
    ],
)
def test_what_cannot_be_run(chiasm: Callable, tiny: Path, words: list[str], complaint: str) -> None:
    outcome = chiasm("run", tiny, *words)
    assert outcome.code == 2
    assert complaint in outcome.err
    assert outcome.err.count("\n") == 1


class _Eye:
    """A live source: a grey frame every hundredth of a second, five of them."""

    modality, live, dropped = "image", True, 0

    def __iter__(self) -> Iterator[Packet]:
        for _ in range(5):
            time.sleep(0.01)
            yield Packet("image", np.full((48, 64, 3), 90, np.uint8), time.monotonic())

    def close(self) -> None:
        pass


def test_lines_of_a_live_run_begin_at_zero(chiasm: Callable, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chiasm.runtime.sources.open_source", lambda *_: _Eye())
    outcome = chiasm("run", tiny, "--image", "camera:0")
    assert outcome.code == 0, outcome.err
    times = [float(line.split(" s ")[0]) for line in outcome.out.splitlines()]
    assert times[0] == 0.0
    assert times == sorted(times)
    assert times[-1] < 60.0
