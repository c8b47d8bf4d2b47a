"""A drive: scenes in a row, continuous in time, with the four senses of every moment.

The drive is cut into slots of five to seven seconds. In each something happens: someone crosses, a siren is heard and an
ambulance comes out of a side street, a car ahead brakes hard, an exit is reported blocked, a vehicle is met. Every object
follows a path through a few knots; outside the reach of the main object it is drawn on as decoration, so nothing pops up
in sight. Sound is joined from overlapping windows of the moments' sounds, whose parts run on absolute time: no clicks.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .radar import clutter, echo, noise_rows
from .scene import (
    COLOURED,
    COLOURS,
    FOCAL,
    LAYOUTS,
    ROAD_HALF_M,
    SIDES,
    VULNERABLE,
    WEATHERS,
    Far,
    Scene,
    engine_of,
)
from .sound import SAMPLE_RATE, render_sound
from .wording import text_for

KINDS = ("crossing", "emergency", "closing", "exit", "vehicle", "cyclist", "siren")
RADAR_HZ = 20.0
REACH_M = 19.0
"""Up to here an object is the main one; beyond it is decoration."""
EDGE = 0.46
"""Screen x up to which an object's middle counts as in view of the square picture."""
_BASE_MPS = 7.0
_SMOOTH_S = 0.3
_SEED = 0x3FFFFFFF
Knot = tuple[float, float, float]
"""Time (s), distance (m), lateral position (m)."""


@dataclass(frozen=True)
class Actor:
    """An object and its way: straight between knots, corners rounded over `_SMOOTH_S`."""

    kind: str
    colour: str | None
    seed: int
    yaw: float
    knots: tuple[Knot, ...]
    bell: bool = False
    beep: bool = False
    engine: str = "none"

    def at(self, time_s: float) -> tuple[float, float]:
        """Distance and lateral position in metres."""
        times = [knot[0] for knot in self.knots]
        around = time_s + np.linspace(-_SMOOTH_S, _SMOOTH_S, 7)
        distance = np.interp(around, times, [knot[1] for knot in self.knots]).mean()
        lateral = np.interp(around, times, [knot[2] for knot in self.knots]).mean()
        return float(distance), float(lateral)

    def closing(self, time_s: float) -> float:
        """Closing speed, m/s."""
        return (self.at(time_s - 0.05)[0] - self.at(time_s + 0.05)[0]) / 0.1

    def alive(self, time_s: float) -> bool:
        """Whether it is anywhere near the street."""
        return self.knots[0][0] <= time_s <= self.knots[-1][0]

    def main(self, time_s: float) -> bool:
        """Whether it is close and central enough to be the main object."""
        if not self.alive(time_s):
            return False
        distance, lateral = self.at(time_s)
        return 3.0 < distance < REACH_M and abs(lateral) * FOCAL / distance < EDGE


