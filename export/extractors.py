"""Reads what a checkpoint says of its feature extractor, and says the same in the words of the manifest.

The keys are those of preprocessor_config.json. Only those that the extractor's class reads are looked at; one whose
value cannot be reproduced is an error that names it. `MelSpec` is a class of our own: a log-mel front end with every
constant written out, for models that come from nowhere public.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..runtime.errors import CheckpointError, ExportError
from ..runtime.manifest import Mel

if TYPE_CHECKING:
    from .hub import HubFolder

__all__ = ["EXTRACTORS", "extractor_of", "sound_fields"]

_FILES = ("preprocessor_config.json", "processor_config.json")
_WINDOW_S = 1.0
"""Seconds of a sound that a model without a length of its own looks at, when nothing else is asked."""


def extractor_of(folder: HubFolder, usual: str) -> tuple[dict[str, Any], str]:
    """The description of the folder's extractor, and the file it comes from, for messages.

    Newer folders keep it inside processor_config.json. `usual`: the class of one that does not name its own.
    """
    for name in _FILES:
        if folder.has(name):
            found = folder.json(name)
            found = found.get("feature_extractor", {}) if name == _FILES[1] else found
            return {"feature_extractor_type": usual} | found, str(folder.path / name)
    raise CheckpointError(
        f"{folder.path} does not say how sound is prepared", found="no preprocessor_config.json",
        expected=f"the one of its {usual}", fix="Copy it from where the checkpoint came from",
    )  # fmt: skip


def sound_fields(extractor: Mapping[str, Any], where: str, seconds: float | None = None) -> dict[str, Any]:
    """The fields of an `AudioModality` that tell how a sound becomes the tensor, from an extractor's keys.

    `seconds`: how much of a sound is looked at, its last part; None: the length of the model, or one second for models
    that have none. A shorter sound is padded as the extractor pads it. `where` names the description in messages.

    Raises:
        CheckpointError: an extractor or a value that cannot be reproduced. ExportError: `seconds` that do not fit.
    """
    keys = _Keys(extractor, where)
    kind = keys.word("feature_extractor_type", "", tuple(EXTRACTORS))
    return EXTRACTORS[kind](keys, seconds)


class _Keys:
    """The keys of one description; every reader names the key in its error."""

    def __init__(self, given: Mapping[str, Any], where: str) -> None:
        self.given, self.where = given, where

    def refuse(self, key: str, expected: object) -> CheckpointError:
        return CheckpointError(
            f"{self.where} has a value that cannot be reproduced",
            found=f"{key} = {self.given.get(key)!r}",
            expected=expected,
        )

    def number(self, key: str, default: float, low: float = -math.inf, high: float = math.inf) -> float:
        value = self.given.get(key, default)
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not right or not math.isfinite(value) or not low <= value <= high:
            raise self.refuse(key, "a number" if low == -math.inf else f"a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, key: str, default: int, high: int = 1 << 20) -> int:
        value = self.number(key, default, 1, high)
        if value != int(value):
            raise self.refuse(key, "a whole number")
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.given.get(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def word(self, key: str, default: str, known: tuple[str, ...]) -> str:
        value = self.given.get(key, default)
        if value not in known:
            raise self.refuse(key, f"one of {', '.join(known)}")
        return str(value)

    def only(self, key: str, value: object) -> None:
        """The key, where it is given, has this value."""
        if self.given.get(key, value) != value:
            raise self.refuse(key, value)


def _samples(keys: _Keys, seconds: float | None, rate: int, longest: int | None) -> int:
    """Samples of a window; `longest` is what the model takes, None where it takes any length."""
    if seconds is None:
        return longest or round(_WINDOW_S * rate)
    most = 3600.0 if longest is None else longest / rate
    if not 0 < seconds <= most or round(seconds * rate) < 1:
        raise ExportError(
            f"The window of {keys.where} does not fit", found=f"{seconds:g} s", expected=f"up to {most:g} s"
        )
    return round(seconds * rate)


def _wav2vec2(keys: _Keys, seconds: float | None) -> dict[str, Any]:
    """The waveform itself, zeros after a shorter one. With `return_attention_mask` the statistics leave the padding out
    and the encoder takes the mask; without, the padding is sound like any other."""
    for key, value in (("feature_size", 1), ("padding_value", 0), ("padding_side", "right")):
        keys.only(key, value)
    rate = keys.whole("sampling_rate", 16000)
    mask = keys.flag("return_attention_mask", False)
    normalise = "none"
    if keys.flag("do_normalize", True):
        normalise = "sound" if mask else "length"
    samples = _samples(keys, seconds, rate, None)
    return {"sample_rate": rate, "samples": samples, "pad": "after", "normalise": normalise, "mask": mask}


def _whisper(keys: _Keys, seconds: float | None) -> dict[str, Any]:
    """Whisper's log-mel of `chunk_length` seconds, zeros after a shorter sound."""
    for key, value in (("padding_value", 0), ("padding_side", "right"), ("dither", 0)):
        keys.only(key, value)
    rate, frame = keys.whole("sampling_rate", 16000), keys.whole("n_fft", 400)
    length = keys.whole("chunk_length", 30, 3600) * rate
    mel = Mel(
        frame_length=frame, hop=keys.whole("hop_length", 160), fft_size=frame, n_mels=keys.whole("feature_size", 80),
        fmax=8000.0, scale="slaney", norm="slaney", drop_last=True, range=8.0, mean=-4.0, std=4.0, layout="mels-first",
    )  # fmt: skip
    samples = _samples(keys, seconds, rate, length)
    return {"sample_rate": rate, "samples": samples, "length": length, "pad": "after", "mel": mel}


