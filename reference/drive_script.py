"""What can happen on a drive: the actors, their ways through the street, and the order of events.

An actor follows knots of time, distance, lateral position and heading, in metres, seconds and radians, as the vehicle's
camera sees them; corners are rounded so that nothing jerks.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .scene import COLOURED, COLOURS, FAST_MPS, FOCAL, VULNERABLE, WEATHERS, engine_of

KINDS = ("crossing", "emergency", "closing", "exit", "vehicle", "cyclist", "siren")
REACH_M = 19.0
"""Up to here an object is the main one; beyond it is decoration."""
EDGE = 0.46
"""Screen x up to which an object's middle counts as in view of the square picture."""
RADAR_REACH_M = 60.0
_SMOOTH_S = 0.3
Knot = tuple[float, float, float, float]
"""Time (s), distance (m), lateral position (m), heading (radians, positive to the right)."""


@dataclass(frozen=True)
class Actor:
    """An object and its way: straight between knots, corners rounded over `_SMOOTH_S`."""

    kind: str
    colour: str | None
    seed: int
    knots: tuple[Knot, ...]
    bell: bool = False
    beep: bool = False
    engine: str = "none"

    def at(self, time_s: float) -> tuple[float, float, float]:
        """Distance and lateral position in metres, heading in radians."""
        times = [knot[0] for knot in self.knots]
        around = time_s + np.linspace(-_SMOOTH_S, _SMOOTH_S, 7)
        distance, lateral, yaw = (
            float(np.interp(around, times, [knot[k] for knot in self.knots]).mean()) for k in (1, 2, 3)
        )
        return distance, lateral, yaw

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
        distance, lateral, _ = self.at(time_s)
        return 3.0 < distance < REACH_M and abs(lateral) * FOCAL / distance < EDGE

    def echoes(self, time_s: float) -> bool:
        """Whether the radar follows it: the main object, or a fast one from afar."""
        if not self.alive(time_s):
            return False
        return self.main(time_s) or (self.closing(time_s) >= FAST_MPS and self.at(time_s)[0] < RADAR_REACH_M)


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


def weathers(rng: random.Random, seconds: float) -> tuple[tuple[float, str], ...]:
    """When which weather begins; each lasts fifteen to twenty-five seconds."""
    found, time = [(float("-inf"), rng.choice(WEATHERS))], rng.uniform(15.0, 25.0)
    while time < seconds:
        found.append((time, rng.choice([name for name in WEATHERS if name != found[-1][1]])))
        time += rng.uniform(15.0, 25.0)
    return tuple(found)


def slots(rng: random.Random, seconds: float) -> list[Slot]:
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
    yaw = 0.3 * (-sign if sign else rng.choice((-1.0, 1.0)))
    arrive = start + (REACH_M - near) / 3.8
    leave = arrive + hold_s
    gone = leave + (REACH_M - near) / 3.8
    knots = (
        (start - 6.0, 62.0, lateral, yaw),
        (start, REACH_M, lateral, yaw),
        (arrive, near, lateral, yaw),
        (leave, near, lateral, yaw),
        (gone, REACH_M, lateral, yaw),
        (gone + 6.0, 62.0, lateral, yaw),
    )
    return Actor(
        kind,
        rng.choice(COLOURS) if kind in COLOURED else None,
        rng.getrandbits(24),
        knots,
        beep=kind == "truck" and rng.random() < 0.3,
        engine=engine_of(rng, kind),
    )


def _slot_vehicle(rng: random.Random, start: float) -> Slot:
    actor = _vehicle(rng, start, rng.choice(("car", "truck", "bus", "ambulance")))
    return Slot("vehicle", start, actor.knots[4][0], rng.getrandbits(24), actor)


def _slot_exit(rng: random.Random, start: float) -> Slot:
    actor = _vehicle(rng, start + 1.0, rng.choice(("car", "truck", "bus"))) if rng.random() < 0.6 else None
    end = max(start + 5.5, actor.knots[4][0] if actor else 0.0)
    return Slot("exit", start, end, rng.getrandbits(24), actor, blocked_exit=rng.choice(("left", "right")))


