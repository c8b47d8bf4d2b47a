"""What the microphone hears: motors, tyres, rain, bells, beeps, horns and sirens.

Every part is a function of absolute time (`time_s`), so neighbouring renders of the same scene join without a click;
noise is a slice of a seamless loop. Sound: float32 in [-1, 1] at `SAMPLE_RATE`.
"""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .scene import Scene

SAMPLE_RATE = 16000
LOOP_SECONDS = 8
_TAU = 2.0 * np.pi
_Partials = tuple[tuple[int, float], ...]
_LIGHT: _Partials = ((1, 0.5), (2, 1.0), (3, 0.6), (4, 0.45), (6, 0.3), (8, 0.2))
_HEAVY: _Partials = ((1, 1.0), (2, 0.8), (3, 0.9), (4, 0.5), (5, 0.5), (6, 0.35), (8, 0.25))


def render_sound(scene: Scene, seconds: float = 1.0, time_s: float = 0.0) -> NDArray[np.float32]:
    """Mono sound of `scene` from `time_s` on, shape (round(seconds · 16000),), float32 in [-1, 1]."""
    count = round(seconds * SAMPLE_RATE)
    first = round(time_s * SAMPLE_RATE)
    rng = random.Random(scene.seed * 8 + 3)
    t = (np.arange(first, first + count) / SAMPLE_RATE + rng.uniform(0.0, 6.0)).astype(np.float64)
    loud = rng.uniform(0.75, 1.2)
    wave = _bed(first, count, rng.randrange(LOOP_SECONDS * SAMPLE_RATE), "tyre") * np.float32(rng.uniform(0.02, 0.045))
    hiss, pitch = rng.uniform(0.05, 0.09), rng.random()
    if scene.weather == "rain":
        wave += _bed(first, count, rng.randrange(LOOP_SECONDS * SAMPLE_RATE), "rain") * np.float32(hiss)
    wave += _engine(scene, t, pitch)
    for on, voice, low, high in (
        (scene.bell, _bell, 0.18, 0.28),
        (scene.beep, _beep, 0.14, 0.22),
        (scene.horn, _horn, 0.16, 0.24),
        (scene.siren, _siren, 0.10, 0.24),
    ):
        level, pick = rng.uniform(low, high), rng.random()
        if on:
            wave += (level * voice(t, pick)).astype(np.float32)
    result: NDArray[np.float32] = np.clip(wave * np.float32(loud), -1.0, 1.0)
    return result


@lru_cache(maxsize=4)
def _loop(name: str) -> NDArray[np.float32]:
    """A seamless noise loop, shaped in the frequency domain, unit standard deviation."""
    size = LOOP_SECONDS * SAMPLE_RATE
    noise = np.random.default_rng(sum(name.encode())).standard_normal(size)
    hertz = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
    low, high = 1.0 / (1.0 + (hertz / 350.0) ** 1.5), (hertz / 2500.0) ** 2 / (1.0 + (hertz / 2500.0) ** 2)
    shape = low if name == "tyre" else high
    wave = np.fft.irfft(np.fft.rfft(noise) * shape, size)
    return np.asarray(wave / wave.std(), np.float32)


def _bed(first: int, count: int, offset: int, name: str) -> NDArray[np.float32]:
    loop = _loop(name)
    start = (first + offset) % loop.size
    if start + count <= loop.size:
        return np.array(loop[start : start + count], np.float32)
    return np.asarray(np.take(loop, np.arange(start, start + count), mode="wrap"), np.float32)


def _engine(scene: Scene, t: NDArray[np.float64], pitch: float) -> NDArray[np.float32]:
    """Harmonics of the firing frequency: light near 110 Hz, heavy near 43 Hz and throbbing, else our own faint hum."""
    partials: _Partials = ((1, 1.0),)
    if scene.engine == "light":
        base, partials, level = 95.0 + 35.0 * pitch, _LIGHT, 0.06
    elif scene.engine == "heavy":
        base, partials, level = 36.0 + 14.0 * pitch, _HEAVY, 0.075
    else:
        base, level = 205.0 + 20.0 * pitch, 0.008
    phase = _TAU * base * t
    wave = np.zeros(t.size, np.float32)
    for index, (order, gain) in enumerate(partials):
        wave += np.float32(gain) * np.sin(np.remainder(order * phase + index, _TAU).astype(np.float32))
    if scene.engine == "heavy":
        wave *= (1.0 + 0.35 * np.sin(_TAU * (base / 6.0) * t)).astype(np.float32)
    return np.asarray(wave * np.float32(level), np.float32)


def _bell(t: NDArray[np.float64], pick: float) -> NDArray[np.float64]:
    """Two strokes every 0.9 s, inharmonic and dying away."""
    base, since = 2100.0 + 300.0 * pick, np.mod(t, 0.9)
    wave = np.zeros_like(t)
    for start in (0.0, 0.16):
        age = np.mod(since - start, 0.9)
        rise = np.minimum(age / 0.002, 1.0) * np.minimum((0.9 - age) / 0.01, 1.0)
        wave += rise * np.exp(-age * 9.0) * (np.sin(_TAU * base * age) + 0.5 * np.sin(_TAU * base * 1.51 * age))
    return wave


def _beep(t: NDArray[np.float64], pick: float) -> NDArray[np.float64]:
    """A reversing beeper: half a second on, half a second off."""
    gate = np.clip(np.sin(_TAU * t) * 60.0, 0.0, 1.0)
    return gate * np.sin(_TAU * (1180.0 + 90.0 * pick) * t)


def _horn(t: NDArray[np.float64], pick: float) -> NDArray[np.float64]:
    """A two-note car horn, one blast of 0.45 s every 0.8 s."""
    gate = np.clip((np.sin(_TAU * t / 0.8) + 0.2) * 30.0, 0.0, 1.0)
    low = 390.0 + 30.0 * pick
    tones = sum(np.sin(_TAU * low * ratio * k * t) / k for ratio in (1.0, 1.26) for k in (1, 2, 3, 4))
    return np.asarray(gate * 0.5 * np.asarray(tones), np.float64)


def _siren(t: NDArray[np.float64], pick: float) -> NDArray[np.float64]:
    """A two-tone horn or a wail, shifted by Doppler; where the ambulance is makes no difference to its sound."""
    shift = 0.94 + 0.12 * ((pick * 7.0) % 1.0)
    s = t * shift
    if pick < 0.5:
        low, high, half = 445.0, 590.0, 0.45
        within = np.mod(s, 2 * half)
        started = np.where(within < half, low * within, low * half + high * (within - half))
        cycles = np.floor(s / (2 * half)) * half * (low + high) + started
    else:
        rate = 0.6 + 0.5 * pick
        cycles = 900.0 * s - 330.0 / (_TAU * rate) * np.cos(_TAU * rate * s)
    tones = np.sin(_TAU * cycles) + 0.4 * np.sin(2 * _TAU * cycles) + 0.25 * np.sin(3 * _TAU * cycles)
    return np.asarray(tones, np.float64)
