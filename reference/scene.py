"""One truth behind four senses: what a small vehicle's camera, microphone, radar and radio meet in a street.

A :class:`Scene` says what is there. `draw`, `sound`, `radar` and `wording` each show one side of it, so that no
single sense knows everything: a fast approach is visible only to the radar, a siren is only heard, a blocked exit is
only said.

Units: metres, seconds, metres per second. `lateral_m` is 0 in the middle of the road and positive to the right.
Everything is drawn from `random.Random(seed)`: the same seed gives the same scene on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

WEATHERS = ("clear", "rain", "fog", "night")
OBJECTS = ("car", "truck", "bus", "pedestrian", "cyclist", "ambulance", "none")
SIDES = ("left", "centre", "right")
COLOURS = ("red", "blue", "white", "yellow")
HAZARDS = (
    "clear",
    "vulnerable_ahead",
    "closing_fast",
    "siren_unseen",
    "emergency_in_view",
    "exit_left_blocked",
    "exit_right_blocked",
)
LIGHTS = ("red", "green", "amber")
ENGINES = ("none", "light", "heavy")
BALANCES = ("hazard", "natural")

FAST_MPS = 8.0
"""Closing speed from which an approach counts as fast; scenes are either above 12 or within ±4."""
ROAD_HALF_M = 2.6
"""Half the width of the road; the pavement begins here."""
FOCAL = 1.7
"""Focal length of the camera in frame heights: screen x = FOCAL · lateral / distance."""
LAYOUTS = 6
"""How many different streets there are."""
_PLACES_M = tuple(13.25 * step for step in range(8))

COLOURED = ("car", "truck", "bus")
VULNERABLE = ("pedestrian", "cyclist")
_RANGES = {
    "car": (8.0, 12.5),
    "truck": (11.0, 17.5),
    "bus": (11.0, 17.5),
    "ambulance": (10.0, 15.0),
    "pedestrian": (7.0, 11.5),
    "cyclist": (7.5, 11.5),
    "none": (9.0, 14.0),
}
_NATURAL_HAZARDS = (0.60, 0.13, 0.09, 0.01, 0.01, 0.08, 0.08)
_NATURAL_OBJECTS = (0.28, 0.12, 0.12, 0.16, 0.14, 0.04, 0.14)
_NATURAL_WEATHERS = (0.40, 0.24, 0.15, 0.21)


@dataclass(frozen=True)
class Far:
    """Something far away or at the edge of sight: decoration, never the main object."""

    kind: str
    colour: str | None
    lateral_m: float
    distance_m: float
    yaw: float = 0.0
    style: int = 0


@dataclass(frozen=True)
class Scene:
    """The truth of one moment. `engine` is what is heard of motors, `target` what the radar sees, if anything."""

    seed: int
    weather: str
    object: str
    side: str
    colour: str | None
    distance_m: float
    lateral_m: float
    yaw: float
    closing_mps: float
    on_road: bool
    traffic_light: str | None
    siren: bool
    horn: bool
    bell: bool
    beep: bool
    engine: str
    blocked_exit: str | None
    layout: int
    scroll_m: float = 0.0
    light_m: float = 17.0
    far: tuple[Far, ...] = ()

    @property
    def hazard(self) -> str:
        """The most urgent of the seven: fast approach, person in our path, ambulance, siren, exit, clear."""
        if self.closing_mps >= FAST_MPS:
            return "closing_fast"
        if self.object in VULNERABLE and self.on_road:
            return "vulnerable_ahead"
        if self.siren:
            return "emergency_in_view" if self.object == "ambulance" else "siren_unseen"
        if self.blocked_exit is not None:
            return f"exit_{self.blocked_exit}_blocked"
        return "clear"

    @property
    def path(self) -> str | None:
        """Where a pedestrian or cyclist is: `road` or `pavement`; None for everything else."""
        if self.object not in VULNERABLE:
            return None
        return "road" if self.on_road else "pavement"

    @property
    def source(self) -> str:
        """The main thing heard besides sirens: `bell`, `light`, `heavy` or `none`."""
        return "bell" if self.bell else self.engine

    @property
    def target(self) -> str:
        """Size of the radar's target: `none`, `small`, `medium` or `large`; a fast one may be where no camera looks."""
        if self.object == "none":
            return "medium" if self.closing_mps >= FAST_MPS else "none"
        return {"car": "medium", "truck": "large", "bus": "large", "ambulance": "large"}.get(self.object, "small")


