"""The exception tree: every class is drawn, exported, and its message is one line."""

from __future__ import annotations

import inspect

import pytest
from chiasm.runtime import errors
from chiasm.runtime.errors import ChiasmError, MissingExtraError


def _classes() -> dict[str, type]:
    return {name: item for name, item in vars(errors).items() if inspect.isclass(item)}


def test_every_class_is_a_chiasm_error_exported_and_drawn() -> None:
    assert sorted(_classes()) == sorted(errors.__all__)
    for name, kind in _classes().items():
        assert issubclass(kind, ChiasmError)
        assert name in (errors.__doc__ or "")


def test_the_drawing_shows_the_real_parents() -> None:
    depth_of: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip("│├└─ ").split(" ")[0]
        if name in _classes():
            depth = (len(line) - len(line.lstrip("│├└─ "))) // 4
            depth_of[depth] = name
            if depth > 1:
                parent = depth_of[depth - 1]
                assert _classes()[name].__base__ is _classes()[parent], f"{name} is not a {parent}"


def test_a_message_says_found_expected_and_what_to_do() -> None:
    error = ChiasmError("The lamp is off", found="dark", expected="light", fix="Switch it on")
    assert str(error) == "The lamp is off: found dark, expected light. Switch it on"
    assert (error.what, error.found, error.expected, error.fix) == ("The lamp is off", "dark", "light", "Switch it on")


def test_a_falsy_finding_is_still_told() -> None:
    assert str(ChiasmError("Steps", found=0, expected="1")) == "Steps: found 0, expected 1"


@pytest.mark.parametrize("text", ["two\nlines", "tab\tand\r\nmore"])
def test_a_message_is_one_line(text: str) -> None:
    assert len(str(ChiasmError(text, found=text)).splitlines()) == 1


def test_a_missing_extra_names_the_command() -> None:
    message = str(MissingExtraError("av", "camera", "Reading a video"))
    assert "pip install 'chiasm[camera]'" in message
    assert "av" in message
