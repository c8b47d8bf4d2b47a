"""Pictures made from words, sound and radar, beside what the camera really saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.manifest import DiffusionDecoder
from ..runtime.pipeline import Pipeline
from ..runtime.sinks.painting import Canvas, Colour, Pen
from .radar import render_radar
from .scene import Scene, sample_scene
from .sound import SAMPLE_RATE, render_sound
from .wording import caption

__all__ = ["CONDITIONS", "STEPS", "Example", "draw_sheet", "encode_png", "make_examples"]

CONDITIONS: tuple[tuple[str, ...], ...] = (
    ("text",),
    ("audio",),
    ("radar",),
    ("text", "audio"),
    ("text", "audio", "radar"),
)
STEPS = (1, 2, 4)
FIRST_SEED = 30_000_000
"""Scenes from here on belong to no split: neither training nor the model card has seen them."""
WANTED = (("bus", "rain"), ("cyclist", "clear"))
"""Main object and weather of the two examples; chosen for variety before any picture was made."""

_PAPER: Colour = (250, 250, 247)
_INK: Colour = (28, 32, 38)
_SOFT: Colour = (110, 116, 126)
_RULE: Colour = (222, 222, 216)
_CELL, _GAP, _LEFT, _TOP, _BETWEEN, _MARGIN = 152, 8, 196, 156, 40, 36


@dataclass(frozen=True)
class Example:
    """One scene: what the camera saw, what the others carried, and the pictures by (condition, steps)."""

    scene: Scene
    words: str
    truth: NDArray[np.uint8]
    pictures: dict[tuple[tuple[str, ...], int], NDArray[np.uint8]]


def make_examples(pipeline: Pipeline, seed: int, advance: Callable[[float], None]) -> list[Example]:
    """Two scenes with one picture for every condition and number of steps that the bundle has."""
    decoder = pipeline.manifest.decoder
    if not isinstance(decoder, DiffusionDecoder):
        return []
    from .draw import render_image

    height, width = decoder.picture
    steps = [number for number in STEPS if number in decoder.steps]
    total, done = len(WANTED) * len(CONDITIONS) * len(steps), count(1)
    examples = []
    for kind, weather in WANTED:
        scene = _find(kind, weather, FIRST_SEED + 1000 * seed)
        words = caption(scene, scene.seed)
        senses: dict[str, Any] = {
            "text": words,
            "audio": (render_sound(scene), SAMPLE_RATE),
            "radar": render_radar(scene),
        }
        pictures = {}
        for condition in CONDITIONS:
            for number in steps:
                given = {name: senses[name] for name in condition}
                pictures[condition, number] = _last(pipeline, given, number, seed)
                advance(next(done) / total)
        examples.append(Example(scene, words, render_image(scene, (height, width)), pictures))
    return examples


def _find(kind: str, weather: str, first_seed: int) -> Scene:
    """The first scene of that kind that is plain to see: in the middle of the road or beside it, daylight or rain."""
    return next(
        scene
        for scene in map(sample_scene, count(first_seed))
        if scene.object == kind and scene.weather == weather and scene.hazard in ("clear", "vulnerable_ahead")
    )


def _last(pipeline: Pipeline, given: dict[str, Any], steps: int, seed: int) -> NDArray[np.uint8]:
    for step in pipeline.generate(steps=steps, seed=seed, **given):
        picture = step.picture
    assert picture is not None  # the last step always has one
    made: NDArray[np.uint8] = picture.copy()
    return made


def draw_sheet(examples: list[Example], title: str) -> Canvas:
    """Rows of conditions, columns of the true frame and each number of steps, one block an example."""
    pen = Pen()
    steps = sorted({number for example in examples for _, number in example.pictures})
    block = (1 + len(steps)) * (_CELL + _GAP) - _GAP
    width = _LEFT + len(examples) * (block + _BETWEEN) - _BETWEEN + _MARGIN
    height = _TOP + len(CONDITIONS) * (_CELL + _GAP) + _MARGIN - _GAP
    sheet: Canvas = np.full((height, width, 3), _PAPER, np.uint8)
    pen.text(sheet, "Pictures from the other senses", _MARGIN, 52, 28, _INK, weight=700)
    pen.text(sheet, title, _MARGIN, 78, 15, _SOFT)
    for row, condition in enumerate(CONDITIONS):
        middle = _TOP + row * (_CELL + _GAP) + _CELL / 2
        for line, name in enumerate(condition):
            words = name if line == 0 else f"+ {name}"
            pen.text(sheet, words, _MARGIN, middle + 7 + 24 * (line - (len(condition) - 1) / 2), 19, _INK, weight=600)
    for number, example in enumerate(examples):
        _draw_block(pen, sheet, example, steps, _LEFT + number * (block + _BETWEEN))
    return sheet


def _draw_block(pen: Pen, sheet: Canvas, example: Example, steps: list[int], left: int) -> None:
    block = (1 + len(steps)) * (_CELL + _GAP) - _GAP
    words = pen.shortened(f"“{example.words}”", block, 16)
    pen.text(sheet, words, left, _TOP - 40, 16, _INK, weight=500)
    names = ["true frame"] + [f"{number} step{'s' if number > 1 else ''}" for number in steps]
    for column, name in enumerate(names):
        pen.text(sheet, name, left + column * (_CELL + _GAP), _TOP - 12, 14, _SOFT)
    for row, condition in enumerate(CONDITIONS):
        y = _TOP + row * (_CELL + _GAP)
        cells = [example.truth] + [example.pictures[condition, number] for number in steps]
        for column, picture in enumerate(cells):
            x = left + column * (_CELL + _GAP)
            sheet[y : y + _CELL, x : x + _CELL] = pen.resized(picture, _CELL, _CELL)
    sheet[_TOP - 34 : _TOP - 33, left : left + block] = _RULE


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """An RGB picture as PNG."""
    import cv2

    return bytes(cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1].tobytes())
