"""Which captures `export` and `verify` use: a person's own files, the reference street's scenes, or made-up ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..runtime.errors import InputError

if TYPE_CHECKING:
    from ..export.calibrate import Calibration
    from ..runtime.manifest import Modality

__all__ = ["CalibrationOption", "SamplesOption", "find"]

CalibrationOption = Annotated[
    list[str] | None,
    typer.Option(
        "--calibration", metavar="MODALITY=PATH",
        help="A file or folder of captures, once per modality; without any, variants are compared on made-up ones. "
        "The reference model draws its own scenes.",
    ),
]  # fmt: skip
SamplesOption = Annotated[
    int, typer.Option("--samples", metavar="COUNT", min=20, help="Labelled scenes that verify the reference model.")
]


def find(
    modalities: Sequence[Modality],
    labels: Mapping[str, Sequence[str]],
    words: Sequence[str] | None,
    *,
    ranges: int,
    samples: int,
    progress: Callable[[str, float], object],
) -> Calibration:
    """Captures of every modality, and labelled samples where there are any. `ranges`: captures per modality."""
    from ..export.captures import from_files, without_captures
    from ..reference import calibration as street

    if words:
        return from_files(modalities, _places(words), ranges)
    if not street.fits([each.name for each in modalities], labels):
        return without_captures(modalities)
    return street.calibration(ranges, samples, progress)


def _places(words: Sequence[str]) -> dict[str, str]:
    places: dict[str, str] = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not equals or not name or not place:
            raise InputError("--calibration is not understood", found=word, expected="MODALITY=PATH")
        if name in places:
            raise InputError(f"--calibration {name}= is given twice", expected="each modality once")
        places[name] = place
    return places
