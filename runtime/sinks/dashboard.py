"""The annotated frame: the picture, what was decided, how much each modality counted, and the seconds before.

+---------------------------+-----------+
| picture                   | heads     |
|                           |-----------|
|---------------------------| modalities|
| weights over time         |           |
+---------------------------+-----------+
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from ..errors import SinkError
from ..frame import is_picture
from ..values import Packet, Result
from .painting import Canvas, Colour, Pen, fit, mix
from .previews import preview

__all__ = ["LABEL_COLOURS", "MODALITY_COLOURS", "Dashboard", "plain"]

GROUND: Colour = (16, 19, 24)
PANEL: Colour = (24, 28, 35)
TRACK: Colour = (44, 50, 60)
FAINT: Colour = (112, 121, 135)
SOFT: Colour = (160, 169, 183)
BRIGHT: Colour = (238, 241, 246)
ALARM: Colour = (255, 107, 91)

# Okabe and Ito's palette, lightened for a dark ground: told apart by colour-blind eyes too.
MODALITY_COLOURS: tuple[Colour, ...] = (
    (96, 178, 240), (240, 180, 62), (62, 196, 148), (222, 132, 182), (230, 120, 60), (240, 228, 110),
)  # fmt: skip
LABEL_COLOURS: tuple[Colour, ...] = (
    (84, 190, 132), (255, 107, 91), (255, 159, 67), (250, 204, 84), (236, 112, 180), (110, 168, 254), (170, 140, 250),
)  # fmt: skip
MOST_LABELS = 7
STALE_S = 0.15


def plain(label: str) -> str:
    """A label as people write it."""
    return label.replace("_", " ")


class Dashboard:
    """Draws one frame a result; remembers the last `history_s` seconds and when each modality was last there.

    `modalities`: all names, so that one that never comes is shown as absent; without it, those seen so far.
    """

    def __init__(
        self,
        size: tuple[int, int] = (1280, 640),
        *,
        modalities: Sequence[str] = (),
        title: str = "",
        history_s: float = 10.0,
    ) -> None:
        width, height = size
        if width < 640 or height < 320 or width % 2 or height % 2:
            raise SinkError(
                "an annotated frame cannot have this size",
                found=f"{width}×{height}",
                expected="even numbers, at least 640×320",
            )
        self.size = size
        self.title = title
        self.names = list(modalities)
        self._pen = Pen()
        self._u = min(height / 640, width / 1280)
        self._side = round(320 * self._u)
        self._strip = round(100 * self._u)
        self._ground, self._dark = self._backgrounds()
        self._history: deque[tuple[float, tuple[float, ...], int]] = deque()
        self._span = history_s
        self._seen: dict[str, float] = {}
        self._pictures: set[str] = set()
        self._first: float | None = None

    def colour(self, name: str) -> Colour:
        """The modality's colour."""
        return MODALITY_COLOURS[self.names.index(name) % len(MODALITY_COLOURS)]

    def draw(self, result: Result) -> Canvas:
        """The frame of a result, uint8 RGB (height, width, 3)."""
        self._remember(result)
        canvas: Canvas = self._ground.copy()
        self._picture(canvas, result)
        self._timeline(canvas)
        y = self._heads(canvas, result, 26 * self._u)
        self._modalities(canvas, result, y)
        return canvas

    def _backgrounds(self) -> tuple[Canvas, Canvas]:
        """The empty frame, and the hatched area that stands for a missing picture."""
        ground: Canvas = np.full((self.size[1], self.size[0], 3), GROUND, np.uint8)
        ground[:, self.size[0] - self._side :] = PANEL
        height, width = self.size[1] - self._strip, self.size[0] - self._side
        stripe = (np.arange(height)[:, None] + np.arange(width)[None]) // max(1, round(14 * self._u)) % 2
        return ground, np.array([(10, 12, 15), (15, 17, 21)], np.uint8)[stripe]

    def _remember(self, result: Result) -> None:
        self._first = result.time_s if self._first is None else self._first
        for name in (*result.weights, *result.ages):
            if name not in self.names:
                self.names.append(name)
        for name, age in result.ages.items():
            self._seen[name] = result.time_s - age
        scores = next(iter(result.scores.values()), {})
        label = next(iter(result.labels.values()), "")
        index = list(scores).index(label) if label in scores else 0
        weights = tuple(result.weights.get(name, 0.0) if name in result.ages else 0.0 for name in self.names)
        self._history.append((result.time_s, weights, index))
        while self._history[0][0] < result.time_s - self._span:
            self._history.popleft()

    def _picture(self, canvas: Canvas, result: Result) -> None:
        width, height = self.size[0] - self._side, self.size[1] - self._strip
        u, pen = self._u, self._pen
        packet = _picture_of(result)
        if packet is None:
            self._no_picture(canvas, result, width, height)
        else:
            self._pictures.add(packet.modality)
            picture = np.asarray(packet.data)
            w, h = fit(picture.shape[1], picture.shape[0], width, height)
            x, y = (width - w) // 2, (height - h) // 2
            canvas[y : y + h, x : x + w] = pen.resized(picture, w, h)
            age = result.ages.get(packet.modality, 0.0)
            if age > STALE_S:
                shown = canvas[y : y + h, x : x + w]
                shown[:] = (shown * max(0.35, 1.0 - age)).astype(np.uint8)
        self._shade(canvas[height - round(92 * u) : height, :width], 1.0, 0.18)
        self._shade(canvas[: round(64 * u), :width], 0.5, 1.0)
        if packet is not None and result.ages.get(packet.modality, 0.0) > STALE_S:
            words = f"frozen for {result.ages[packet.modality]:.1f} s"
            pen.text(canvas, words, width / 2, 36 * u, 18 * u, BRIGHT, weight=600, align="centre")
        self._headline(canvas, result, 24 * u, height - 24 * u)
        clock = f"{result.time_s - (self._first or 0.0):.1f} s"
        pen.text(canvas, clock, width - 22 * u, height - 26 * u, 22 * u, BRIGHT, weight=500, align="right")
        if self.title:
            pen.text(canvas, self.title, 22 * u, 36 * u, 15 * u, BRIGHT, weight=500)

    def _no_picture(self, canvas: Canvas, result: Result, width: int, height: int) -> None:
        u, pen = self._u, self._pen
        canvas[:height, :width] = self._dark
        pen.text(canvas, "no picture", width / 2, height * 0.44, 40 * u, SOFT, weight=600, align="centre")
        last = max((self._seen[name] for name in self._pictures), default=None)
        words = "none has come yet" if last is None else f"dark for {result.time_s - last:.1f} s"
        pen.text(canvas, words, width / 2, height * 0.44 + 34 * u, 18 * u, FAINT, align="centre")

    def _shade(self, area: Canvas, top: float, bottom: float) -> None:
        """Darken so that white type can be read on any picture."""
        fall = np.linspace(top, bottom, len(area), dtype=np.float32)[:, None, None]
        area[:] = (area * fall).astype(np.uint8)

    def _headline(self, canvas: Canvas, result: Result, x: float, y: float) -> None:
        if not result.labels:
            return
        u, pen = self._u, self._pen
        head, label = next(iter(result.labels.items()))
        colour = LABEL_COLOURS[self._history[-1][2] % len(LABEL_COLOURS)]
        pen.box(canvas, x, y - 27 * u, 7 * u, 32 * u, colour, 3 * u)
        end = x + 20 * u + pen.text(canvas, plain(label), x + 20 * u, y, 34 * u, BRIGHT, weight=700)
        score = f"{100 * result.scores[head][label]:.0f} %"
        pen.text(canvas, score, end + 14 * u, y, 22 * u, mix(BRIGHT, colour, 0.5), weight=500)

    def _heads(self, canvas: Canvas, result: Result, y: float) -> float:
        """Every head: the first with its likeliest labels, the others in one line each. Returns where it ends."""
        u, pen = self._u, self._pen
        left, right = self.size[0] - self._side + 20 * u, self.size[0] - 20 * u
        for number, (head, label) in enumerate(result.labels.items()):
            scores = result.scores[head]
            pen.text(canvas, plain(head), left, y, 13 * u, FAINT, weight=600)
            if number:
                pen.text(canvas, plain(label), left + 72 * u, y, 15 * u, BRIGHT, weight=600)
                pen.text(canvas, f"{100 * scores[label]:.0f} %", right, y, 14 * u, SOFT, align="right")
                y += 24 * u
                continue
            y += 8 * u
            order = list(scores)
            for name in (
                order if len(order) <= MOST_LABELS else sorted(order, key=scores.__getitem__)[: -MOST_LABELS - 1 : -1]
            ):
                self._score(canvas, name, scores[name], name == label, order.index(name), left, right, y)
                y += 23 * u
            y += 24 * u
        return y + 4 * u

    def _score(
        self, canvas: Canvas, name: str, score: float, best: bool, index: int, left: float, right: float, y: float
    ) -> None:
        u, pen = self._u, self._pen
        colour = LABEL_COLOURS[index % len(LABEL_COLOURS)]
        middle = left + 138 * u
        words = pen.shortened(plain(name), middle - left - 6 * u, 14 * u, 600 if best else 400)
        pen.text(canvas, words, left, y + 14 * u, 14 * u, BRIGHT if best else SOFT, weight=600 if best else 400)
        pen.box(canvas, middle, y + 6 * u, right - middle, 7 * u, TRACK, 3.5 * u)
        if score > 0.01:
            shown = colour if best else mix(TRACK, colour, 0.6)
            pen.box(canvas, middle, y + 6 * u, max(7 * u, (right - middle) * score), 7 * u, shown, 3.5 * u)

    def _modalities(self, canvas: Canvas, result: Result, y: float) -> None:
        """One row each. The picture that is shown needs no preview beside itself, so its row is lower."""
        room = self.size[1] - y - 10 * self._u
        low = 46 * self._u
        others = max(1, sum(name not in self._pictures for name in self.names))
        high = min(88 * self._u, (room - low * len(self._pictures)) / others)
        for name in self.names:
            row = low if name in self._pictures else high
            if row >= 24 * self._u:
                self._modality(canvas, result, name, y, row)
            y += row

    def _modality(self, canvas: Canvas, result: Result, name: str, y: float, row: float) -> None:
        u, pen = self._u, self._pen
        left, right = self.size[0] - self._side + 20 * u, self.size[0] - 20 * u
        canvas[round(y), round(left) : round(right)] = TRACK
        present = name in result.ages
        packet = result.snapshot.packets.get(name) if result.snapshot is not None and present else None
        colour = self.colour(name) if present else FAINT
        base = y + 22 * u
        end = left + pen.text(canvas, name, left, base, 15 * u, BRIGHT if present else FAINT, weight=600)
        if present:
            weight = result.weights.get(name, 0.0)
            pen.text(canvas, f"{100 * weight:.0f} %", right, base, 15 * u, BRIGHT, weight=600, align="right")
            age = result.ages[name]
            words = f"{1e3 * age:.0f} ms old" if age < 1 else f"{age:.1f} s old"
            # Words do not go stale the way pictures and sounds do.
            late = age > 3 * STALE_S and not (packet is not None and isinstance(packet.data, str))
            pen.text(canvas, words, end + 10 * u, base, 12 * u, ALARM if late else FAINT)
            pen.box(canvas, left, base + 8 * u, right - left, 6 * u, TRACK, 3 * u)
            if weight > 0.01:
                pen.box(canvas, left, base + 8 * u, max(6 * u, (right - left) * weight), 6 * u, colour, 3 * u)
        else:
            pen.box(canvas, left - 2 * u, base - 6 * u, end - left + 4 * u, 1.6 * u, ALARM)
            seen = self._seen.get(name)
            words = "never came" if seen is None else f"absent, last seen {result.time_s - seen:.1f} s ago"
            pen.text(canvas, words, right, base, 12 * u, ALARM, align="right")
        top, height = base + 20 * u, row - 48 * u
        if packet is not None and height >= 12 * u:
            preview(pen, canvas, packet, (left, top, right - left, height), colour, SOFT)

    def _timeline(self, canvas: Canvas) -> None:
        """Stacked weights of the last seconds, newest on the right, over a ribbon in the first head's colours."""
        u, pen = self._u, self._pen
        width, top = self.size[0] - self._side, self.size[1] - self._strip
        left, right = round(22 * u), width - round(22 * u)
        high, ribbon = round(58 * u), round(8 * u)
        times = np.array([time_s for time_s, _, _ in self._history])
        columns = times[-1] - self._span * (1.0 - (np.arange(right - left) + 1) / (right - left))
        index = np.searchsorted(times, columns + 1e-9, side="right") - 1
        known = index >= 0
        weights = np.zeros((len(self.names), right - left), np.float32)
        rows = [(*weight, *[0.0] * (len(self.names) - len(weight))) for _, weight, _ in self._history]
        weights[:, known] = np.array(rows, np.float32)[index[known]].T
        area = canvas[top + round(16 * u) : top + round(16 * u) + high, left:right]
        area[:] = PANEL
        edges = np.cumsum(np.concatenate([np.zeros((1, right - left), np.float32), weights]), axis=0) * high
        level = np.arange(high, 0, -1, dtype=np.float32)[:, None] - 1.0
        cover = np.clip(edges[1:, None] - level, 0, 1) - np.clip(edges[:-1, None] - level, 0, 1)
        inks = np.array([np.subtract(self.colour(name), PANEL) for name in self.names], np.float32)
        area[:] = np.array(PANEL, np.float32) + np.einsum("mhw,mc->hwc", cover, inks)
        labels = np.array([label for _, _, label in self._history])
        palette = np.array(LABEL_COLOURS, np.uint8)
        band = canvas[top + round(16 * u) + high + round(4 * u) :][:ribbon, left:right]
        band[:] = PANEL
        band[:, known] = palette[labels[index[known]] % len(palette)]
        pen.text(canvas, f"weights and decision, last {self._span:g} s", left, top + 11 * u, 11 * u, FAINT)


def _picture_of(result: Result) -> Packet | None:
    """The first packet that is a picture."""
    if result.snapshot is None:
        return None
    for packet in result.snapshot.packets.values():
        if is_picture(packet.data):
            return packet
    return None
