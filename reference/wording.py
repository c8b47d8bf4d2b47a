"""Words about a scene: truthful captions, dispatcher's notes, and the chatter that is of no use.

A caption always says weather, main object and side. `text_for` is what the radio or the screen really carries: about
half of its captions are short, some lines are useless, some are false; a note on a blocked exit is always there when
one is blocked, and never when none is.
"""

from __future__ import annotations

import random

from .scene import OBJECTS, Scene

_WEATHER = {
    "clear": ("on a clear day", "in sunshine", "in clear weather", "under a blue sky"),
    "rain": ("in the rain", "in rain", "on a rainy day", "in wet weather"),
    "fog": ("in fog", "in thick fog", "on a foggy day", "in the mist"),
    "night": ("at night", "in the dark", "by night", "after dark"),
}
_OBJECT = {
    "car": ("car", "car", "passenger car"),
    "truck": ("truck", "lorry", "goods truck"),
    "bus": ("bus", "city bus", "bus"),
    "pedestrian": ("pedestrian", "person on foot", "walker"),
    "cyclist": ("cyclist", "person on a bicycle", "bike rider"),
    "ambulance": ("ambulance", "ambulance", "rescue vehicle"),
}
_SIDE = {
    "left": ("on the left", "to the left", "on the left side"),
    "centre": ("in the centre", "straight ahead", "in the middle"),
    "right": ("on the right", "to the right", "on the right side"),
}
_PATH = {
    "road": ("on the road", "in our path", "in the roadway"),
    "pavement": ("on the pavement", "on the sidewalk", "on the footpath"),
}
_NOTHING = ("an empty road", "nothing ahead", "a free road", "no one on the road")
_FRAMES = (
    "{what} {side} {weather}",
    "{weather}: {what} {side}",
    "{weather}, {what} {side}",
    "{side} {what}, {weather}",
    "there is {what} {side} {weather}",
    "camera sees {what} {side}, {weather}",
)
_EMPTY_FRAMES = ("{what} {weather}", "{weather}: {what}", "{weather}, {what}", "camera sees {what} {weather}")
_BLOCKED = (
    "{side} exit is blocked",
    "exit on the {side} blocked",
    "do not use the {side} exit",
    "the exit to the {side} is closed",
    "dispatch: {side} exit closed",
    "{side} hand exit shut, keep clear",
)
_USELESS = (
    "radio check, all units",
    "all units, standard channel",
    "good morning from dispatch",
    "battery at eighty percent",
    "next shift starts at six",
    "please confirm your position",
    "testing, one two three",
    "thank you, over and out",
    "software update tonight",
    "have a safe trip",
    "channel two is free",
    "no news from dispatch",
)
_FALSE = {
    "car": ("car ahead", "passenger car stopped ahead"),
    "truck": ("truck ahead", "lorry stopped ahead"),
    "bus": ("bus ahead", "bus at the stop ahead"),
    "pedestrian": ("pedestrian crossing ahead", "someone is walking on the road"),
    "cyclist": ("cyclist on the road ahead", "bike rider ahead"),
    "ambulance": ("ambulance ahead", "ambulance coming towards you"),
}


def caption(scene: Scene, seed: int) -> str:
    """A truthful sentence with weather, object and side, often the colour, and the traffic light if there is one."""
    rng = random.Random(f"{scene.seed}/{seed}/caption")
    weather = rng.choice(_WEATHER[scene.weather])
    if scene.object == "none":
        line = rng.choice(_EMPTY_FRAMES).format(what=rng.choice(_NOTHING), weather=weather)
    else:
        side = rng.choice(_SIDE[scene.side])
        line = rng.choice(_FRAMES).format(what=_what(scene, rng, 0.85), side=side, weather=weather)
    if scene.traffic_light is not None and rng.random() < 0.8:
        line += rng.choice((", {} light", ", the light is {}", ", traffic light {}")).format(scene.traffic_light)
    return line


def _what(scene: Scene, rng: random.Random, detail: float) -> str:
    """The main object in words, with its colour, or where it stands, `detail` of the time."""
    name = rng.choice(_OBJECT[scene.object])
    words = f"{scene.colour} {name}" if scene.colour is not None and rng.random() < detail else name
    words = ("an " if words[0] in "aeiou" else "a ") + words
    if scene.path is not None and rng.random() < detail:
        words += " " + rng.choice(_PATH[scene.path])
    return words


def _short(scene: Scene, rng: random.Random) -> str:
    """A true fragment that leaves something out."""
    weather = rng.choice(_WEATHER[scene.weather])
    if scene.object == "none":
        return rng.choice((weather, rng.choice(_NOTHING)))
    side, what = rng.choice(_SIDE[scene.side]), _what(scene, rng, 0.4)
    return rng.choice((weather, what, f"{what} {side}", f"{what} {weather}", f"something {side}"))


def _false(scene: Scene, rng: random.Random) -> str:
    """Something that camera or microphone can refute."""
    known = {scene.object, "none"} | {far.kind for far in scene.far}
    kinds = [kind for kind in OBJECTS if kind not in known]
    if not scene.siren and rng.random() < 0.2:
        return rng.choice(("siren heard near you", "you should hear a siren now"))
    return rng.choice(_FALSE[rng.choice(kinds)])


def note(scene: Scene, rng: random.Random) -> str:
    """The dispatcher's note on the blocked exit; empty where none is blocked."""
    if scene.blocked_exit is None:
        return ""
    return rng.choice(_BLOCKED).format(side=scene.blocked_exit)


def text_for(scene: Scene, seed: int) -> str:
    """What the radio carries: caption, fragment, chatter or falsehood, with a true note where an exit is blocked."""
    rng = random.Random(f"{scene.seed}/{seed}/text")
    draw = rng.random()
    exit_note = note(scene, rng)
    if draw < 0.275:
        line = caption(scene, rng.getrandbits(30))
    elif draw < 0.55:
        line = _short(scene, rng)
    elif draw < 0.70:
        line = rng.choice(_USELESS)
    elif draw < 0.80:
        line = _false(scene, rng)
    else:
        return exit_note or rng.choice(("all exits are open", "no notes", "nothing to report", "exits are free"))
    if not exit_note:
        return line
    return rng.choice((f"{exit_note}. {line}", f"{line}. {exit_note}")) if rng.random() < 0.6 else exit_note
