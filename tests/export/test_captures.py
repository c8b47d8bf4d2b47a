"""Captures for calibration: files that are read, files that are refused by name, and made-up ones."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.export.captures import CHECKS, from_files, synthetic, without_captures
from chiasm.runtime.bundle import Bundle, open_bundle
from chiasm.runtime.errors import InputError, SourceError
from chiasm.runtime.manifest import AudioModality
from chiasm.runtime.preprocess import Preparer

NAMES = ("image", "text", "audio", "radar")


@pytest.fixture(scope="module")
def bundle(tiny: Path) -> Bundle:
    return open_bundle(tiny)


def _wav(path: Path, samples: int = 16000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(np.random.default_rng(0).integers(-9000, 9000, samples, np.int16).tobytes())


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A folder or file of captures for each modality."""
    cv2 = pytest.importorskip("cv2", reason="pictures are written with it")
    for name in ("pictures", "sounds"):
        (tmp_path / name).mkdir()
    for index in range(3):
        picture = np.full((70, 90, 3), 60 * index, np.uint8)
        assert cv2.imwrite(str(tmp_path / "pictures" / f"{index}.png"), picture)
        _wav(tmp_path / "sounds" / f"{index}.wav")
    (tmp_path / "notes.txt").write_text("road closed\nbridge clear\n")
    np.savez(tmp_path / "radar.npz", series=np.ones((64, 32), np.float32), sample_rate=20.0)
    return {
        "image": str(tmp_path / "pictures"), "text": str(tmp_path / "notes.txt"), "audio": str(tmp_path / "sounds"),
        "radar": str(tmp_path / "radar.npz"),
    }  # fmt: skip


def test_files_become_captures(bundle: Bundle, places: dict[str, str]) -> None:
    found = from_files(bundle.manifest.modalities, places, 40)
    assert found.real
    assert found.notes == ()
    assert {name: len(packets) for name, packets in found.sets.items()} == {
        "image": 3,
        "text": 2,
        "audio": 30,
        "radar": 40,
    }
    assert [int(packet.data[0, 0, 0]) for packet in found.sets["image"]] == [0, 60, 120]
    assert len(from_files(bundle.manifest.modalities, places, 2).sets["audio"]) == 2


def _text_as_picture(root: Path) -> Path:
    (root / "words.txt").write_text("no picture")
    return root / "words.txt"


def _text_called_picture(root: Path) -> Path:
    (root / "folder").mkdir()
    (root / "folder" / "a.jpg").write_text("no picture")
    return root / "folder"


def _empty(root: Path) -> Path:
    (root / "empty").mkdir()
    return root / "empty"


def _only_text(root: Path) -> Path:
    (root / "others").mkdir()
    (root / "others" / "readme.md").write_text("about these pictures")
    return root / "others"


def _picture_as_text(root: Path) -> Path:
    (root / "photo.txt").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\xff")
    return root / "photo.txt"


def _stray(root: Path) -> Path:
    (root / "stray").mkdir()
    _wav(root / "stray" / "a.wav")
    (root / "stray" / "labels.csv").write_text("a.wav,siren")
    return root / "stray"


def _no_samples(root: Path) -> Path:
    _wav(root / "silent.wav", 0)
    return root / "silent.wav"


def _not_finite(root: Path) -> Path:
    """32-bit float samples, one of them not a number: a sound file that no model can use."""
    pytest.importorskip("av", reason="float samples are read with PyAV")
    data = np.zeros(16000, "<f4")
    data[100] = np.nan
    header = b"RIFF" + (36 + data.nbytes).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    header += (3).to_bytes(2, "little") + (1).to_bytes(2, "little") + (16000).to_bytes(4, "little")
    header += (64000).to_bytes(4, "little") + (4).to_bytes(2, "little") + (32).to_bytes(2, "little")
    (root / "broken.wav").write_bytes(header + b"data" + data.nbytes.to_bytes(4, "little") + data.tobytes())
    return root / "broken.wav"


def _other_width(root: Path) -> Path:
    np.savez(root / "wide.npz", series=np.ones((64, 31), np.float32), sample_rate=20.0)
    return root / "wide.npz"


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("image", _text_as_picture, r"words\.txt, expected a picture"),
        ("image", _text_called_picture, r"a\.jpg cannot be decoded: found 10 bytes that are no picture"),
        ("image", _empty, r"folder .*empty has no pictures"),
        ("image", _only_text, r"folder .*others has no pictures"),
        ("audio", _empty, r"empty holds no capture of audio"),
        ("audio", _stray, r"labels\.csv, expected a WAV file"),
        ("audio", _no_samples, r"silent\.wav is empty"),
        ("audio", _not_finite, r"broken\.wav cannot be used for calibration: found audio has NaN or infinite samples"),
        ("text", _picture_as_text, r"photo\.txt cannot be read"),
        ("radar", _other_width, r"wide\.npz does not fit: found shape \(64, 31\)"),
        ("radar", _stray, r"a\.wav, expected an \.npz file"),
        ("text", lambda root: root / "nowhere", r"nowhere"),
        ("image", lambda root: Path("camera:0"), r"Calibration of image reads files: found camera:0"),
    ],
    ids=lambda value: getattr(value, "__name__", "") if callable(value) else "",
)
def test_wrong_files_are_named(
    bundle: Bundle, places: dict[str, str], tmp_path: Path, name: str, make: Callable[[Path], Path], words: str
) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        from_files(bundle.manifest.modalities, places | {name: str(make(tmp_path))}, 100)
    assert "\n" not in str(caught.value)


def test_every_modality_once(bundle: Bundle, places: dict[str, str]) -> None:
    with pytest.raises(InputError, match="No such modality: found smell"):
        from_files(bundle.manifest.modalities, places | {"smell": "x"}, 8)
    del places["audio"]
    with pytest.raises(InputError, match=r"found none for audio\. Give: --calibration audio=PATH"):
        from_files(bundle.manifest.modalities, places, 8)


@pytest.mark.parametrize("name", NAMES)
def test_made_up_captures_are_what_the_preprocessing_takes(bundle: Bundle, name: str) -> None:
    prepare = Preparer(bundle.manifest, bundle.read)
    for array in prepare(synthetic(bundle.modality(name), 0)).values():
        assert np.isfinite(array).all()
        assert array.min() < array.max()


@pytest.mark.parametrize("name", NAMES)
def test_made_up_captures_are_seeded_and_differ(bundle: Bundle, name: str) -> None:
    modality = bundle.modality(name)
    first = synthetic(modality, 0)
    np.testing.assert_array_equal(first.data, synthetic(modality, 0).data)
    assert not np.array_equal(first.data, synthetic(modality, 1).data)
    assert not np.array_equal(first.data, synthetic(modality, 0, seed=1).data)


def test_a_long_made_up_sound_stays_below_half_the_rate() -> None:
    ear: Any = AudioModality(
        name="ear", part="ear", rate_hz=1.0, max_age_s=1.0, tokens=(1, 1), sample_rate=16000, samples=480000
    )
    for index in range(4):
        end = synthetic(ear, index).data[-16000:]
        loudest = np.abs(np.fft.rfft(end * np.hanning(16000))).argmax()
        assert 300 < loudest < 7800


def test_without_captures_the_report_says_so(bundle: Bundle) -> None:
    made = without_captures(bundle.manifest.modalities)
    assert not made.real
    assert {len(packets) for packets in made.sets.values()} == {CHECKS}
    assert made.samples == ()
    assert made.notes == ("No captures were given: variants were compared on 3 made-up ones of each modality",)
