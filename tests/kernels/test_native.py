"""The C++ under the address and undefined-behaviour sanitizers, and compiled for aarch64 under an emulator."""

from __future__ import annotations

from pathlib import Path

import native
import pytest


@pytest.mark.slow
def test_no_byte_beyond_and_no_number_wrong(tmp_path: Path) -> None:
    if native.COMPILER is None:
        pytest.skip("this machine has no C++ compiler")
    assert "plain\n" in native.sanitize(tmp_path)


@pytest.mark.slow
def test_another_processor_gives_the_same_numbers(tmp_path: Path) -> None:
    try:
        said = native.aarch64(tmp_path)
    except LookupError as error:
        pytest.skip(str(error))
    assert said.startswith("plain\n")


def test_a_wrong_number_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests can fail: a reference that answers otherwise is heard of."""
    if native.COMPILER is None:
        pytest.skip("this machine has no C++ compiler")
    program = tmp_path / "tests"
    program.write_text('#!/bin/sh\necho "3 golden calls, 1 wrong"; exit 1\n')
    program.chmod(0o755)
    with pytest.raises(RuntimeError, match="1 wrong"):
        native.run_tests(program, tmp_path)
    program.write_text('#!/bin/sh\necho "0 golden calls, 0 wrong"\n')
    with pytest.raises(RuntimeError, match="0 golden calls"):
        native.run_tests(program, tmp_path)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "EMULATOR", "no-such-emulator")
    with pytest.raises(LookupError, match=r"no-such-emulator.*apt install"):
        native.aarch64(tmp_path)
