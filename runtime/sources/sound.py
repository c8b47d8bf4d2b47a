"""Sound from files: WAV by the standard library, everything else (and any other sample rate) by PyAV."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, SourceError
from ..manifest import AudioModality
from ..values import Packet
from .base import FileSource, WindowCutter, existing_file
from .containers import decode, have_pyav, open_container, resampled, start_s, stream_of

__all__ = ["SoundTrack", "WavFile", "pcm_to_float", "sound_file"]

BLOCK_S = 0.5


def sound_file(modality: AudioModality, uri: str, rate_hz: float) -> FileSource:
    """A sound file, or the sound track of a video, at the modality's sample rate."""
    if Path(uri).suffix.lower() not in (".wav", ".wave"):
        return SoundTrack(modality, uri, rate_hz)
    if "://" in uri:
        return SoundTrack(modality, uri, rate_hz)
    existing_file(uri, "the sound file")
    try:
        with wave.open(uri, "rb") as file:
            found = f"{file.getframerate()} Hz, {8 * file.getsampwidth()} bit"
            plain = file.getframerate() == modality.sample_rate and file.getsampwidth() in (1, 2, 3, 4)
    except (wave.Error, EOFError, OSError) as error:
        found, plain = f"no plain PCM WAV ({error or 'cut short'})", False
    if plain:
        return WavFile(modality, uri, rate_hz)
    if not have_pyav():
        raise MissingExtraError("av", "camera", f"converting {uri} ({found}) to {modality.sample_rate} Hz")
    return SoundTrack(modality, uri, rate_hz)


def pcm_to_float(raw: bytes, width: int, channels: int) -> NDArray[np.float32]:
    """Little-endian PCM of `width` bytes a sample → float32 mono (n,) in [-1, 1): the mean of the channels."""
    raw = raw[: len(raw) // (width * channels) * width * channels]
    if width == 1:
        values = np.frombuffer(raw, np.uint8).astype(np.float32) / 128.0 - 1.0
    elif width == 3:
        # Three bytes into the upper three of an int32, so that the sign comes along.
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        values = wide.view("<i4").reshape(-1).astype(np.float32) / 2.0**31
    else:
        values = np.frombuffer(raw, f"<i{width}").astype(np.float32) / 2.0 ** (8 * width - 1)
    mono: NDArray[np.float32] = values.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return mono


class WavFile(FileSource):
    """Windows of a PCM WAV file (8, 16, 24 or 32 bit, any number of channels) that has the right sample rate."""

    def __init__(self, modality: AudioModality, path: str, rate_hz: float) -> None:
        super().__init__(modality.name)
        self._path, self._spec, self._rate_hz = path, modality, rate_hz
        with wave.open(path, "rb") as file:
            empty = file.getnframes() == 0
        if empty:
            raise SourceError(f"the sound file {path} is empty", found="0 samples", expected="at least one sample")

    def packets(self) -> Iterator[Packet]:
        """One window every 1/rate_hz seconds, stamped with its end."""
        cutter = WindowCutter(self._spec.samples, self._spec.sample_rate, self._rate_hz)
        heard = False
        with wave.open(self._path, "rb") as file:
            block = max(1, int(BLOCK_S * file.getframerate()))
            while raw := file.readframes(block):
                samples = pcm_to_float(raw, file.getsampwidth(), file.getnchannels())
                heard = heard or len(samples) > 0
                yield from self._packets(cutter.push(samples))
        yield from self._packets(cutter.flush())
        if not heard:
            raise SourceError(f"the sound file {self._path} is cut short", found="a header without samples")

    def _packets(self, windows: Iterator[tuple[float, NDArray[np.float32]]]) -> Iterator[Packet]:
        for end_s, window in windows:
            yield Packet(self.modality, window, end_s, self._spec.sample_rate)


class SoundTrack(FileSource):
    """Windows of the first sound track of anything FFmpeg reads, resampled to the modality's rate, mixed to mono."""

    def __init__(self, modality: AudioModality, uri: str, rate_hz: float) -> None:
        super().__init__(modality.name)
        self._uri, self._spec, self._rate_hz = uri, modality, rate_hz
        container = open_container(uri)
        stream_of(container, "audio", uri)
        container.close()

    def packets(self) -> Iterator[Packet]:
        """One window every 1/rate_hz seconds, stamped with its end on the container's clock."""
        cutter = WindowCutter(self._spec.samples, self._spec.sample_rate, self._rate_hz)
        container = open_container(self._uri)
        try:
            stream = stream_of(container, "audio", self._uri)
            frames = decode(container, stream, self._uri)
            for when, samples in resampled(frames, self._spec.sample_rate, start_s(container)):
                yield from self._packets(cutter.push(samples, when))
            yield from self._packets(cutter.flush())
        finally:
            container.close()

    def _packets(self, windows: Iterator[tuple[float, NDArray[np.float32]]]) -> Iterator[Packet]:
        for end_s, window in windows:
            yield Packet(self.modality, np.clip(window, -1.0, 1.0), end_s, self._spec.sample_rate)
