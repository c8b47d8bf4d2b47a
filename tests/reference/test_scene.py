"""The truth: priorities, facts, balance, determinism."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from chiasm.reference.scene import (
    COLOURED,
    COLOURS,
    FAST_MPS,
    FOCAL,
    HAZARDS,
    OBJECTS,
    ROAD_HALF_M,
    VULNERABLE,
    WEATHERS,
    Scene,
    facts,
    holds,
    sample_scene,
    truth,
)

MODALITIES = ("image", "audio", "radar", "text", "caption")
SCENES = [sample_scene(seed) for seed in range(600)] + [sample_scene(s, balance="natural") for s in range(600)]


def quiet(**changes: object) -> Scene:
    """A scene in which nothing is the matter, but for the changes."""
    base = next(s for s in SCENES if s.hazard == "clear" and s.object == "car")
    return replace(base, **changes)  # type: ignore[arg-type]


def test_same_seed_same_scene_and_seeds_differ() -> None:
    assert [sample_scene(seed) for seed in range(50)] == SCENES[:50]
    assert len({replace(scene, seed=0) for scene in SCENES}) > 1150


def test_unknown_balance_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of hazard, natural"):
        sample_scene(0, balance="even")


@pytest.mark.parametrize(
    ("changes", "hazard"),
    [
        ({}, "clear"),
        ({"object": "ambulance", "colour": None}, "clear"),
        ({"object": "pedestrian", "colour": None, "on_road": False}, "clear"),
        ({"blocked_exit": "left"}, "exit_left_blocked"),
        ({"blocked_exit": "right"}, "exit_right_blocked"),
        ({"blocked_exit": "right", "siren": True}, "siren_unseen"),
        ({"blocked_exit": "right", "siren": True, "object": "ambulance"}, "emergency_in_view"),
        ({"siren": True, "object": "cyclist", "on_road": True}, "vulnerable_ahead"),
        ({"siren": True, "object": "cyclist", "on_road": False}, "siren_unseen"),
        ({"siren": True, "object": "cyclist", "on_road": True, "closing_mps": 15.0}, "closing_fast"),
        ({"closing_mps": -15.0}, "clear"),
    ],
)
def test_the_most_urgent_hazard_wins(changes: dict[str, object], hazard: str) -> None:
    assert quiet(**changes).hazard == hazard


def test_balanced_scenes_have_every_hazard_equally_often() -> None:
    counts = Counter(sample_scene(seed).hazard for seed in range(2100))
    assert set(counts) == set(HAZARDS)
    assert all(220 < counts[name] < 380 for name in HAZARDS), counts


def test_natural_scenes_are_mostly_clear_and_seldom_loud() -> None:
    natural = SCENES[600:]
    assert 0.5 < sum(scene.hazard == "clear" for scene in natural) / 600 < 0.75
    assert sum(scene.siren for scene in natural) / 600 < 0.06


def test_every_scene_is_consistent() -> None:
    for scene in SCENES:
        assert scene.weather in WEATHERS
        assert (scene.colour in COLOURS) == (scene.object in COLOURED)
        assert scene.closing_mps >= 12.0 or abs(scene.closing_mps) <= 4.0
        assert not (scene.bell and scene.object != "cyclist")
        assert not (scene.beep and scene.object != "truck")
        if scene.object in VULNERABLE:
            assert scene.on_road == (abs(scene.lateral_m) < ROAD_HALF_M)
        if scene.object != "none":
            screen = scene.lateral_m * FOCAL / scene.distance_m
            side = "left" if screen < -0.1 else "right" if screen > 0.1 else "centre"
            assert (side, abs(screen) < 0.46) == (scene.side, True)


def test_facts_of_every_sense_hold() -> None:
    for scene in SCENES:
        for modality in MODALITIES:
            assert holds(facts(scene, modality), scene)


def test_a_false_statement_does_not_hold() -> None:
    scene = quiet()
    assert not holds({"object": "bus"}, scene)
    assert not holds({"object": "car", "siren": "yes"}, scene)
    with pytest.raises(KeyError):
        holds({"smell": "smoke"}, scene)


def test_no_sense_knows_what_is_not_its_own() -> None:
    still = quiet(closing_mps=0.0)
    fast, loud = replace(still, closing_mps=20.0), replace(still, siren=True)
    noted = replace(still, blocked_exit="left")
    assert facts(fast, "image") == facts(still, "image")
    assert facts(fast, "audio") == facts(still, "audio")
    assert facts(loud, "image") == facts(still, "image")
    assert facts(loud, "audio") == facts(replace(loud, object="ambulance"), "audio")
    assert facts(noted, "caption") == facts(still, "caption")
    assert facts(noted, "text")["blocked_exit"] == "left"
    with pytest.raises(ValueError, match="expected image, text, caption, audio or radar"):
        facts(still, "smell")


def test_a_siren_says_nothing_about_where_it_is() -> None:
    """Given a siren, motors sound alike whether or not the ambulance is in view."""
    share: dict[str, Counter[str]] = {"siren_unseen": Counter(), "emergency_in_view": Counter()}
    for scene in (sample_scene(seed) for seed in range(9000)):
        if scene.hazard in share:
            share[scene.hazard][scene.source] += 1
    for source in ("none", "light", "heavy"):
        seen, unseen = (share[name][source] / share[name].total() for name in ("emergency_in_view", "siren_unseen"))
        assert abs(seen - unseen) < 0.07, (source, seen, unseen)


def test_truth_names_everything_once() -> None:
    known = truth(quiet())
    assert known["object"] in OBJECTS
    assert known["closing"] == ("fast" if quiet().closing_mps >= FAST_MPS else "slow")
    empty = next(scene for scene in SCENES if scene.object == "none")
    assert truth(empty)["side"] == "none"
    assert "side" not in facts(empty, "image")
