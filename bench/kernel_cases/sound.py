"""Sound: the log-mel of ten seconds, and of a stream of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import LogMel, MelSpec, log_mel
from ...targets import machine
from . import Call, Case, absences

__all__ = ["cases"]

Floats = NDArray[np.float32]
RATE, SECONDS, CHUNK = 16000, 10, 160
WHISPER, AST, KALDI = "transformers Whisper extractor, torch", "transformers AST extractor", "kaldi-native-fbank"
WHISPER_NUMPY = "transformers Whisper extractor, NumPy (a device without torch)"


def cases() -> list[Case]:
    """Ten seconds of noise at 16 kHz; two threads where there are two cores, and one."""
    waveform = (0.1 * np.random.default_rng(0).standard_normal(RATE * SECONDS)).astype(np.float32)
    threads = min(2, machine().cores)
    return [
        _whisper(waveform, threads, {WHISPER: 10.0, WHISPER_NUMPY: 10.0}),
        _whisper(waveform, 1, {}),
        _ast(waveform),
        _kaldi(waveform),
        _kaldi_stream(waveform),
    ]


def _ours(waveform: Floats, spec: MelSpec, threads: int = 1) -> Call:
    out = np.empty(spec.shape(waveform.size), np.float32)
    return lambda: log_mel(waveform, spec, threads=threads, out=out)


def _bytes(waveform: Floats, spec: MelSpec) -> int:
    return waveform.nbytes + 4 * spec.n_mels * spec.frames(waveform.size)


def _whisper(waveform: Floats, threads: int, wanted: dict[str, float]) -> Case:
    spec = MelSpec.whisper()
    return Case(
        f"log-mel of 10 s, Whisper, {threads} thread{'s' if threads > 1 else ''}",
        _ours(waveform, spec, threads),
        _whisper_extractors(waveform),
        _bytes(waveform, spec),
        "80 mels, 1000 frames; the extractor on torch takes as many threads as it likes",
        absences({WHISPER_NUMPY: "transformers"}) | absences({WHISPER: "torch"}),
        wanted,
    )


def _ast(waveform: Floats) -> Case:
    spec = MelSpec.ast()
    return Case(
        "log-mel of 10 s, AST, 1 thread",
        _ours(waveform, spec),
        _extractor(AST, "ASTFeatureExtractor", waveform),
        _bytes(waveform, spec),
        "128 mels, 998 frames; the extractor on NumPy, as it is without torchaudio",
        absences({AST: "transformers"}),
    )


def _whisper_extractors(waveform: Floats) -> dict[str, Call]:
    """The extractor as it is with torch, and as it is without, which it asks for at every call."""
    made = _extractor(WHISPER_NUMPY, "WhisperFeatureExtractor", waveform, chunk_length=SECONDS)
    if not made or util.find_spec("torch") is None:
        return made
    from transformers.models.whisper import feature_extraction_whisper as module

    with_torch, found = made[WHISPER_NUMPY], module.is_torch_available

    def without_torch() -> object:
        module.is_torch_available = lambda: False
        try:
            return with_torch()
        finally:
            module.is_torch_available = found

    return {WHISPER: with_torch, WHISPER_NUMPY: without_torch}


def _extractor(name: str, kind: str, waveform: Floats, **options: Any) -> dict[str, Call]:
    if util.find_spec("transformers") is None:
        return {}
    import transformers

    with warnings.catch_warnings():  # of its own constants: a filter narrower than a step of the transform
        warnings.simplefilter("ignore")
        extractor = getattr(transformers, kind)(**options)
    return {name: lambda: extractor(waveform, sampling_rate=RATE, return_tensors="np")}


def _kaldi(waveform: Floats) -> Case:
    spec = MelSpec.kaldi()
    return Case(
        "log-mel of 10 s, Kaldi, 1 thread",
        _ours(waveform, spec),
        _fbank(lambda fbank: fbank.accept_waveform(RATE, waveform)),
        _bytes(waveform, spec),
        "80 mels, 998 frames; the peer through its Python interface, which copies the samples one by one",
        absences({KALDI: "kaldi_native_fbank"}),
        {KALDI: 1.0},
    )


def _kaldi_stream(waveform: Floats) -> Case:
    spec = MelSpec.kaldi()
    chunks = np.split(waveform, waveform.size // CHUNK)

    def ours() -> None:
        stream = LogMel(spec)
        for chunk in chunks:
            stream.push(chunk)

    def theirs(fbank: Any) -> None:
        for chunk in chunks:
            fbank.accept_waveform(RATE, chunk)

    return Case(
        "log-mel of 10 s, Kaldi, 1000 chunks of 10 ms",
        ours,
        _fbank(theirs),
        _bytes(waveform, spec),
        "80 mels; both give a frame as soon as it can be made",
        absences({KALDI: "kaldi_native_fbank"}),
    )


def _fbank(feed: Callable[[Any], None]) -> dict[str, Call]:
    if util.find_spec("kaldi_native_fbank") is None:
        return {}
    import kaldi_native_fbank

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = RATE
    options.mel_opts.num_bins = MelSpec.kaldi().n_mels

    def call() -> int:
        fbank = kaldi_native_fbank.OnlineFbank(options)
        feed(fbank)
        fbank.input_finished()
        return int(fbank.num_frames_ready)

    return {KALDI: call}
