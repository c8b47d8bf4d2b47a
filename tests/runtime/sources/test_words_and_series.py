from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.runtime.errors import ChiasmError, SourceError
from chiasm.runtime.manifest import SeriesModality, TextModality
from chiasm.runtime.sources import open_source
from chiasm.runtime.sources.words import parse_lines
from hypothesis import given
from hypothesis import strategies as st


def test_words_given_directly(text: TextModality) -> None:
    (packet,) = list(open_source(text, "text: exit left is blocked "))
    assert (packet.modality, packet.data, packet.time_s) == ("text", "exit left is blocked", 0.0)


def test_lines_with_times(tmp_path: Path, text: TextModality) -> None:
    (tmp_path / "notes.txt").write_text("0\tradio check\n\n12.5\texit left\tis blocked\n", encoding="utf-8-sig")
    packets = list(open_source(text, str(tmp_path / "notes.txt")))
    assert [(packet.time_s, packet.data) for packet in packets] == [
        (0.0, "radio check"),
        (12.5, "exit left\tis blocked"),
    ]


def test_lines_without_times_come_at_the_modality_rate(tmp_path: Path, text: TextModality) -> None:
    (tmp_path / "notes.txt").write_text("one\ntwo\nthree\n")
    packets = list(open_source(text, str(tmp_path / "notes.txt")))
    assert [(packet.time_s, packet.data) for packet in packets] == [(0.0, "one"), (2.0, "two"), (4.0, "three")]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("1.0\tone\ntwo", "line 2"),
        ("2.0\tone\n1.0\ttwo", "line 2"),
        ("nan\tone", "line 1"),
        ("-1\tone", "line 1"),
        ("1.0\t ", "line 1"),
    ],
)
def test_lines_that_cannot_be_read(content: str, complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        parse_lines(content, "notes.txt", 1.0)


@given(st.text())
def test_any_text_is_read_or_refused(content: str) -> None:
    try:
        lines = parse_lines(content, "notes.txt", 1.0)
    except SourceError:
        return
    assert all(words.strip() for _, words in lines)
    assert [time_s for time_s, _ in lines] == sorted(time_s for time_s, _ in lines)


def test_text_that_is_not_utf8(tmp_path: Path, text: TextModality) -> None:
    (tmp_path / "notes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="UTF-8"):
        open_source(text, str(tmp_path / "notes.txt"))


def test_bare_words_are_told_how_to_be_written(text: TextModality) -> None:
    with pytest.raises(SourceError, match="write: text:exit left is blocked"):
        open_source(text, "exit left is blocked")
    with pytest.raises(SourceError, match="the text is empty"):
        open_source(text, "text:  ")


def save(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def ramp(count: int) -> np.ndarray:
    return np.repeat(np.arange(count, dtype=np.float32)[:, None], 4, axis=1)


def test_series_windows_end_at_the_time_of_their_last_row(tmp_path: Path, radar: SeriesModality) -> None:
    times = 3.0 + np.arange(50) / 20
    source = open_source(radar, save(tmp_path / "d.npz", series=ramp(50), times=times))
    packets = list(source)
    assert [packet.time_s for packet in packets] == pytest.approx(times.tolist())
    assert [len(packet.data) for packet in packets] == [min(index + 1, 32) for index in range(50)]
    assert packets[-1].data[:, 0].tolist() == list(range(18, 50))
    assert packets[-1].data.dtype == np.float32


def test_series_windows_at_a_lower_rate(tmp_path: Path, radar: SeriesModality) -> None:
    jitter = np.random.default_rng(1).uniform(-0.01, 0.01, 100)
    source = open_source(
        radar, save(tmp_path / "d.npz", series=ramp(100), times=np.arange(100) / 20 + jitter), rate_hz=5.0
    )
    packets = list(source)
    assert [int(packet.data[-1, 0]) for packet in packets] == [*range(0, 100, 4), 99]


def test_jitter_and_drift_do_not_lose_rows(tmp_path: Path, radar: SeriesModality) -> None:
    rng = np.random.default_rng(0)
    times = np.arange(400) / 19.0 + rng.uniform(-0.01, 0.01, 400)
    packets = list(open_source(radar, save(tmp_path / "d.npz", series=ramp(400), times=times)))
    assert len(packets) == 400
    assert all(len(packet.data) == 32 for packet in packets[31:])


def test_a_gap_begins_a_new_series_window(tmp_path: Path, radar: SeriesModality) -> None:
    times = np.concatenate([np.arange(40) / 20, 10 + np.arange(5) / 20])
    packets = list(open_source(radar, save(tmp_path / "d.npz", series=ramp(45), times=times)))
    assert [len(packet.data) for packet in packets[38:]] == [32, 32, 1, 2, 3, 4, 5]


def test_a_sample_rate_instead_of_times(tmp_path: Path, radar: SeriesModality) -> None:
    packets = list(open_source(radar, save(tmp_path / "d.npz", series=ramp(3), sample_rate=20.0)))
    assert [packet.time_s for packet in packets] == pytest.approx([0.05, 0.1, 0.15])


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"times": np.arange(3) / 20}, "`series`.*no such array"),
        ({"series": ramp(3)[:, :2], "times": np.arange(3) / 20}, r"shape \(3, 2\).*\(N, 4\)"),
        ({"series": ramp(0), "times": np.zeros(0)}, r"shape \(0, 4\)"),
        ({"series": ramp(3).astype(str), "times": np.arange(3) / 20}, "`series`.*does not fit"),
        ({"series": ramp(3) * np.nan, "times": np.arange(3) / 20}, "NaN or infinity: found row 0"),
        ({"series": ramp(3), "times": np.arange(2) / 20}, r"`times`.*shape \(2,\)"),
        ({"series": ramp(3), "times": np.array([0.0, 0.1, 0.05])}, "rising times"),
        ({"series": ramp(3), "times": np.array([0.0, 0.05, np.inf])}, "rising times"),
        ({"series": ramp(3)}, "when its rows were taken"),
        ({"series": ramp(3), "sample_rate": 0.0}, "when its rows were taken"),
        ({"series": ramp(3), "sample_rate": 100.0}, "wrong rate: found 100 rows a second, expected 20"),
        ({"series": np.array([{}], dtype=object), "times": np.zeros(1)}, "cannot be read"),
    ],
)
def test_series_that_do_not_fit(tmp_path: Path, radar: SeriesModality, arrays: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SourceError, match=complaint):
        open_source(radar, save(tmp_path / "d.npz", **arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not an archive"])
def test_a_file_that_is_no_archive(tmp_path: Path, radar: SeriesModality, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(radar, str(tmp_path / "d.npz"))


def test_a_damaged_archive_is_a_source_error(tmp_path: Path, radar: SeriesModality) -> None:
    whole = Path(save(tmp_path / "d.npz", series=ramp(40), times=np.arange(40) / 20)).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 4):
            damaged[position] = rng.integers(256)
        (tmp_path / "x.npz").write_bytes(damaged[: rng.integers(1, len(whole) + 1)])
        try:
            list(open_source(radar, str(tmp_path / "x.npz")))
        except ChiasmError:
            continue


def test_another_kind_of_file(radar: SeriesModality) -> None:
    with pytest.raises(SourceError, match=r"expected an \.npz file"):
        open_source(radar, "drive.csv")
