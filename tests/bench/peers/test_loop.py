"""Pictures keep their number through JPEG; the age is that of the newest picture of a number."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from chiasm.bench.peers.loop import _Camera, frame_age, number_of, numbered
from chiasm.bench.peers.works import WORKS

cv2 = pytest.importorskip("cv2", reason="reads and writes JPEG")


@pytest.mark.parametrize("number", [0, 1, 85, 255, 4095])
def test_a_number_survives_jpeg(number: int) -> None:
    kept = cv2.imdecode(cv2.imencode(".jpg", numbered(number))[1], cv2.IMREAD_COLOR)
    assert number_of(kept) == number


def test_age_is_since_the_picture_was_taken() -> None:
    camera = _Camera([b""] * 256, 100.0)
    camera.start = time.monotonic() - 10.0  # picture 1000 is the newest, of number 1000 % 256
    assert 0.0 <= camera.age(1000 % 256) < 0.3
    assert 0.5 <= camera.age(950 % 256) < 0.8


def test_both_loops_read_the_camera(place: Path) -> None:
    pytest.importorskip("av", reason="reads addresses")
    found = frame_age(WORKS["vit-b32"], place, 1, 0.5)
    for name in ("OpenCV, while True", "chiasm"):
        assert found[name]["steps"] >= 1
        assert found[name]["age_ms"]["p50"] > 0
