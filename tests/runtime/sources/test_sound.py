from __future__ import annotations

import struct
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from chiasm.runtime.errors import MissingExtraError, SourceError
from chiasm.runtime.manifest import AudioModality
from chiasm.runtime.sources import open_source
from chiasm.runtime.sources.sound import SoundTrack, WavFile, pcm_to_float

from .conftest import FPS, FRAMES, RATE


def wav(path: Path, samples: np.ndarray, *, rate: int = RATE, width: int = 2) -> Path:
    """`samples` (n, channels) in [-1, 1] as PCM of `width` bytes."""
    whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    if width == 1:
        raw = (whole + 128).astype(np.uint8).tobytes()
    else:
        raw = b"".join(int(value).to_bytes(width, "little", signed=True) for value in whole.reshape(-1))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return path


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def pitch(samples: np.ndarray, rate: int = RATE) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


@pytest.mark.parametrize(("width", "error"), [(1, 1e-2), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
def test_wav_of_every_width(tmp_path: Path, audio: AudioModality, width: int, error: float) -> None:
    want = tone(1.25)
    source = open_source(audio, str(wav(tmp_path / "a.wav", want[:, None], width=width)))
    assert isinstance(source, WavFile)
    packets = list(source)
    assert [packet.time_s for packet in packets] == pytest.approx([*(0.1 * k for k in range(1, 13)), 1.25])
    assert {packet.sample_rate for packet in packets} == {RATE}
    assert packets[-1].data.dtype == np.float32
    np.testing.assert_allclose(packets[-1].data, want[-RATE:], atol=error)
    np.testing.assert_allclose(packets[0].data, want[:1600], atol=error)


def test_stereo_becomes_the_mean(tmp_path: Path, audio: AudioModality) -> None:
    both = np.stack([np.full(RATE, 0.5), np.full(RATE, -0.25)], axis=1)
    packets = list(open_source(audio, str(wav(tmp_path / "s.wav", both))))
    np.testing.assert_allclose(packets[-1].data, 0.125, atol=1e-4)


def test_pcm_conversion_keeps_the_sign_of_24_bits() -> None:
    raw = (-(2**23)).to_bytes(3, "little", signed=True) + (2**22).to_bytes(3, "little", signed=True)
    assert pcm_to_float(raw, 3, 1).tolist() == [-1.0, 0.5]
    assert pcm_to_float(struct.pack("<hh", -32768, 16384) + b"\x01", 2, 1).tolist() == [-1.0, 0.5]


def test_another_sample_rate_is_resampled_by_pyav_or_refused(
    tmp_path: Path, audio: AudioModality, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    path = wav(tmp_path / "cd.wav", tone(1.0, 44100)[:, None], rate=44100)
    source = open_source(audio, str(path))
    assert isinstance(source, SoundTrack)
    last = list(source)[-1]
    assert last.time_s == pytest.approx(1.0, abs=0.01)
    assert pitch(last.data) == pytest.approx(440, abs=2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"44100 Hz, 16 bit.*16000 Hz"):
        open_source(audio, str(path))


def test_the_sound_track_of_a_video(audio: AudioModality, video: Path) -> None:
    packets = list(open_source(audio, str(video)))
    seconds = FRAMES / FPS
    assert [packet.time_s for packet in packets[:12]] == pytest.approx([0.1 * k for k in range(1, 13)], abs=0.05)
    assert packets[-1].time_s == pytest.approx(seconds, abs=0.1)
    assert all(len(packet.data) <= RATE and packet.sample_rate == RATE for packet in packets)
    assert pitch(packets[9].data) == pytest.approx(440, abs=2)
    assert 0.3 < float(np.abs(packets[9].data).max()) < 0.7


def test_a_video_without_sound(audio: AudioModality, silent_video: Path) -> None:
    with pytest.raises(SourceError, match="no sound track: found streams: video"):
        open_source(audio, str(silent_video))


def test_a_sound_file_needs_pyav(audio: AudioModality, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"chiasm\[camera\]"):
        open_source(audio, str(video))


def test_an_empty_wav(tmp_path: Path, audio: AudioModality) -> None:
    with pytest.raises(SourceError, match="is empty"):
        open_source(audio, str(wav(tmp_path / "empty.wav", np.zeros((0, 1)))))


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not a wave file, whatever its name says"])
def test_a_file_that_is_no_wav(tmp_path: Path, audio: AudioModality, content: bytes) -> None:
    pytest.importorskip("av")
    (tmp_path / "broken.wav").write_bytes(content)
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(audio, str(tmp_path / "broken.wav"))


def test_a_wav_cut_short_gives_what_is_there(tmp_path: Path, audio: AudioModality) -> None:
    whole = wav(tmp_path / "a.wav", tone(1.0)[:, None]).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: 44 + 2 * 4001 + 1])
    packets = list(open_source(audio, str(tmp_path / "cut.wav")))
    assert packets[-1].time_s == pytest.approx(4001 / RATE)
    (tmp_path / "header.wav").write_bytes(whole[:44])
    with pytest.raises(SourceError, match="cut short"):
        list(open_source(audio, str(tmp_path / "header.wav")))


def test_a_sound_file_that_is_not_there(tmp_path: Path, audio: AudioModality) -> None:
    for name in ("no.wav", "no.mp4"):
        with pytest.raises(SourceError, match="found nothing, expected a file"):
            open_source(audio, str(tmp_path / name))
