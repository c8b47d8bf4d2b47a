"""What a misspelt name was perhaps meant to be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .errors import InputError

__all__ = ["did_you_mean", "unknown_modality"]


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str | None:
    """The known name that a misspelt one was perhaps meant to be, as a sentence; None when none is near."""
    from difflib import get_close_matches  # only where something is wrong

    near = get_close_matches(name, list(known), n=1)
    return f"Did you mean {prefix}{near[0]}?" if near else None


def unknown_modality(name: str, names: Sequence[str]) -> InputError:
    """The error that names the nearest known modality."""
    return InputError(
        "This bundle has no such modality", found=name, expected=f"some of {', '.join(names)}",
        fix=did_you_mean(name, names),
    )  # fmt: skip