def _ast(keys: _Keys, seconds: float | None) -> dict[str, Any]:
    """Kaldi's filter bank under a symmetric Hann window, frames of zero after a shorter sound.

    The class computes it with torchaudio, which scales frames with the rate, or without, which does not; both agree at
    16 kHz only.
    """
    keys.only("sampling_rate", 16000)
    rate, frame, hop = 16000, 400, 160
    mean, std = 0.0, 1.0
    if keys.flag("do_normalize", True):
        mean, std = keys.number("mean", -4.2677393), 2.0 * keys.number("std", 4.5689974, 1e-9, 1e9)
    mel = Mel(
        frame_length=frame, hop=hop, fft_size=512, n_mels=keys.whole("num_mel_bins", 128), periodic=False, fmin=20.0,
        fmax=rate / 2.0, scale="kaldi", triangles="mel", remove_dc=True, preemphasis=0.97, centre=False, log="ln",
        floor=2.0**-23, mean=mean, std=std,
    )  # fmt: skip
    length = frame + (keys.whole("max_length", 1024) - 1) * hop
    samples = _samples(keys, seconds, rate, length)
    return {"sample_rate": rate, "samples": samples, "length": length, "pad": "frames", "mel": mel}


def _clap(keys: _Keys, seconds: float | None) -> dict[str, Any]:
    """CLAP's mel in dB: HTK's triangles for truncation "fusion", Slaney's for "rand_trunc".

    The class draws what it cuts from a longer sound by chance. Here "rand_trunc" keeps the end of the sound, as
    every window does, and "fusion", where more seconds than the model's are asked for, the middle of each third.
    """
    fusion = keys.word("truncation", "fusion", ("fusion", "rand_trunc")) == "fusion"
    pads = {"repeatpad": "repeat-whole", "repeat": "repeat", "pad": "after"}
    pad = pads[keys.word("padding", "repeatpad", tuple(pads))]
    rate, frame = keys.whole("sampling_rate", 48000), keys.whole("fft_window_size", 1024)
    length = keys.whole("max_length_s", 10, 3600) * rate
    fmin = keys.number("frequency_min", 0.0, 0.0, rate / 2)
    fmax = keys.number("frequency_max", 14000.0, 1.0, rate / 2)
    mel = Mel(
        frame_length=frame, hop=keys.whole("hop_length", 480), fft_size=frame, n_mels=keys.whole("feature_size", 64),
        fmin=fmin, fmax=fmax, scale="htk" if fusion else "slaney", norm="none" if fusion else "slaney", log="dB",
    )  # fmt: skip
    samples = length
    if seconds is not None:
        samples = _samples(keys, seconds, rate, None if fusion else length)
    crops = 4 if fusion else 1
    return {"sample_rate": rate, "samples": samples, "length": length, "pad": pad, "mel": mel, "crops": crops}


def _mel_spec(keys: _Keys, seconds: float | None) -> dict[str, Any]:
    """Our own description: `sampling_rate`, `mel` with the constants of the manifest's `Mel`, `seconds` of the model's
    window, and `pad` and `crops` of the manifest."""
    rate = keys.whole("sampling_rate", 16000)
    try:
        mel = msgspec.convert(keys.given.get("mel"), Mel)
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{keys.where} has a mel that cannot be used", found=f"mel: {error}") from error
    length = max(1, round(keys.number("seconds", _WINDOW_S, 0.0, 3600.0) * rate))
    pad = keys.word("pad", "before", ("before", "after", "repeat", "repeat-whole", "frames"))
    crops = int(keys.number("crops", 0, 0, 1))
    samples = _samples(keys, seconds, rate, length)
    return {"sample_rate": rate, "samples": samples, "length": length, "pad": pad, "mel": mel, "crops": crops}


EXTRACTORS: dict[str, Callable[[_Keys, float | None], dict[str, Any]]] = {
    "Wav2Vec2FeatureExtractor": _wav2vec2,
    "WhisperFeatureExtractor": _whisper,
    "ASTFeatureExtractor": _ast,
    "ClapFeatureExtractor": _clap,
    "MelSpec": _mel_spec,
}
"""feature_extractor_type → its reader."""
