from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chiasm.runtime.errors import SinkError
from chiasm.runtime.sinks import JsonLines, Print, one_line, open_sink
from chiasm.runtime.values import Result

Make = Callable[..., Result]


def interrupted(path: Path, result: Result, error: BaseException) -> None:
    """Write one result, then fail."""
    with JsonLines(path) as sink:
        sink.write(result)
        raise error


def test_a_file_appears_when_it_is_closed(tmp_path: Path, result: Make) -> None:
    path = tmp_path / "results.jsonl"
    sink = open_sink(str(path))
    sink.write(result(0.0))
    sink.write(result(0.5, absent=("image",)))
    assert not path.exists()
    sink.close()
    sink.close()
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first["labels"] == {"hazard": "siren_unseen", "weather": "rain"}
    assert first["time_s"] == 0.0
    assert "embedding" not in first
    assert set(second["weights"]) == {"audio", "text"}
    assert [file.name for file in tmp_path.iterdir()] == ["results.jsonl"]
    assert path.stat().st_mode & 0o400
    with pytest.raises(SinkError, match="is closed"):
        sink.write(result())


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path, result: Make) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        interrupted(path, result(), RuntimeError("something broke"))
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["results.jsonl"]


def test_ctrl_c_keeps_what_was_written(tmp_path: Path, result: Make) -> None:
    path = tmp_path / "results.jsonl"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path, result(), KeyboardInterrupt())
    assert len(path.read_text().splitlines()) == 1


def test_the_embedding_on_request(tmp_path: Path, result: Make) -> None:
    with JsonLines(tmp_path / "r.jsonl", embedding=True) as sink:
        sink.write(result())
    assert json.loads((tmp_path / "r.jsonl").read_text())["embedding"] == pytest.approx([0.6, 0.8])


def test_standard_output(capsys: pytest.CaptureFixture[str], result: Make) -> None:
    with open_sink("-") as sink:
        sink.write(result(2.0))
    assert json.loads(capsys.readouterr().out)["time_s"] == 2.0
    open_sink("print").write(result(2.0))
    assert capsys.readouterr().out.startswith("    2.00 s  hazard siren unseen 85 %")


def test_one_line_says_what_was_decided_and_how(result: Make) -> None:
    line = one_line(result(1.0))
    assert line == (
        "    1.00 s  hazard siren unseen 85 %  weather rain 75 %  |  "
        "image 50 %  audio 38 %  text 12 % (1.0 s old)  |  3.1 ms"
    )
    out = io.StringIO()
    Print(out).write(result(1.0, absent=("image", "audio")))
    assert "|  text 100 % (1.0 s old)  |" in out.getvalue()


def test_a_live_stream_is_told_from_its_first_result(capsys: pytest.CaptureFixture[str], result: Make) -> None:
    """Its clock is that of the machine, which began when it was switched on."""
    sink = open_sink("print", live=True)
    for time_s in (55616.0, 55617.5):
        sink.write(result(time_s))
    assert [line.split(" s ")[0].strip() for line in capsys.readouterr().out.splitlines()] == ["0.00", "1.50"]
    with open_sink("-", live=True) as lines:
        lines.write(result(55618.0))
    assert json.loads(capsys.readouterr().out)["time_s"] == 55618.0


@pytest.mark.parametrize("name", ["", "results.txt", "results", "window.png"])
def test_names_that_are_no_sink(name: str) -> None:
    with pytest.raises(SinkError, match="no sink has this name"):
        open_sink(name)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="mkdir -p"):
        open_sink(str(tmp_path / "no" / "results.jsonl"))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(SinkError, match="a folder of that name"):
        open_sink(str(tmp_path / "folder.jsonl"))
