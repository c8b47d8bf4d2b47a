"""A window on the screen that shows the annotated frames."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import SinkError
from ..values import Result
from .base import Closing
from .dashboard import Dashboard
from .painting import Pen

__all__ = ["Window"]

_QUIT = (27, ord("q"))


class Window(Closing):
    """Shows each result; `stopped` turns true when Esc or q is pressed or the window is closed."""

    def __init__(
        self, title: str = "chiasm", size: tuple[int, int] = (1280, 640), *, modalities: Sequence[str] = ()
    ) -> None:
        self._cv2: Any = Pen().cv2
        self._title = title
        self._dashboard = Dashboard(size, modalities=modalities)
        # Without a display some builds of OpenCV end the whole process instead of raising an error.
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SinkError(
                "a window cannot be opened",
                found="no display (DISPLAY and WAYLAND_DISPLAY are not set)",
                expected="a desktop session",
                fix="Write a video instead: --sink annotated.mp4",
            )
        self._call(lambda: self._cv2.namedWindow(title, self._cv2.WINDOW_AUTOSIZE))

    def write(self, result: Result) -> None:
        """Show one frame and take the keys pressed since."""
        if self.stopped:
            return
        frame = self._dashboard.draw(result)[..., ::-1].copy()
        self._call(lambda: self._cv2.imshow(self._title, frame))
        key = self._call(lambda: self._cv2.waitKey(1)) & 0xFF
        visible = self._call(lambda: self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE))
        self.stopped = key in _QUIT or visible < 1

    def close(self) -> None:
        """Close the window."""
        if not self.stopped:
            self._call(lambda: self._cv2.destroyWindow(self._title))
        self.stopped = True

    def abort(self) -> None:
        """As `close`."""
        self.close()

    def _call(self, action: Any) -> Any:
        try:
            return action()
        except self._cv2.error as error:
            raise SinkError(
                "a window cannot be opened",
                found=str(error).strip().splitlines()[0],
                expected="an OpenCV that was built with windows",
                fix="Run: pip uninstall -y opencv-python-headless; pip install --force-reinstall opencv-python",
            ) from error
