"""The microphone as a live source, through the optional package sounddevice (PortAudio)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError, SourceError
from ..manifest import AudioModality
from ..values import Packet
from .base import WindowCutter
from .live import Live

__all__ = ["MicrophoneGrabber", "microphone"]


def microphone(modality: AudioModality, device: str, rate_hz: float, *, timeout_s: float) -> Live:
    """The microphone: `device` is empty (the default one), an index, or a part of its name."""
    return Live(
        modality.name,
        lambda: MicrophoneGrabber(modality, _portaudio(), device, rate_hz),
        timeout_s=timeout_s,
        name=f"microphone {device}".strip(),
        capacity=2,
    )


def _portaudio() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise MissingExtraError("sounddevice", "microphone", "listening to a microphone") from None
    except OSError as error:
        raise SourceError(
            "the microphone cannot be opened",
            found=error,
            expected="the PortAudio library",
            fix="Run: sudo apt-get install libportaudio2",
        ) from error
    return sounddevice


class MicrophoneGrabber:
    """Windows of an input stream. `portaudio` is the sounddevice module, or anything with its `InputStream`."""

    def __init__(self, modality: AudioModality, portaudio: Any, device: str, rate_hz: float) -> None:
        self._spec = modality
        self._hop = max(1, round(modality.sample_rate / rate_hz))
        chosen = int(device) if device.isdecimal() else (device or None)
        try:
            self._stream = portaudio.InputStream(
                samplerate=modality.sample_rate, channels=1, dtype="float32", blocksize=self._hop, device=chosen
            )
            self._stream.start()
        except Exception as error:  # PortAudioError, or ValueError for an unknown device
            raise SourceError(
                f"the microphone {device or '(default)'} cannot be opened",
                found=error,
                expected=f"an input that records {modality.sample_rate} Hz",
                fix="List the devices with: python -m sounddevice",
            ) from error
        self._packets = self._windows(WindowCutter(modality.samples, modality.sample_rate, rate_hz))

    def _windows(self, cutter: WindowCutter) -> Iterator[Packet]:
        rate = self._spec.sample_rate
        while True:
            block, _ = self._stream.read(self._hop)
            # What waits in the buffer came later: the block ended that much before now, and `latency` before that.
            behind = self._stream.read_available / rate + float(self._stream.latency)
            samples: NDArray[np.float32] = np.asarray(block, dtype=np.float32).reshape(-1)
            start_s = time.monotonic() - behind - len(samples) / rate
            for end_s, window in cutter.push(samples, start_s):
                yield Packet(self._spec.name, np.clip(window, -1.0, 1.0), end_s, rate)

    def read(self) -> Packet | None:
        """The next window."""
        return next(self._packets, None)

    def close(self) -> None:
        """Stop recording."""
        self._stream.close()
