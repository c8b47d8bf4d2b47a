"""A drive: scenes in a row, continuous in time, with the four senses of every moment.

The drive is cut into slots of a few seconds. In each something happens: someone crosses, a siren is heard and an
ambulance comes out of a side street, a car ahead brakes hard, an exit is reported blocked, a vehicle is met. Outside
the reach of the main object an actor is drawn on as decoration, so nothing pops up in sight. Sound is joined from
overlapping windows of the moments' sounds, whose parts run on absolute time: no clicks.
"""

from __future__ import annotations

import math
import random
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .drive_script import Actor, slots, weathers
from .radar import clutter, echo, noise_rows
from .scene import FOCAL, LAYOUTS, ROAD_HALF_M, SIDES, VULNERABLE, Far, Scene
from .sound import SAMPLE_RATE, render_sound
from .wording import text_for

RADAR_HZ = 20.0
_BASE_MPS = 7.0
_SEED = 0x3FFFFFFF


class Drive:
    """A scripted drive of `seconds`; the same seed gives the same drive. Times are seconds from its start."""

    def __init__(self, seed: int, seconds: float = 10.0) -> None:
        """Raises ValueError where `seconds` is not positive."""
        if not seconds > 0.0:
            raise ValueError(f"a drive of {seconds} s; expected more than 0")
        self.seed = seed
        self.seconds = seconds
        rng = random.Random(seed * 2 + 1)
        self._layout = rng.randrange(LAYOUTS)
        self.slots = tuple(slots(rng, seconds))
        self._weathers = weathers(rng, seconds)

    def weather_at(self, time_s: float) -> tuple[str, str, float]:
        """Weather now, the one it turns into, and how far it has turned (0..1)."""
        names = [name for _, name in self._weathers]
        for index, (start, then) in enumerate(self._weathers[1:]):
            if time_s < start + 1.5:
                return names[index], then, max((time_s - start + 1.5) / 3.0, 0.0)
        return names[-1], names[-1], 0.0

    def scene_at(self, time_s: float) -> Scene:
        """The truth at one moment."""
        return self._scene(time_s, None)

    def frame(self, time_s: float, size: tuple[int, int] = (360, 640)) -> NDArray[np.uint8]:
        """The camera's picture, `size` = (height, width), uint8 (H, W, 3) RGB; weathers blend while they change."""
        from .draw import render_image

        now, then, turned = self.weather_at(time_s)
        picture = render_image(self._scene(time_s, now), size, time_s)
        if turned > 0.0:
            other = render_image(self._scene(time_s, then), size, time_s)
            picture = np.rint(picture * (1.0 - turned) + other * turned).astype(np.uint8)
        return picture

    def sound(self) -> NDArray[np.float32]:
        """The whole track, 16 kHz mono float32 in [-1, 1], shape (round(seconds · 16000),)."""
        hop = SAMPLE_RATE // 4
        count = round(self.seconds * SAMPLE_RATE)
        track = np.zeros((count // hop + 3) * hop, np.float32)
        window = (0.5 - 0.5 * np.cos(np.arange(2 * hop) * np.pi / hop)).astype(np.float32)
        for block in range(-1, count // hop + 1):
            first = block * hop / SAMPLE_RATE
            scene = self.scene_at(min(max(first + 0.25, 0.0), self.seconds))
            start = (block + 1) * hop
            track[start : start + 2 * hop] += window * render_sound(scene, 0.5, first)
        return np.clip(track[hop : hop + count], -1.0, 1.0)

    def radar_rows(self, bins: int = 32) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Sweep times (N,) in seconds, and sweeps (N, bins) in [0, 1], 20 a second."""
        times = np.arange(int(self.seconds * RADAR_HZ) + 1) / RADAR_HZ
        rng = np.random.default_rng([self.seed & _SEED, 17])
        rows = noise_rows(rng, times.size, bins) + clutter(self.seed & _SEED, bins)
        strength = rng.uniform(0.8, 1.05, times.size)
        for index, time in enumerate(times):
            actor = self._nearest(float(time), radar=True)
            if actor is not None:
                size = _radar_size(actor.kind)
                rows[index] += strength[index] * echo(size, np.array([actor.at(float(time))[0]]), bins)[0]
        return times, np.clip(rows, 0.0, 1.0).astype(np.float32)

    def texts(self) -> list[tuple[float, str]]:
        """What the radio carries and when: every few seconds, and at once when an exit is closed or free again."""
        times = {round(0.1 + 2.5 * k, 2) for k in range(int(self.seconds / 2.5) + 1)}
        for slot in self.slots:
            if slot.blocked_exit is not None:
                times |= {math.ceil(slot.start * 100) / 100, math.ceil(slot.end * 100) / 100}
        found = sorted(time for time in times if 0.0 <= time < self.seconds)
        return [(time, text_for(self.scene_at(time), self.seed * 1000 + round(time * 100))) for time in found]

    def hazard_at(self, time_s: float) -> str:
        """The hazard's name at one moment."""
        return self.scene_at(time_s).hazard

    def speed_at(self, time_s: float) -> float:
        """Our own speed, m/s: we slow down for people who cross."""
        return float(np.interp(time_s, self._road[0], self._road[1]))

    @cached_property
    def _road(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Times, speeds and distance driven, in steps of 50 ms."""
        times = np.arange(-1.0, self.seconds + 2.0, 0.05)
        speed = np.full(times.size, _BASE_MPS)
        for slot in self.slots:
            if slot.slow:
                inside = np.minimum(times - slot.start + 1.0, slot.end + 1.0 - times)
                speed = np.minimum(speed, _BASE_MPS - (_BASE_MPS - 1.5) * np.clip(inside, 0.0, 1.0))
        return times, speed, np.cumsum(speed) * 0.05

    def _nearest(self, time_s: float, *, radar: bool = False) -> Actor | None:
        """The closest actor that is the main object; the radar also follows a fast one from afar."""
        actors = [slot.actor for slot in self.slots if slot.actor is not None]
        seen = [actor for actor in actors if (actor.echoes(time_s) if radar else actor.main(time_s))]
        return min(seen, key=lambda actor: actor.at(time_s)[0], default=None)

    def _scene(self, time_s: float, weather: str | None) -> Scene:
        now_on = [slot for slot in self.slots if slot.start <= time_s < slot.end]
        main, echoed = self._nearest(time_s), self._nearest(time_s, radar=True)
        now, then, turned = self.weather_at(time_s)
        nearest = main or echoed
        distance, lateral, yaw = nearest.at(time_s) if nearest else (12.0, 0.0, 0.0)
        screen = lateral * FOCAL / distance
        scroll = float(np.interp(time_s, self._road[0], self._road[2]))
        light_m = 60.0 - scroll % 120.0
        shown = light_m if 3.0 < light_m < 55.0 else None
        return Scene(
            seed=main.seed if main else (now_on[0].seed if now_on else self.seed & _SEED),
            weather=weather or (then if turned > 0.5 else now),
            object=main.kind if main else "none",
            side=SIDES[1 + (screen > 0.12) - (screen < -0.12)],
            colour=main.colour if main else None,
            distance_m=distance,
            lateral_m=lateral,
            yaw=yaw,
            closing_mps=echoed.closing(time_s) if echoed else 0.0,
            on_road=main is not None and (main.kind not in VULNERABLE or abs(lateral) < ROAD_HALF_M),
            traffic_light=("red" if shown > 26.0 else "green") if shown else None,
            siren=any(slot.siren for slot in now_on),
            horn=any(slot.horn for slot in now_on),
            bell=main is not None and main.bell,
            beep=main is not None and main.beep,
            engine=main.engine if main else "none",
            blocked_exit=next((slot.blocked_exit for slot in now_on if slot.blocked_exit), None),
            layout=self._layout,
            scroll_m=scroll,
            light_m=shown or 17.0,
            far=self._others(time_s, main),
        )

    def _others(self, time_s: float, main: Actor | None) -> tuple[Far, ...]:
        """Everything in the street that is not the main object."""
        found = []
        for slot in self.slots:
            actor = slot.actor
            if actor is not None and actor is not main and actor.alive(time_s):
                distance, lateral, yaw = actor.at(time_s)
                if distance > 2.5:
                    found.append(Far(actor.kind, actor.colour, lateral, distance, yaw, actor.seed % 48))
        return tuple(found)


def _radar_size(kind: str) -> str:
    return {"car": "medium", "truck": "large", "bus": "large", "ambulance": "large"}.get(kind, "small")