def _slot_crossing(rng: random.Random, start: float) -> Slot:
    """From one pavement to the other, at walking or riding pace."""
    kind, sign = rng.choice(VULNERABLE), rng.choice((-1.0, 1.0))
    pace = 1.5 if kind == "pedestrian" else 2.2
    cross, yaw = start + 1.2 + 6.0 / pace, -0.9 * sign
    knots = (
        (start - 0.6, 13.5, sign * 5.0, yaw),
        (start + 0.7, 12.5, sign * 3.0, yaw),
        (start + 1.2, 11.5, sign * 3.0, yaw),
        (cross, 8.0, -sign * 3.0, yaw),
        (cross + 3.0, 8.0, -sign * 9.0, yaw),
    )
    actor = Actor(kind, None, rng.getrandbits(24), knots, bell=kind == "cyclist")
    return Slot("crossing", start, cross + 0.3, rng.getrandbits(24), actor, slow=True)


def _slot_emergency(rng: random.Random, start: float) -> Slot:
    """A siren, then the ambulance out of a side street, then away down the road."""
    sign = rng.choice((-1.0, 1.0))
    seen, near = start + 2.2, rng.uniform(10.5, 12.0)
    knots = (
        (seen - 1.0, near + 1.5, sign * 11.0, -sign * 0.8),
        (seen + 0.6, near, sign * 1.7, -sign * 0.5),
        (seen + 2.2, near, sign * 1.7, -sign * 0.28),
        (seen + 4.0, REACH_M, sign * 1.7, -sign * 0.24),
        (seen + 9.0, 62.0, sign * 1.0, 0.0),
    )
    actor = Actor("ambulance", None, rng.getrandbits(24), knots, engine=engine_of(rng, "ambulance"))
    return Slot("emergency", start, seen + 3.7, actor.seed, actor, siren=True)


def _slot_siren(rng: random.Random, start: float) -> Slot:
    """A siren somewhere behind the houses."""
    return Slot("siren", start, start + rng.uniform(3.5, 5.0), rng.getrandbits(24), siren=True)


def _slot_closing(rng: random.Random, start: float) -> Slot:
    """A car ahead brakes hard: the gap shrinks at 13 to 17 m/s until we have slowed as well."""
    speed, near = rng.uniform(13.0, 17.0), rng.uniform(8.5, 10.0)
    sign = rng.choice((-1.0, 0.0, 1.0))
    lateral, yaw = sign * 1.5, 0.3 * (-sign if sign else rng.choice((-1.0, 1.0)))
    arrive = start + (58.0 - near) / speed
    gone = arrive + 0.5 + (REACH_M - near) / 3.8
    knots = (
        (start - 0.1, 59.0, lateral, yaw),
        (start, 58.0, lateral, yaw),
        (arrive, near, lateral, yaw),
        (arrive + 0.5, near, lateral, yaw),
        (gone, REACH_M, lateral, yaw),
        (gone + 6.0, 62.0, lateral, yaw),
    )
    actor = Actor("car", rng.choice(COLOURS), rng.getrandbits(24), knots, engine="light")
    return Slot("closing", start, gone, rng.getrandbits(24), actor, horn=rng.random() < 0.3)


def _slot_cyclist(rng: random.Random, start: float) -> Slot:
    """Someone rides along on the pavement; we overtake."""
    sign, pace = rng.choice((-1.0, 1.0)), 2.6
    lateral, yaw = sign * 3.05, sign * -0.9
    knots = (
        (start - 7.0, 60.0, lateral, yaw),
        (start, 18.5, lateral, yaw),
        (start + (18.5 - 2.0) / pace, 2.0, lateral, yaw),
    )
    kind = rng.choice(VULNERABLE)
    actor = Actor(kind, None, rng.getrandbits(24), knots, bell=kind == "cyclist")
    return Slot("cyclist", start, start + 3.4, rng.getrandbits(24), actor)


_SCRIPTS: dict[str, Callable[[random.Random, float], Slot]] = {
    "vehicle": _slot_vehicle,
    "exit": _slot_exit,
    "crossing": _slot_crossing,
    "emergency": _slot_emergency,
    "siren": _slot_siren,
    "closing": _slot_closing,
    "cyclist": _slot_cyclist,
}
