"""Small media made on the spot: a video with a sound track, and modalities to read them with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.runtime.manifest import AudioModality, ImageModality, SeriesModality, TextModality

RATE = 16000
FPS = 10
FRAMES = 12


@pytest.fixture(scope="session")
def image() -> ImageModality:
    return ImageModality(
        name="image", part="image", rate_hz=30.0, max_age_s=0.5, tokens=(16, 128), height=64, width=64,
        resize="shortest-edge", filter="area", crop="centre", scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3,
    )  # fmt: skip


@pytest.fixture(scope="session")
def audio() -> AudioModality:
    return AudioModality(
        name="audio", part="audio", rate_hz=10.0, max_age_s=1.0, tokens=(8, 128), sample_rate=RATE, samples=RATE
    )


@pytest.fixture(scope="session")
def text() -> TextModality:
    return TextModality(
        name="text", part="text", rate_hz=0.5, max_age_s=None, tokens=(8, 128), tokenizer="t.json", length=32, pad_id=0
    )


@pytest.fixture(scope="session")
def radar() -> SeriesModality:
    return SeriesModality(
        name="radar", part="radar", rate_hz=20.0, max_age_s=0.5, tokens=(8, 128), frames=32, channels=4,
        sample_rate=20.0, mean=0.0, std=1.0,
    )  # fmt: skip


def shade(index: int) -> int:
    """The grey level of a frame of the test video."""
    return 20 + 18 * index


def write_video(path: Path, *, sound_rate: int | None = 44100, frames: int = FRAMES) -> Path:
    """A grey ramp, 64×48 at 10 frames/s, with a 440 Hz tone in stereo."""
    av: Any = pytest.importorskip("av")
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("aac", rate=sound_rate) if sound_rate else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade(index), np.uint8), format="rgb24")
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound is not None and sound_rate:
            seconds = np.arange(int(sound_rate * frames / FPS)) / sound_rate
            tone = np.float32(0.5) * np.sin(2 * np.pi * 440 * seconds, dtype=np.float64).astype(np.float32)
            block = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
            block.sample_rate = sound_rate
            out.mux(sound.encode(block))
            out.mux(sound.encode(None))
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("media") / "clip.mp4")


@pytest.fixture(scope="session")
def silent_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("media") / "silent.mp4", sound_rate=None)
