"""The whole command line: what is there, what an error looks like, how it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import chiasm as package
import pytest
from chiasm import cli
from chiasm.runtime.errors import ChiasmError


def test_every_command_is_there_and_has_a_help(chiasm: Callable) -> None:
    listed = chiasm("--help").out
    assert {"run", "generate", "inspect", "doctor", "bench"} <= set(cli.commands())
    for name in cli.commands():
        assert f"\n  {name} " in listed
        outcome = chiasm(name, "--help")
        assert outcome.code == 0
        assert f"Usage: chiasm {name}" in outcome.out


def test_no_command_shows_the_help(chiasm: Callable) -> None:
    outcome = chiasm()
    assert (outcome.code, outcome.err) == (0, "")
    assert "Commands:" in outcome.out


def test_version(chiasm: Callable) -> None:
    assert chiasm("--version") == (0, f"chiasm {package.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["inspekt"], "inspect"),
        (["bench"], "BUNDLE"),
        (["bench", "reference", "--seconds", "soon"], "--seconds"),
        (["bench", "reference", "--sconds", "1"], "--sconds"),
        (["inspect", "no/such/folder"], "no/such/folder"),
        (["inspect", "reference", "second"], "second"),
    ],
)
def test_an_error_is_one_line_and_code_2(chiasm: Callable, words: list[str], complaint: str) -> None:
    outcome = chiasm(*words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert complaint in outcome.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runn"], "error: No such command 'runn'. Did you mean 'run'? Try: chiasm --help\n"),
        (
            ["targets", "sho"],
            "error: Invalid value for '[show]': 'sho' is not one of 'show'. Try: chiasm targets --help\n",
        ),
    ],
)
def test_a_complaint_about_the_line_reads_as_sentences(chiasm: Callable, words: list[str], said: str) -> None:
    assert chiasm(*words).err == said


def _failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("chiasm.runtime.bundle.open_bundle", fail)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ChiasmError("it broke", fix="Mend\n it."), 2, "error: it broke. Mend it.\n"),
        (ZeroDivisionError("by\nzero"), 2, "This is a bug in chiasm"),
        (KeyboardInterrupt(), 130, ""),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), 2, "Run: pip install 'chiasm[camera]'"),
        (ModuleNotFoundError("No module named 'colour'", name="colour"), 2, "This is a bug in chiasm"),
    ],
)
def test_every_way_out(
    chiasm: Callable, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, says: str
) -> None:
    _failing(monkeypatch, error)
    outcome = chiasm("inspect", "somewhere")
    assert outcome.code == code
    assert says in outcome.err
    assert outcome.err.count("\n") == (code == 2)


def test_the_traceback_is_there_for_who_asks(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _failing(monkeypatch, ZeroDivisionError("by zero"))
    monkeypatch.setenv("CHIASM_TRACEBACK", "1")
    with pytest.raises(SystemExit) as left:
        cli.main(["inspect", "somewhere"])
    assert left.value.code == 2
    assert "Traceback" in capfd.readouterr().err


def test_as_a_process_into_a_closed_pipe(tiny: Path) -> None:
    words = [sys.executable, "-m", "chiasm", "inspect", str(tiny), "--json"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(words, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, chiasm.cli\n"
        "chiasm.cli.app()\n"
        "print([name for name in ('torch', 'cv2', 'onnx', 'onnxruntime', 'av', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
