from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from chiasm.runtime import VideoFrame
from chiasm.runtime.errors import MissingExtraError, SinkError
from chiasm.runtime.sinks import Dashboard
from chiasm.runtime.sinks.dashboard import MODALITY_COLOURS
from chiasm.runtime.sinks.painting import Pen, fit, mix
from chiasm.runtime.values import Packet, Result, Snapshot

cv2: Any = pytest.importorskip("cv2")
Make = Callable[..., Result]
NAMES = ("image", "text", "audio")
SIDE = (slice(0, 640), slice(960, 1280))
STRIP = (slice(540, 640), slice(0, 960))


def count(area: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels of exactly this colour."""
    return int((area == np.array(colour, np.uint8)).all(axis=-1).sum())


def test_the_picture_fills_its_place(result: Make) -> None:
    frame = Dashboard(modalities=NAMES).draw(result(grey=77))
    assert frame.shape == (640, 1280, 3)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame[100:420, 20:940], 77)


def test_a_camera_frame_is_shown_and_a_second_camera_beside_its_bar(result: Make) -> None:
    """The first as the picture, in its own colours; the other one small, whole, and in none of the first's."""
    blue, red = (20, 60, 200), (200, 50, 30)
    seen = result()
    assert seen.snapshot is not None
    first = Packet("image", VideoFrame(np.full((36, 64, 3), blue[::-1], np.uint8), "bgr"))
    second = Packet("rear", np.full((36, 64, 3), red, np.uint8))
    packets = {"image": first, "rear": second}
    ages = dict.fromkeys(packets, 0.0)
    frame = Dashboard(modalities=tuple(packets)).draw(
        msgspec.structs.replace(
            seen, snapshot=Snapshot(0.0, packets, ages), ages=ages, weights=dict.fromkeys(packets, 0.5)
        )
    )
    assert (frame[100:420, 20:940] == blue).all()
    assert count(frame[SIDE], red) > 40 * 30
    assert count(frame[SIDE], blue) == count(frame[STRIP], red) == 0


def test_bars_grow_with_the_weight(result: Make) -> None:
    lengths = [
        count(Dashboard(modalities=NAMES).draw(result(weight=weight))[SIDE], MODALITY_COLOURS[0])
        for weight in (0.0, 0.3, 0.6, 0.9)
    ]
    assert lengths[0] == 0
    assert lengths == sorted(lengths)
    assert lengths[3] == pytest.approx(3 * lengths[1], rel=0.15)


def test_an_absent_modality_loses_its_bar_and_is_named(result: Make) -> None:
    board = Dashboard(modalities=NAMES)
    before = board.draw(result(0.0))
    after = board.draw(result(0.8, absent=("image",)))
    assert count(before[SIDE], MODALITY_COLOURS[0]) > 300
    assert count(after[SIDE], MODALITY_COLOURS[0]) == 0
    assert count(after[SIDE], (255, 107, 91)) > count(before[SIDE], (255, 107, 91))
    assert after[100:200, 100:800].mean() < 25


def test_the_timeline_is_stacked_by_weight(result: Make) -> None:
    board = Dashboard(modalities=NAMES)
    for index in range(41):
        frame = board.draw(result(index / 4, weight=0.5))
    strip = frame[STRIP]
    image, text, audio = (count(strip, colour) for colour in MODALITY_COLOURS[:3])
    assert image == pytest.approx(916 * 58 * 0.5, rel=0.05)
    assert audio == pytest.approx(3 * text, rel=0.15)


def test_history_is_bounded(result: Make) -> None:
    board = Dashboard((640, 320), modalities=NAMES, history_s=1.0)
    for index in range(20):
        board.draw(result(index / 4))
    assert len(board._history) == 5


def test_modalities_are_found_when_they_are_not_given(result: Make) -> None:
    board = Dashboard()
    board.draw(result(0.0, absent=("text",)))
    assert board.names == ["image", "audio"]
    board.draw(result(0.1))
    assert board.names == ["image", "audio", "text"]


@pytest.mark.parametrize("absent", [(), ("image",), ("image", "audio"), ("image", "audio", "text")])
@pytest.mark.parametrize("size", [(640, 320), (1280, 640), (1920, 1080), (640, 640)])
def test_every_size_and_every_set_of_modalities_can_be_drawn(
    result: Make, size: tuple[int, int], absent: tuple[str, ...]
) -> None:
    board = Dashboard(size, modalities=NAMES, title="a title")
    for index in range(3):
        frame = board.draw(result(float(index), absent=absent))
    assert frame.shape == (size[1], size[0], 3)
    assert frame.std() > 5


def test_without_heads_or_snapshot(result: Make) -> None:
    bare = result()
    bare = Result(1.0, bare.embedding, {}, {}, {}, {"image": 1.0}, {"image": 0.0}, {})
    assert Dashboard().draw(bare).shape == (640, 1280, 3)


@pytest.mark.parametrize("size", [(100, 100), (1281, 640), (1280, 641)])
def test_sizes_that_cannot_be(size: tuple[int, int]) -> None:
    with pytest.raises(SinkError, match="even numbers"):
        Dashboard(size)


def test_text_is_shortened_to_its_room() -> None:
    pen = Pen()
    words = "exit left is blocked by a lorry"
    short = pen.shortened(words, 80, 14)
    assert short.endswith("…")
    assert words.startswith(short[:-1])
    assert pen.width(short, 14) <= 80
    assert pen.shortened(words, 8000, 14) == words


def test_the_stroke_font_of_older_opencv(monkeypatch: pytest.MonkeyPatch, result: Make) -> None:
    monkeypatch.delattr(cv2, "FontFace", raising=False)
    frame = Dashboard(modalities=NAMES, title="a – title …").draw(result())
    assert frame[SIDE].std() > 5


def test_drawing_needs_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"chiasm\[camera\]"):
        Dashboard()


def test_fit_and_mix() -> None:
    assert fit(1920, 1080, 960, 540) == (960, 540)
    assert fit(100, 400, 960, 540) == (135, 540)
    assert mix((0, 0, 0), (100, 200, 50), 0.5) == (50, 100, 25)
