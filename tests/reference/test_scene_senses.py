"""The four renders: shapes, ranges, the same bytes again, and that each shows what it should."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from chiasm.reference.draw import render_image
from chiasm.reference.radar import BIN_M, render_radar
from chiasm.reference.scene import OBJECTS, WEATHERS, Scene, sample_scene
from chiasm.reference.sound import SAMPLE_RATE, render_sound
from chiasm.reference.wording import caption, text_for
from hypothesis import given, settings
from hypothesis import strategies as st

SCENES = [sample_scene(seed) for seed in range(300)]


def one(**wanted: object) -> Scene:
    """The first scene with these attributes."""
    return next(s for s in SCENES if all(getattr(s, name) == value for name, value in wanted.items()))


@given(seed=st.integers(0, 2**40), height=st.integers(24, 90), width=st.integers(24, 160), time=st.floats(0, 500))
@settings(max_examples=25, deadline=None)
def test_any_scene_renders_at_any_size_and_time(seed: int, height: int, width: int, time: float) -> None:
    scene = sample_scene(seed)
    picture = render_image(scene, (height, width), time)
    assert (picture.shape, picture.dtype) == ((height, width, 3), np.uint8)
    assert picture.std() > 5.0
    wave = render_sound(scene, 0.25, time)
    assert (wave.shape, wave.dtype) == ((SAMPLE_RATE // 4,), np.float32)
    rows = render_radar(scene, 12, 20, time_s=time)
    assert (rows.shape, rows.dtype) == ((12, 20), np.float32)
    assert 0.0 <= rows.min() <= rows.max() <= 1.0


def test_same_scene_same_bytes() -> None:
    for scene in SCENES[:20]:
        for render in (render_image, render_sound, render_radar):
            assert render(scene).tobytes() == render(scene).tobytes()
        assert text_for(scene, 5) == text_for(scene, 5)


def test_sound_stays_in_range_and_is_seldom_clipped() -> None:
    for scene in SCENES:
        wave = render_sound(scene)
        assert np.abs(wave).max() <= 1.0
        assert np.mean(np.abs(wave) >= 1.0) < 0.002


def test_neighbouring_sounds_join() -> None:
    """Two quarter seconds are the half second: nothing depends on where a render begins."""
    for scene in SCENES[:60]:
        whole = render_sound(scene, 0.5, 3.0)
        halves = np.concatenate([render_sound(scene, 0.25, 3.0), render_sound(scene, 0.25, 3.25)])
        np.testing.assert_allclose(whole, halves, atol=1e-6)


def _band(wave: np.ndarray, low: float, high: float) -> float:
    """Energy between two frequencies."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(wave.size, 1.0 / SAMPLE_RATE)
    return float(power[(hertz >= low) & (hertz < high)].sum())


def test_rain_beep_and_siren_are_heard() -> None:
    dry = replace(one(weather="clear", engine="none", siren=False, bell=False, horn=False), beep=False)
    assert _band(render_sound(replace(dry, weather="rain")), 4000, 8000) > 10 * _band(render_sound(dry), 4000, 8000)
    assert _band(render_sound(replace(dry, beep=True)), 1150, 1300) > 10 * _band(render_sound(dry), 1150, 1300)
    assert _band(render_sound(replace(dry, siren=True)), 400, 1300) > 10 * _band(render_sound(dry), 400, 1300)


def test_what_is_seen_does_not_change_the_siren() -> None:
    scene = one(hazard="emergency_in_view")
    unseen = replace(scene, object="none")
    np.testing.assert_array_equal(render_sound(scene), render_sound(unseen))


def test_only_the_radar_shows_a_fast_approach() -> None:
    slow = one(object="car", hazard="clear")
    fast = replace(slow, closing_mps=18.0)
    np.testing.assert_array_equal(render_image(slow), render_image(fast))
    np.testing.assert_array_equal(render_sound(slow), render_sound(fast))
    assert np.abs(render_radar(slow) - render_radar(fast)).max() > 0.3


@pytest.mark.parametrize("speed", [-4.0, 0.0, 4.0, 12.0, 18.0])
def test_the_slope_of_the_echo_is_the_closing_speed(speed: float) -> None:
    scene = replace(one(object="truck"), closing_mps=speed, distance_m=12.0)
    rows = render_radar(scene, 32, 32)
    ranges = (rows.argmax(axis=1) + 0.5) * BIN_M
    slope = -np.polyfit(np.arange(32) / 20.0, ranges, 1)[0]
    assert slope == pytest.approx(speed, abs=1.0)


def test_an_empty_road_has_no_strong_echo() -> None:
    assert render_radar(replace(one(object="none"), closing_mps=0.0)).max() < 0.5


def test_a_wide_frame_holds_the_square_one() -> None:
    """Centre crop and shrink of 16:9 is the square render, but for the thickness of the thinnest lines."""
    for scene in SCENES[:40]:
        square = render_image(scene).astype(np.float64)
        wide = render_image(scene, (360, 640))[:, 140:500]
        small = cv2.resize(wide, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(square - small).mean() < 7.0
        other = render_image(sample_scene(scene.seed + 1000)).astype(np.float64)
        assert np.abs(square - small).mean() < np.abs(other - small).mean()


@pytest.mark.parametrize("weather", WEATHERS)
def test_every_object_leaves_its_mark_in_every_weather(weather: str) -> None:
    for kind in OBJECTS[:-1]:
        scene = replace(one(object=kind), weather=weather, far=())
        changed = np.abs(render_image(scene).astype(int) - render_image(replace(scene, object="none"))).max(axis=2) > 24
        rows, columns = np.nonzero(changed)
        assert np.ptp(rows) >= 9, (kind, weather)
        assert changed.sum() > 50, (kind, weather)
        if scene.lateral_m * 1.7 / scene.distance_m < -0.2:
            assert columns.mean() < 32


def test_weathers_look_different() -> None:
    scene = one(object="car")
    level = {name: render_image(replace(scene, weather=name)).mean() for name in WEATHERS}
    assert level["night"] < level["rain"] < level["fog"]
    assert len({round(value) for value in level.values()}) == 4


def test_captions_name_weather_object_and_side() -> None:
    words = {"clear": ("clear", "sun", "blue sky"), "rain": ("rain", "wet"), "fog": ("fog", "mist")}
    words["night"] = ("night", "dark")
    for scene in SCENES:
        for seed in range(3):
            line = caption(scene, seed)
            assert any(word in line for word in words[scene.weather]), line
            if scene.object != "none":
                side = ("centre", "ahead", "middle") if scene.side == "centre" else (scene.side,)
                assert any(word in line for word in side), line
            others = [name for name in ("car", "truck", "bus", "ambulance") if name != scene.object]
            assert not any(f" {name} " in f" {line} " for name in others), line


def test_texts_never_lie_about_exits() -> None:
    for scene in SCENES:
        for seed in range(12):
            line = text_for(scene, seed)
            noted = "exit" in line and not any(free in line for free in ("all exits are open", "exits are free"))
            assert noted == (scene.blocked_exit is not None), line
            if noted:
                assert str(scene.blocked_exit) in line
            if scene.blocked_exit is not None:
                assert "open" not in line
                assert "free" not in line.replace("free road", "").replace("channel two is free", "")


def test_texts_are_varied() -> None:
    lines = {text_for(scene, seed) for scene in SCENES for seed in range(3)}
    assert len(lines) > 400