@dataclass(frozen=True)
class Slot:
    """One thing that happens: its actor, and what is heard or said while it lasts."""

    kind: str
    start: float
    end: float
    seed: int
    actor: Actor | None = None
    siren: bool = False
    horn: bool = False
    blocked_exit: str | None = None
    slow: bool = False


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
        self.slots = tuple(_slots(rng, seconds))
        self._weathers = _weathers(rng, seconds)

    def weather_at(self, time_s: float) -> tuple[str, str, float]:
        """Weather now, the one it turns into, and how far it has turned (0..1)."""
        for index, (start, name) in enumerate(self._weathers):
            following = self._weathers[index + 1] if index + 1 < len(self._weathers) else (float("inf"), name)
            if time_s < following[0] + 1.5:
                turned = min(max((time_s - following[0] + 1.5) / 3.0, 0.0), 1.0)
                return name, following[1], turned
        return name, name, 0.0

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
                times |= {round(slot.start, 2), round(slot.end + 0.02, 2)}
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
        found = []
        for slot in self.slots:
            actor = slot.actor
            if actor is None or not actor.alive(time_s):
                continue
            if actor.main(time_s) or (radar and slot.kind == "closing" and actor.at(time_s)[0] < 60.0):
                found.append((actor.at(time_s)[0], actor))
        return min(found, key=lambda item: item[0])[1] if found else None

    def _scene(self, time_s: float, weather: str | None) -> Scene:
        slots = [slot for slot in self.slots if slot.start <= time_s < slot.end]
        main, echoed = self._nearest(time_s), self._nearest(time_s, radar=True)
        now, then, turned = self.weather_at(time_s)
        distance, lateral = main.at(time_s) if main else (echoed.at(time_s) if echoed else (12.0, 0.0))
        screen = lateral * FOCAL / distance
        scroll = float(np.interp(time_s, self._road[0], self._road[2]))
        light_m = 60.0 - scroll % 120.0
        shown = light_m if 3.0 < light_m < 55.0 else None
        return Scene(
            seed=main.seed if main else (slots[0].seed if slots else self.seed & _SEED),
            weather=weather or (then if turned > 0.5 else now),
            object=main.kind if main else "none",
            side=SIDES[1 + (screen > 0.12) - (screen < -0.12)],
            colour=main.colour if main else None,
            distance_m=distance,
            lateral_m=lateral,
            yaw=main.yaw if main else 0.0,
            closing_mps=echoed.closing(time_s) if echoed else 0.0,
            on_road=main is not None and (main.kind not in VULNERABLE or abs(lateral) < ROAD_HALF_M),
            traffic_light=("red" if shown > 26.0 else "green") if shown else None,
            siren=any(slot.siren for slot in slots),
            horn=any(slot.horn for slot in slots),
            bell=main is not None and main.bell,
            beep=main is not None and main.beep,
            engine=main.engine if main else "none",
            blocked_exit=next((slot.blocked_exit for slot in slots if slot.blocked_exit), None),
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
                distance, lateral = actor.at(time_s)
                if distance > 2.5:
                    found.append(Far(actor.kind, actor.colour, lateral, distance, actor.yaw, actor.seed % 48))
        return tuple(found)


def _radar_size(kind: str) -> str:
    return {"car": "medium", "truck": "large", "bus": "large", "ambulance": "large"}.get(kind, "small")


def _weathers(rng: random.Random, seconds: float) -> tuple[tuple[float, str], ...]:
    """When which weather begins; each lasts fifteen to twenty-five seconds."""
    found, time = [(float("-inf"), rng.choice(WEATHERS))], rng.uniform(15.0, 25.0)
    while time < seconds:
        found.append((time, rng.choice([name for name in WEATHERS if name != found[-1][1]])))
        time += rng.uniform(15.0, 25.0)
    return tuple(found)


def _slots(rng: random.Random, seconds: float) -> list[Slot]:
    """Slots that cover the drive; every kind comes once before any comes again."""
    found: list[Slot] = []
    bag: list[str] = []
    time = rng.uniform(0.8, 1.4)
    while time < seconds:
        if not bag:
            bag = list(KINDS[:4]) + rng.sample(KINDS[4:], 3)
            turn = rng.randrange(4)
            bag = bag[turn:4] + bag[:turn] + bag[4:]
        slot = _SCRIPTS[bag.pop(0)](rng, time)
        found.append(slot)
        time = slot.end + rng.uniform(0.6, 1.2)
    return found


def _vehicle(rng: random.Random, start: float, kind: str, *, hold_s: float = 1.2) -> Actor:
    """Met in its lane: comes near no faster than 3.8 m/s while it is the main object, stays, and draws away."""
    near = rng.uniform(9.0, 10.5) if kind == "car" else rng.uniform(11.0, 12.5)
    sign = rng.choice((-1.0, 0.0, 1.0))
    lateral = sign * max(0.26 * near / FOCAL, 1.45)
    arrive = start + (REACH_M - near) / 3.8
    leave = arrive + hold_s
    gone = leave + (REACH_M - near) / 3.8
    knots = (
        (start - 6.0, 62.0, lateral),
        (start, REACH_M, lateral),
        (arrive, near, lateral),
        (leave, near, lateral),
        (gone, REACH_M, lateral),
        (gone + 6.0, 62.0, lateral),
    )
    heading = -sign if sign else rng.choice((-1.0, 1.0))
    return Actor(
        kind,
        rng.choice(COLOURS) if kind in COLOURED else None,
        rng.getrandbits(24),
        heading * 0.3,
        knots,
        beep=kind == "truck" and rng.random() < 0.3,
        engine=engine_of(rng, kind),
    )


def _slot_vehicle(rng: random.Random, start: float) -> Slot:
    actor = _vehicle(rng, start, rng.choice(("car", "truck", "bus", "ambulance")))
    return Slot("vehicle", start, actor.knots[4][0], rng.getrandbits(24), actor)


def _slot_exit(rng: random.Random, start: float) -> Slot:
    actor = _vehicle(rng, start + 1.0, rng.choice(("car", "truck", "bus"))) if rng.random() < 0.6 else None
    return Slot("exit", start, start + 5.5, rng.getrandbits(24), actor, blocked_exit=rng.choice(("left", "right")))


def _slot_crossing(rng: random.Random, start: float) -> Slot:
    """From one pavement to the other, at walking or riding pace."""
    kind, sign = rng.choice(VULNERABLE), rng.choice((-1.0, 1.0))
    pace = 1.5 if kind == "pedestrian" else 2.2
    cross = start + 1.2 + 6.0 / pace
    knots = (
        (start - 0.6, 13.5, sign * 5.0),
        (start + 0.7, 12.5, sign * 3.0),
        (start + 1.2, 11.5, sign * 3.0),
        (cross, 8.0, -sign * 3.0),
        (cross + 3.0, 8.0, -sign * 9.0),
    )
    actor = Actor(kind, None, rng.getrandbits(24), sign * 0.9, knots, bell=kind == "cyclist")
    return Slot("crossing", start, cross + 0.3, rng.getrandbits(24), actor, slow=True)


def _slot_emergency(rng: random.Random, start: float) -> Slot:
    """A siren, then the ambulance out of a side street, then away down the road."""
    sign = rng.choice((-1.0, 1.0))
    seen, near = start + 2.2, rng.uniform(10.5, 12.0)
    knots = (
        (seen - 1.0, near + 1.5, sign * 11.0),
        (seen + 0.6, near, sign * 1.7),
        (seen + 2.2, near, sign * 1.7),
        (seen + 4.0, REACH_M, sign * 1.7),
        (seen + 9.0, 62.0, sign * 1.0),
    )
    actor = Actor("ambulance", None, rng.getrandbits(24), -sign * 0.3, knots, engine=engine_of(rng, "ambulance"))
    return Slot("emergency", start, seen + 4.0, actor.seed, actor, siren=True)


def _slot_siren(rng: random.Random, start: float) -> Slot:
    """A siren somewhere behind the houses."""
    return Slot("siren", start, start + rng.uniform(3.5, 5.0), rng.getrandbits(24), siren=True)


def _slot_closing(rng: random.Random, start: float) -> Slot:
    """A car ahead brakes hard: the gap shrinks at 13 to 17 m/s until we have slowed as well."""
    speed, near = rng.uniform(13.0, 17.0), rng.uniform(8.5, 10.0)
    sign = rng.choice((-1.0, 0.0, 1.0))
    lateral = sign * 1.5
    arrive = start + (58.0 - near) / speed
    gone = arrive + 0.5 + (REACH_M - near) / 3.8
    knots = (
        (start - 0.1, 59.0, lateral),
        (start, 58.0, lateral),
        (arrive, near, lateral),
        (arrive + 0.5, near, lateral),
        (gone, REACH_M, lateral),
        (gone + 6.0, 62.0, lateral),
    )
    heading = -sign if sign else rng.choice((-1.0, 1.0))
    actor = Actor("car", rng.choice(COLOURS), rng.getrandbits(24), heading * 0.3, knots, engine="light")
    return Slot("closing", start, gone, rng.getrandbits(24), actor, horn=rng.random() < 0.3)


def _slot_cyclist(rng: random.Random, start: float) -> Slot:
    """Someone rides along on the pavement; we overtake."""
    sign, pace = rng.choice((-1.0, 1.0)), 2.6
    lateral = sign * 3.05
    knots = (
        (start - 7.0, 60.0, lateral),
        (start, 18.5, lateral),
        (start + (18.5 - 2.0) / pace, 2.0, lateral),
    )
    kind = rng.choice(VULNERABLE)
    actor = Actor(kind, None, rng.getrandbits(24), sign * -0.9, knots, bell=kind == "cyclist")
    return Slot("cyclist", start, start + 3.4, rng.getrandbits(24), actor)


_SCRIPTS = {
    "vehicle": _slot_vehicle,
    "exit": _slot_exit,
    "crossing": _slot_crossing,
    "emergency": _slot_emergency,
    "siren": _slot_siren,
    "closing": _slot_closing,
    "cyclist": _slot_cyclist,
}
