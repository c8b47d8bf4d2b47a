"""The nearest name, or none."""

from __future__ import annotations

from chiasm.runtime.hints import did_you_mean, unknown_modality

NAMES = ("image", "text", "audio", "radar")


def test_a_near_name_is_asked_for() -> None:
    assert did_you_mean("imgae", NAMES) == "Did you mean image?"
    assert did_you_mean("ouput", ["output", "steps"], "--") == "Did you mean --output?"


def test_nothing_is_guessed_where_nothing_is_near() -> None:
    assert did_you_mean("zzz", NAMES) is None
    assert did_you_mean("image", ()) is None


def test_an_unknown_modality_is_shown_with_the_known_ones() -> None:
    said = str(unknown_modality("raddar", NAMES))
    assert "raddar" in said
    assert "image, text, audio, radar" in said
    assert "Did you mean radar?" in said
