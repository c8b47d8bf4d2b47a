from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from chiasm.runtime.errors import SinkError
from chiasm.runtime.sinks import Window, open_sink
from chiasm.runtime.values import Result

cv2: Any = pytest.importorskip("cv2")


def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(SinkError, match=r"no display.*--sink annotated\.mp4"):
        open_sink("window")


def test_an_opencv_without_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise cv2.error("The function is not implemented")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", refuse)
    with pytest.raises(SinkError, match=r"not implemented.*opencv-python-headless"):
        open_sink("window")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A pretended desktop: what is shown, which key is pressed, whether the window is still there."""
    state: dict[str, Any] = {"shown": [], "key": -1, "visible": 1.0, "destroyed": 0}
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "imshow", lambda _, frame: state["shown"].append(frame))
    monkeypatch.setattr(cv2, "waitKey", lambda _: state["key"])
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: state["visible"])
    monkeypatch.setattr(cv2, "destroyWindow", lambda _: state.update(destroyed=state["destroyed"] + 1))
    return state


def test_a_window_shows_bgr(screen: dict[str, Any], result: Callable[..., Result]) -> None:
    window = Window(modalities=("image", "text", "audio"))
    shot = result()
    shot.snapshot.packets["image"].data[:] = (10, 120, 230)  # type: ignore[union-attr]
    window.write(shot)
    assert not window.stopped
    np.testing.assert_array_equal(screen["shown"][0][200, 400], (230, 120, 10))
    window.close()
    window.close()
    assert screen["destroyed"] == 1


@pytest.mark.parametrize("end", [{"key": 27}, {"key": ord("q")}, {"visible": 0.0}])
def test_the_person_watching_can_stop(
    screen: dict[str, Any], result: Callable[..., Result], end: dict[str, Any]
) -> None:
    window = Window()
    screen.update(end)
    window.write(result())
    assert window.stopped
    window.write(result())
    assert len(screen["shown"]) == 1
