"""What a log-mel front end is: every constant of it, and the tables that follow from these.

Sources: the mel scales of HTK (2595·log10(1 + f/700)), of Kaldi (1127·ln(1 + f/700)) and of Slaney's Auditory Toolbox
(1998: linear to 1 kHz, then 27 steps for each factor of 6.4); Slaney's norm gives every triangle the same area.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .errors import KernelError

__all__ = ["MelSpec", "MelTables", "filter_bank", "mel_tables", "mel_window"]

Doubles = NDArray[np.float64]
_WORDS = {
    "window": ("hann", "hamming", "povey", "rectangular"),
    "scale": ("htk", "kaldi", "slaney"),
    "triangles": ("hertz", "mel"),
    "norm": ("none", "slaney"),
    "log": ("ln", "log10", "dB"),
    "layout": ("frames-first", "mels-first"),
}
_LARGEST = 1 << 20


@dataclass(frozen=True)
class MelSpec:
    """One log-mel front end. In the order of the work, for every frame of `frame_length` samples, `hop` apart:

    sample · `gain`; minus the frame's mean (`remove_dc`); x[i] − `preemphasis` · x[i − 1], where x[−1] is x[0];
    · `window` (`periodic`, or symmetric); zeros to `fft_size`; |X|^`power`; `n_mels` triangles from `fmin` to `fmax` Hz
    (None: half the rate), equally wide on `scale`, straight in `triangles`, of equal height or (`norm` "slaney") of
    equal area; max(`floor`, ·); `log` (dB: 20·log10 of a magnitude, 10·log10 of a power); not more than `range`, in
    units of the log, below the greatest value of the whole; − `mean`, / `std`.

    `centre`: frame t is centred on sample t · hop, and the waveform is mirrored about its first and last sample; else
    frame t begins there and no frame reaches beyond the end. `drop_last`: the last frame is left out, as Whisper does.

    Raises:
        KernelError: an unknown word, a size or a number that cannot be.
    """

    sample_rate: int
    frame_length: int
    hop: int
    fft_size: int
    n_mels: int
    window: str = "hann"
    periodic: bool = True
    fmin: float = 0.0
    fmax: float | None = None
    scale: str = "htk"
    triangles: str = "hertz"
    norm: str = "none"
    gain: float = 1.0
    remove_dc: bool = False
    preemphasis: float = 0.0
    centre: bool = True
    drop_last: bool = False
    power: int = 2
    log: str = "log10"
    floor: float = 1e-10
    range: float | None = None
    mean: float = 0.0
    std: float = 1.0
    layout: str = "frames-first"

    def __post_init__(self) -> None:
        _check_words(self)
        _check_sizes(self)
        _check_numbers(self)

    @classmethod
    def whisper(cls, n_mels: int = 80) -> MelSpec:
        """Whisper (Radford et al., 2022): 80 mels, or 128 from large-v3 on. (mels, frames), 100 frames a second."""
        return cls(
            16000, 400, 160, 400, n_mels, fmax=8000.0, scale="slaney", norm="slaney", drop_last=True,
            range=8.0, mean=-4.0, std=4.0, layout="mels-first",
        )  # fmt: skip

    @classmethod
    def kaldi(cls, n_mels: int = 80, sample_rate: int = 16000, window: str = "povey", gain: float = 1.0) -> MelSpec:
        """Kaldi's fbank as it comes, without dither: 25 ms every 10 ms, 20 Hz to half the rate, (frames, mels).

        `gain` 32768 where the model was trained on the numbers of 16-bit samples, as Kaldi's own recipes are.
        """
        frame_length = sample_rate // 40
        return cls(
            sample_rate, frame_length, sample_rate // 100, 1 << max(frame_length - 1, 1).bit_length(), n_mels, window,
            periodic=False, fmin=20.0, scale="kaldi", triangles="mel", gain=gain, remove_dc=True, preemphasis=0.97,
            centre=False, log="ln", floor=2.0**-23,
        )  # fmt: skip

    @classmethod
    def ast(cls, n_mels: int = 128, mean: float = -4.2677393, std: float = 4.5689974) -> MelSpec:
        """The Audio Spectrogram Transformer (Gong et al., 2021): Kaldi's fbank with a Hann window, by AudioSet's mean
        and twice its standard deviation. (The model pads to 1024 frames of 0 before this; that is the caller's part.)
        """
        return replace(cls.kaldi(n_mels, window="hann"), mean=mean, std=2.0 * std)

    @classmethod
    def clap(cls, bank: str = "htk") -> MelSpec:
        """CLAP (Wu et al., 2023): 64 mels to 14 kHz of sound at 48 kHz, in dB. `bank`: "htk" for truncation "fusion",
        "slaney" for the others."""
        norm = "slaney" if bank == "slaney" else "none"
        return cls(48000, 1024, 480, 1024, 64, fmin=0.0, fmax=14000.0, scale=bank, norm=norm, log="dB")

    @property
    def start(self) -> int:
        """Where frame 0 begins, in samples: 0 or less."""
        return -(self.frame_length // 2) if self.centre else 0

    @property
    def least_samples(self) -> int:
        """The shortest waveform that has a frame."""
        frames = 2 if self.drop_last else 1
        reach = (frames - 1) * self.hop + self.frame_length + 2 * self.start
        return max(reach, 1 - self.start)

    @property
    def log_factor(self) -> float:
        """`log` as a factor of the natural logarithm."""
        return {"ln": 1.0, "log10": 1.0, "dB": 20.0 / self.power}[self.log] / (1 if self.log == "ln" else math.log(10))

    def frames(self, samples: int) -> int:
        """The frames of a waveform of so many samples. 0 when it is shorter than `least_samples`."""
        if samples < self.least_samples:
            return 0
        return 1 + (samples - 2 * self.start - self.frame_length) // self.hop - int(self.drop_last)

    def shape(self, samples: int) -> tuple[int, int]:
        """The shape of their log-mel, in this layout."""
        return self.arranged(self.frames(samples))

    def arranged(self, frames: int) -> tuple[int, int]:
        """The shape of so many frames, in this layout."""
        return (self.n_mels, frames) if self.layout == "mels-first" else (frames, self.n_mels)


def _check_words(spec: MelSpec) -> None:
    for argument, words in _WORDS.items():
        word = getattr(spec, argument)
        if word not in words:
            raise KernelError(argument, found=repr(word), expected=" or ".join(map(repr, words)))


def _check_sizes(spec: MelSpec) -> None:
    for argument in ("sample_rate", "frame_length", "hop", "fft_size", "n_mels"):
        size = getattr(spec, argument)
        if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or not 1 <= size <= _LARGEST:
            raise KernelError(argument, found=repr(size), expected=f"a whole number from 1 to {_LARGEST}")
    if spec.frame_length > spec.fft_size:
        raise KernelError("frame_length", found=spec.frame_length, expected=f"at most fft_size, {spec.fft_size}")
    rest = spec.fft_size
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    if rest != 1 or spec.fft_size % 2:
        raise KernelError("fft_size", found=spec.fft_size, expected="even, of the prime factors 2, 3 and 5")


def _check_numbers(spec: MelSpec) -> None:
    top = spec.sample_rate / 2 if spec.fmax is None else spec.fmax
    for argument, value, least, most in (
        ("fmin", spec.fmin, 0.0, top),
        ("fmax", top, 0.0, spec.sample_rate / 2),
        ("gain", spec.gain, -1e9, 1e9),
        ("preemphasis", spec.preemphasis, -1.0, 1.0),
        ("floor", spec.floor, 1e-30, 1e30),
        ("range", 0.0 if spec.range is None else spec.range, 0.0, 1e9),
        ("mean", spec.mean, -1e9, 1e9),
        ("std", abs(spec.std), 1e-9, 1e9),
    ):
        if not least <= value <= most:
            raise KernelError(argument, found=value, expected=f"a number from {least:g} to {most:g}")
    if spec.fmin >= top:
        raise KernelError("fmin", found=spec.fmin, expected=f"below fmax, {top:g}")
    if spec.power not in (1, 2):
        raise KernelError("power", found=spec.power, expected="1 or 2")


def _mels(hertz: Doubles, scale: str) -> Doubles:
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hertz / 700.0)
    if scale == "kaldi":
        return 1127.0 * np.log(1.0 + hertz / 700.0)
    above = 15.0 + np.log(np.maximum(hertz, 1000.0) / 1000.0) * (27.0 / math.log(6.4))
    return np.where(hertz < 1000.0, hertz * (3.0 / 200.0), above)


def _hertz(mels: Doubles, scale: str) -> Doubles:
    if scale == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    if scale == "kaldi":
        return 700.0 * (np.exp(mels / 1127.0) - 1.0)
    above = 1000.0 * np.exp((np.maximum(mels, 15.0) - 15.0) * (math.log(6.4) / 27.0))
    return np.where(mels < 15.0, mels * (200.0 / 3.0), above)


def filter_bank(spec: MelSpec) -> Doubles:
    """The triangles: float64 (n_mels, fft_size / 2 + 1). One narrower than a bin may be all zeros."""
    bins = np.arange(spec.fft_size // 2 + 1, dtype=np.float64) * (spec.sample_rate / spec.fft_size)
    top = spec.sample_rate / 2 if spec.fmax is None else spec.fmax
    ends = _mels(np.array([spec.fmin, top]), spec.scale)
    edges = np.linspace(ends[0], ends[1], spec.n_mels + 2)
    if spec.triangles == "mel":
        bins = _mels(bins, spec.scale)
    else:
        edges = _hertz(edges, spec.scale)
    width = np.diff(edges)[:, None]
    rise = (bins - edges[:-2, None]) / width[:-1]
    fall = (edges[2:, None] - bins) / width[1:]
    bank: Doubles = np.maximum(0.0, np.minimum(rise, fall))
    if spec.norm == "slaney":
        bank *= 2.0 / (edges[2:] - edges[:-2])[:, None]
    return bank


def mel_window(spec: MelSpec) -> Doubles:
    """The window of a frame, float64 (frame_length,). Povey's is a Hann window to the power 0.85."""
    length = spec.frame_length
    if spec.window == "rectangular":
        return np.ones(length)
    cosine = np.cos(np.arange(length) * (2.0 * math.pi / max(length if spec.periodic else length - 1, 1)))
    window: Doubles = (0.54 - 0.46 * cosine) if spec.window == "hamming" else (0.5 - 0.5 * cosine)
    return np.maximum(window, 0.0) ** 0.85 if spec.window == "povey" else window


@dataclass(frozen=True)
class MelTables:
    """What a front end needs beside its constants: the window, float64 (frame_length,), and the filters without zeros.

    Filter m weighs powers `first[m]` to `first[m] + count[m]`; the weights stand in `weight`, filter by filter.
    """

    window: Doubles
    first: NDArray[np.int32]
    count: NDArray[np.int32]
    weight: Doubles


@lru_cache(maxsize=16)
def mel_tables(spec: MelSpec) -> MelTables:
    """The tables of `spec`, read-only and kept."""
    bank = filter_bank(spec)
    used = bank > 0.0
    count = used.sum(axis=1)
    first = np.where(count > 0, used.argmax(axis=1), 0)
    tables = MelTables(mel_window(spec), first.astype(np.int32), count.astype(np.int32), bank[used])
    for array in (tables.window, tables.first, tables.count, tables.weight):
        array.flags.writeable = False
    return tables