def sample_scene(seed: int, *, balance: str = "hazard") -> Scene:
    """A random scene. `hazard`: all seven equally likely; `natural`: mostly clear, as a drive would meet them."""
    if balance not in BALANCES:
        raise ValueError(f"balance is {balance!r}, expected one of {', '.join(BALANCES)}")
    rng = random.Random(seed * 2 + BALANCES.index(balance))
    natural = balance == "natural"
    hazard = rng.choices(HAZARDS, _NATURAL_HAZARDS)[0] if natural else rng.choice(HAZARDS)
    weather = rng.choices(WEATHERS, _NATURAL_WEATHERS)[0] if natural else rng.choice(WEATHERS)
    kind = _pick_object(rng, hazard, natural)
    on_road = _pick_on_road(rng, hazard, kind)
    siren = hazard in ("siren_unseen", "emergency_in_view")
    if hazard in ("closing_fast", "vulnerable_ahead") and not natural:
        siren = rng.random() < 0.12
    side, lateral, distance, yaw = place(rng, kind, on_road)
    if kind == "none" and hazard == "closing_fast":
        distance = rng.uniform(8.0, 34.0)
    quiet = 0.3 if natural else 1.0
    blocked = _pick_exit(rng, hazard)
    return Scene(
        seed=seed,
        weather=weather,
        object=kind,
        side=side,
        colour=rng.choice(COLOURS) if kind in COLOURED else None,
        distance_m=distance,
        lateral_m=lateral,
        yaw=yaw,
        closing_mps=rng.uniform(12.0, 24.0) if hazard == "closing_fast" else rng.uniform(-4.0, 4.0),
        on_road=on_road,
        traffic_light=rng.choice(LIGHTS) if rng.random() < 0.18 else None,
        siren=siren,
        horn=rng.random() < 0.06 * quiet,
        bell=kind == "cyclist" and not siren and rng.random() < (0.95 if natural else 0.85),
        beep=kind == "truck" and not siren and rng.random() < (0.08 if natural else 0.35),
        engine=engine_of(rng, kind),
        blocked_exit=blocked,
        layout=rng.randrange(LAYOUTS),
        scroll_m=rng.choice(_PLACES_M),
        far=_far(rng),
    )


def _pick_object(rng: random.Random, hazard: str, natural: bool) -> str:
    if hazard == "emergency_in_view":
        return "ambulance"
    if hazard == "vulnerable_ahead":
        return rng.choice(VULNERABLE)
    allowed = [kind for kind in OBJECTS if hazard != "siren_unseen" or kind != "ambulance"]
    if natural:
        return rng.choices(allowed, [_NATURAL_OBJECTS[OBJECTS.index(kind)] for kind in allowed])[0]
    return rng.choice(allowed)


def _pick_on_road(rng: random.Random, hazard: str, kind: str) -> bool:
    if kind not in VULNERABLE:
        return kind != "none"
    if hazard == "closing_fast":
        return rng.random() < 0.5
    return hazard == "vulnerable_ahead"


def _pick_exit(rng: random.Random, hazard: str) -> str | None:
    if hazard.startswith("exit_"):
        return hazard.split("_")[1]
    if hazard != "clear" and rng.random() < 0.15:
        return rng.choice(("left", "right"))
    return None


