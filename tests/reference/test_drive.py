"""A drive is continuous, repeatable, and its senses agree with its truth."""

from __future__ import annotations

import numpy as np
import pytest
from chiasm.reference.drive import RADAR_HZ, Drive
from chiasm.reference.radar import BIN_M
from chiasm.reference.scene import HAZARDS, Scene, facts, holds
from chiasm.reference.sound import SAMPLE_RATE, render_sound
from numpy.typing import NDArray

SEEDS = range(6)


def test_same_seed_same_drive() -> None:
    one, two = Drive(3, 4.0), Drive(3, 4.0)
    assert one.sound().tobytes() == two.sound().tobytes()
    assert one.radar_rows()[1].tobytes() == two.radar_rows()[1].tobytes()
    assert one.texts() == two.texts()
    assert one.frame(2.0, (36, 64)).tobytes() == two.frame(2.0, (36, 64)).tobytes()
    assert Drive(4, 4.0).sound().tobytes() != one.sound().tobytes()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_an_empty_drive_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="expected more than 0"):
        Drive(0, seconds)


def test_shapes_for_odd_lengths() -> None:
    for seconds in (0.3, 1.0, 7.77):
        drive = Drive(1, seconds)
        assert drive.sound().shape == (round(seconds * SAMPLE_RATE),)
        times, rows = drive.radar_rows()
        assert rows.shape == (times.size, 32)
        assert np.allclose(np.diff(times), 1.0 / RADAR_HZ)
        assert drive.frame(seconds, (48, 80)).shape == (48, 80, 3)
        texts = drive.texts()
        assert [time for time, _ in texts] == sorted(time for time, _ in texts)
        assert all(0.0 <= time < seconds for time, _ in texts)


@pytest.mark.parametrize("seed", SEEDS)
def test_positions_are_continuous(seed: int) -> None:
    """Whatever stays the main object moves by less than its speed allows; the road never jumps."""
    drive, step = Drive(seed, 30.0), 0.04
    before = drive.scene_at(0.0)
    for index in range(1, round(30.0 / step)):
        now = drive.scene_at(index * step)
        assert 0.0 <= now.scroll_m - before.scroll_m < 0.5
        if (now.object, now.seed) == (before.object, before.seed) and now.object != "none":
            assert abs(now.distance_m - before.distance_m) < 25.0 * step
            assert abs(now.lateral_m - before.lateral_m) < 8.0 * step
        before = now


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_vanishes_from_the_middle_of_the_picture(seed: int) -> None:
    """An object that stops being the main one is drawn on, unless it is far away or out at the side."""
    drive, step = Drive(seed, 30.0), 0.04
    before = drive.scene_at(0.0)
    for index in range(1, round(30.0 / step)):
        now = drive.scene_at(index * step)
        if before.object != "none" and now.object != before.object:
            still = [far for far in now.far if far.kind == before.object]
            gone = before.distance_m > 50.0 or before.distance_m < 3.2
            assert still or gone, (index * step, before)
        before = now


@pytest.mark.parametrize("seed", SEEDS)
def test_sound_has_no_click(seed: int) -> None:
    """No step between samples is larger than in the sounds that the track is joined from."""
    drive = Drive(seed, 12.0)
    track = drive.sound()
    assert np.abs(track).max() <= 1.0
    steps = np.abs(np.diff(track))
    for second in range(12):
        at = [drive.scene_at(second + offset) for offset in np.arange(-0.25, 1.5, 0.25)]
        allowed = max(float(np.abs(np.diff(render_sound(s, 1.75, max(second - 0.25, 0.0)))).max()) for s in at)
        assert steps[second * SAMPLE_RATE : (second + 1) * SAMPLE_RATE].max() <= allowed * 1.02 + 0.005


def test_sounds_fade_into_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one moment is silent and the next is loud, the track rises over a quarter second."""

    def level(scene: Scene, seconds: float, time_s: float) -> NDArray[np.float32]:
        return np.full(round(seconds * SAMPLE_RATE), 1.0 if scene.siren else 0.0, np.float32)

    monkeypatch.setattr("chiasm.reference.drive.render_sound", level)
    drive = Drive(2, 60.0)
    track = drive.sound()
    assert track.min() == 0.0
    assert track.max() == pytest.approx(1.0, abs=1e-6)
    assert np.abs(np.diff(track)).max() < 0.0005
    for time in np.arange(0.5, 59.0, 0.25):
        around = {drive.scene_at(time + offset).siren for offset in (-0.26, -0.1, 0.0, 0.1, 0.26)}
        if len(around) == 1:
            assert track[round(time * SAMPLE_RATE)] == pytest.approx(float(around.pop()), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_radar_follows_the_main_object(seed: int) -> None:
    drive = Drive(seed, 20.0)
    times, rows = drive.radar_rows()
    seen = 0
    for time, row in zip(times, rows, strict=True):
        scene = drive.scene_at(float(time))
        if scene.object in ("car", "truck", "bus", "ambulance"):
            seen += 1
            assert abs((row.argmax() + 0.5) * BIN_M - scene.distance_m) <= 1.5 * BIN_M
    assert seen > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_a_blocked_exit_is_announced_and_texts_are_true_of_exits(seed: int) -> None:
    drive = Drive(seed, 60.0)
    last: dict[float, str] = dict(drive.texts())
    for time, line in drive.texts():
        side = drive.scene_at(time).blocked_exit
        noted = "exit" in line and "exits" not in line
        assert noted == (side is not None), (time, line)
        assert side is None or side in line
    for slot in drive.slots:
        if slot.blocked_exit is not None and slot.start < 59.0:
            assert any(0.0 <= time - slot.start < 0.011 for time in last)


def test_a_minute_meets_every_hazard_and_ten_seconds_at_least_two() -> None:
    met = {Drive(2, 90.0).hazard_at(t) for t in np.arange(0.0, 90.0, 0.1)}
    met |= {Drive(3, 90.0).hazard_at(t) for t in np.arange(0.0, 90.0, 0.1)}
    assert met == set(HAZARDS)
    for seed in SEEDS:
        drive = Drive(seed, 10.0)
        assert len({drive.hazard_at(t) for t in np.arange(0.0, 10.0, 0.1)}) >= 3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_siren_comes_before_its_ambulance(seed: int) -> None:
    drive = Drive(seed, 60.0)
    for slot in drive.slots:
        if slot.kind == "emergency" and slot.end < 60.0:
            hazards = [drive.hazard_at(t) for t in np.arange(slot.start + 0.05, slot.end, 0.05)]
            assert hazards[0] == "siren_unseen"
            assert hazards[-1] == "emergency_in_view"


def test_facts_hold_all_along() -> None:
    drive = Drive(8, 40.0)
    for time in np.arange(0.0, 40.0, 0.2):
        scene = drive.scene_at(float(time))
        for modality in ("image", "audio", "radar", "text"):
            assert holds(facts(scene, modality), scene)


def test_weather_blends_in_the_picture() -> None:
    drive = Drive(0, 120.0)
    changes = [t for t in np.arange(0.0, 118.0, 0.1) if 0.0 < drive.weather_at(t)[2] < 1.0]
    assert changes
    for time in changes[::7]:
        a, b = (drive.frame(time + d, (36, 64)).astype(int) for d in (0.0, 0.04))
        assert abs(a.mean() - b.mean()) < 12.0
