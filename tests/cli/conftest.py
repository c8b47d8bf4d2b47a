from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from chiasm.cli import main
from chiasm.cli.png import png_bytes


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def chiasm(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command line in this process: `chiasm("inspect", path)`."""

    def call(*words: object) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Outcome(int(left.value.code or 0), out, err)

    return call


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small files: pictures/ (three PNGs), sound.wav (1 s), radar.npz (2 s)."""
    folder = tmp_path_factory.mktemp("media")
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for index in range(3):
        picture = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        (folder / "pictures" / f"{index}.png").write_bytes(png_bytes(picture))
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((rng.uniform(-0.5, 0.5, 16000) * 32767).astype("<i2").tobytes())
    np.savez(folder / "radar.npz", series=rng.normal(size=(40, 32)).astype(np.float32), times=np.arange(40) / 20)
    return folder