def engine_of(rng: random.Random, kind: str) -> str:
    """What is heard of motors. An ambulance sounds like any other scene, so that the ear alone cannot place a siren."""
    if kind == "ambulance":
        return rng.choice(("light", "heavy", "heavy", "none", "none", "none"))
    return {"car": "light", "truck": "heavy", "bus": "heavy"}.get(kind, "none")


def place(rng: random.Random, kind: str, on_road: bool) -> tuple[str, float, float, float]:
    """Side, lateral position (m), distance (m) and heading (radians, positive turns to the right) of a main object."""
    near, far = _RANGES[kind]
    distance = rng.uniform(near, far)
    if kind in VULNERABLE and not on_road:
        side = rng.choice(("left", "right"))
        sign = -1.0 if side == "left" else 1.0
        return side, sign * rng.uniform(2.95, 3.1), rng.uniform(12.0, 14.5), sign * -0.9
    side = rng.choice(SIDES)
    sign = float(SIDES.index(side) - 1)
    heading = -sign if sign else rng.choice((-1.0, 1.0))
    if kind in VULNERABLE:
        across = min(rng.uniform(0.18, 0.30) * distance / FOCAL, ROAD_HALF_M - 0.35)
        return side, sign * across + rng.uniform(-0.08, 0.08), distance, heading * 0.9
    lateral = sign * min(max(0.26 * distance / FOCAL, 1.45), 1.8) + rng.uniform(-0.08, 0.08)
    return side, lateral, distance, heading * rng.uniform(0.24, 0.36)


def _far(rng: random.Random) -> tuple[Far, ...]:
    if rng.random() < 0.5:
        return ()
    lateral = rng.choice((-1.5, 1.5))
    return (Far("car", rng.choice(COLOURS), lateral, rng.uniform(45.0, 70.0)),)


def facts(scene: Scene, modality: str) -> dict[str, str]:
    """What a perfect observer of one modality alone can say; every key can be checked with :func:`holds`.

    `image`, `audio`, `radar`; `caption` is what a full caption says; `text` adds a dispatcher's note on exits, if any.
    """
    if modality == "image":
        found = {"weather": scene.weather, "object": scene.object, "side": scene.side}
        extra = {"colour": scene.colour, "path": scene.path, "traffic_light": scene.traffic_light}
    elif modality == "audio":
        events = {"siren": scene.siren, "horn": scene.horn, "beep": scene.beep, "rain": scene.weather == "rain"}
        found = {"source": scene.source, **{name: "yes" if on else "no" for name, on in events.items()}}
        extra = {}
    elif modality == "radar":
        found = {"target": scene.target, "closing": "fast" if scene.closing_mps >= FAST_MPS else "slow"}
        extra = {}
    elif modality in ("text", "caption"):
        found = {"weather": scene.weather, "object": scene.object, "side": scene.side}
        extra = {"path": scene.path, "blocked_exit": scene.blocked_exit if modality == "text" else None}
    else:
        raise ValueError(f"modality is {modality!r}, expected image, text, caption, audio or radar")
    if scene.object == "none":
        found.pop("side", None)
    return found | {name: value for name, value in extra.items() if value is not None}


def truth(scene: Scene) -> dict[str, str]:
    """Everything that can be said of a scene, keyed as in :func:`facts`; what it lacks reads `none`."""
    known = {
        "weather": scene.weather,
        "object": scene.object,
        "side": "none" if scene.object == "none" else scene.side,
        "colour": scene.colour or "none",
        "path": scene.path or "none",
        "traffic_light": scene.traffic_light or "none",
        "blocked_exit": scene.blocked_exit or "none",
        "hazard": scene.hazard,
    }
    return known | facts(scene, "audio") | facts(scene, "radar")


def holds(query: Mapping[str, str], scene: Scene) -> bool:
    """Whether everything the query says is true of the scene. An unknown key raises KeyError."""
    known = truth(scene)
    return all(known[name] == value for name, value in query.items())
