"""Captures of the reference street for exporting and verifying: scenes that no training stage and no evaluation has
seen.

Seeds: training and validation use those below 20 million, the model card those from 20 million (see `dataset.SPLITS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..export.calibrate import Calibration, Sample
from ..runtime.errors import MissingExtraError
from ..runtime.values import Packet
from .scene import HAZARDS, OBJECTS, WEATHERS, sample_scene

__all__ = ["CALIBRATION_SEED", "VERIFICATION_SEED", "calibration", "fits", "packets", "samples"]

CALIBRATION_SEED = 30_000_000
"""First seed of the scenes that set the INT8 ranges."""
VERIFICATION_SEED = 40_000_000
"""First seed of the labelled scenes on which variants are compared."""

_SIZE = (128, 160)
"""Height and width: larger than what the encoder takes and not square, so that resize and crop take part."""
_LABELS = {"hazard": HAZARDS, "weather": WEATHERS, "object": OBJECTS}


def fits(modalities: Sequence[str], labels: Mapping[str, Sequence[str]]) -> bool:
    """Whether a model takes the four senses of the street and answers with its words."""
    own = all(tuple(labels.get(head, ())) == words for head, words in _LABELS.items())
    return own and sorted(modalities) == ["audio", "image", "radar", "text"]


def packets(seed: int) -> tuple[dict[str, Packet], dict[str, str]]:
    """One scene as four packets, and the right label of each head. Raises `MissingExtraError` without OpenCV."""
    try:
        from .draw import render_image
    except ModuleNotFoundError as error:
        raise MissingExtraError("opencv-python", "camera", "Drawing the reference street") from error
    from .radar import render_radar
    from .sound import SAMPLE_RATE, render_sound
    from .wording import text_for

    scene = sample_scene(seed)
    captures = {
        "image": Packet("image", render_image(scene, _SIZE)),
        "text": Packet("text", text_for(scene, seed)),
        "audio": Packet("audio", render_sound(scene), sample_rate=SAMPLE_RATE),
        "radar": Packet("radar", render_radar(scene)),
    }
    return captures, {"hazard": scene.hazard, "weather": scene.weather, "object": scene.object}


def samples(
    count: int, first: int = VERIFICATION_SEED, advance: Callable[[int], object] = lambda done: None
) -> list[Sample]:
    """Labelled scenes of consecutive seeds, the seven hazards about equally often."""
    found = []
    for index in range(count):
        found.append(Sample(*packets(first + index)))
        advance(index + 1)
    return found


def calibration(
    ranges: int = 256, checks: int = 600, progress: Callable[[str, float], object] = lambda words, fraction: None
) -> Calibration:
    """`ranges` scenes for the INT8 ranges and `checks` others, labelled, for verification."""
    whole = ranges + checks
    first = samples(ranges, CALIBRATION_SEED, lambda done: progress("drawing scenes", done / whole))
    held = samples(checks, VERIFICATION_SEED, lambda done: progress("drawing scenes", (ranges + done) / whole))
    names = ("image", "text", "audio", "radar")
    return Calibration({name: [sample.packets[name] for sample in first] for name in names}, held)
