"""Log-mels: the extractors' numbers, the same from NumPy and from C++, and the same from a stream."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, LogMel, MelSpec, _select, level_mel, log_mel, reference
from chiasm.kernels.mel import filter_bank, mel_tables, mel_window
from chiasm.kernels.sound import mel_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import instruction_sets, using

Array = np.ndarray[Any, Any]
SIZES = sorted(
    2 * 2**a * 3**b * 5**c for a in range(8) for b in range(4) for c in range(4) if 2**a * 3**b * 5**c <= 512
)
seeds = st.integers(0, 2**32 - 1)


def random_spec(rng: np.random.Generator) -> MelSpec:
    def either(*options: Any) -> Any:
        return options[rng.integers(len(options))]

    fft_size = either(*SIZES)
    frame_length = int(rng.integers(1, fft_size + 1))
    rate = either(8000, 16000, 22050, 44100)
    fmin = float(rng.uniform(0, rate / 4))
    return MelSpec(
        rate, frame_length, int(rng.integers(1, 2 * frame_length + 1)), fft_size, int(rng.integers(1, 20)),
        window=either("hann", "hamming", "povey", "rectangular"), periodic=either(True, False),
        fmin=fmin, fmax=either(None, float(rng.uniform(fmin + 10, rate / 2))),
        scale=either("htk", "kaldi", "slaney"), triangles=either("hertz", "mel"), norm=either("none", "slaney"),
        gain=either(1.0, 0.5, 32768.0), remove_dc=either(True, False), preemphasis=either(0.0, 0.97),
        centre=either(True, False), drop_last=either(True, False, False), power=either(1, 2),
        log=either("ln", "log10", "dB"), floor=either(1e-10, 2.0**-23), range=either(None, None, 3.0, 20.0),
        mean=float(rng.normal()), std=float(rng.uniform(0.5, 2)), layout=either("frames-first", "mels-first"),
    )  # fmt: skip


def sound(rng: np.random.Generator, samples: int) -> Array:
    """Noise, or a tone in a little noise, or silence with a click."""
    kind = rng.integers(3)
    if kind == 0:
        return (rng.standard_normal(samples) * 0.2).astype(np.float32)
    if kind == 1:
        tone = np.sin(np.arange(samples) * rng.uniform(0.01, 3.0))
        return (0.7 * tone + 1e-3 * rng.standard_normal(samples)).astype(np.float32)
    silence = np.zeros(samples, np.float32)
    silence[rng.integers(samples)] = 0.9
    return silence


def frames(implementation: Any, waveform: Array, spec: MelSpec, threads: int = 1) -> Array:
    out = np.full(spec.shape(len(waveform)), np.nan, np.float32)
    plan = mel_plan(spec, implementation)
    assert implementation.mel_frames(plan, waveform, spec.start, spec.layout == "mels-first", threads, out)
    return out


def level(implementation: Any, values: Array, spec: MelSpec) -> Array:
    values = values.copy()
    implementation.mel_level(values, math.inf if spec.range is None else spec.range, spec.mean, spec.std)
    return values


@pytest.mark.parametrize("name", instruction_sets())
def test_compiled_is_the_reference(name: str) -> None:
    """2,000 random front ends. Of the logarithm, 1e-6 of its size or of its unit; of the rest, the same bits."""
    with using(name) as compiled:
        for seed in range(2000):
            rng = np.random.default_rng(seed)
            spec = random_spec(rng)
            waveform = sound(rng, spec.least_samples + int(rng.integers(0, 6 * spec.hop)))
            ours, theirs = frames(compiled, waveform, spec), frames(reference, waveform, spec)
            assert (np.abs(ours - theirs) <= 1e-6 * (np.abs(theirs) + spec.log_factor)).all(), (seed, spec)
            assert (level(compiled, theirs, spec) == level(reference, theirs, spec)).all(), (seed, spec)


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("fft_size", [2, 4, 6, 8, 10, 30, 50, 128, 180, 250, 400, 486, 512, 1250, 4096])
def test_every_size_of_transform(name: str, fft_size: int) -> None:
    """Single powers of noise are NumPy's."""
    noise = np.random.default_rng(fft_size).standard_normal(fft_size).astype(np.float32)
    powers = np.abs(np.fft.rfft(noise.astype(np.float64))) ** 2
    with using(name) as compiled:
        for k in {0, 1, fft_size // 4, fft_size // 2}:
            one = np.array([k], np.int32), np.array([1], np.int32), np.array([1.0])
            plan = compiled.Mel(fft_size, fft_size, np.ones(fft_size), *one, 1.0, False, 0.0, False, 1e-30, 1.0)
            out = np.empty((1, 1), np.float32)
            assert compiled.mel_frames(plan, noise, 0, False, 1, out)
            assert out[0, 0] == pytest.approx(math.log(powers[k]), abs=1e-6)


@settings(max_examples=300, deadline=None)
@given(seed=seeds, cuts=st.lists(st.integers(0, 400), max_size=12), threads=st.sampled_from([1, 3]))
def test_chunks_give_the_frames_of_the_whole(seed: int, cuts: list[int], threads: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_spec(rng)
    waveform = sound(rng, spec.least_samples + int(rng.integers(0, 5 * spec.hop)))
    whole = log_mel(waveform, spec, threads=threads)
    stream = LogMel(spec, threads=threads)
    for _ in range(2):  # finish begins anew
        edges = np.minimum(np.cumsum([0, *cuts]), waveform.size)
        parts = [stream.push(waveform[a:b]) for a, b in pairwise(edges)]
        parts += [stream.push(waveform[edges[-1] :]), stream.finish()]
        joined = np.concatenate(parts, axis=1 if spec.layout == "mels-first" else 0)
        if spec.range is not None:
            joined = level_mel(np.ascontiguousarray(joined), spec)
        assert joined.shape == whole.shape
        assert (joined == whole).all()


def test_a_stream_gives_a_frame_as_soon_as_its_samples_are_there() -> None:
    spec = MelSpec.kaldi(8)
    stream = LogMel(spec)
    silence = np.zeros(399, np.float32)
    assert stream.push(silence).shape == (0, 8)
    assert stream.push(silence[:1]).shape == (1, 8)
    assert stream.push(silence[:159]).shape == (0, 8)
    assert stream.push(silence[:161]).shape == (2, 8)
    assert stream.finish().shape == (0, 8)


def test_a_stream_keeps_no_more_than_the_overlap() -> None:
    stream = LogMel(MelSpec.whisper())
    chunk = np.zeros(1000, np.float32)
    for _ in range(50):
        stream.push(chunk)
    assert stream._kept < 600
    assert stream._buffer.size < 1600


def test_a_stream_that_heard_nonsense_begins_anew() -> None:
    spec = MelSpec.kaldi(8)
    stream = LogMel(spec)
    noise = sound(np.random.default_rng(1), 2000)
    broken = noise.copy()
    broken[1000] = np.inf
    with pytest.raises(KernelError, match="NaN or an infinite"):
        stream.push(broken)
    assert (stream.push(noise) == log_mel(noise, spec)).all()


@pytest.mark.parametrize("name", instruction_sets())
def test_threads_and_neighbours_change_no_bit(name: str) -> None:
    rng = np.random.default_rng(5)
    waveform = sound(rng, 9000)
    with using(name) as compiled:
        for spec in (MelSpec.whisper(), MelSpec.kaldi()):
            whole = frames(compiled, waveform, spec)
            for threads in (2, 3, 7, 100):
                assert (frames(compiled, waveform, spec, threads) == whole).all()
            other = replace(spec, layout="frames-first" if spec.layout == "mels-first" else "mels-first")
            assert (whole == frames(compiled, waveform, other).T).all()


def test_kept_plans_are_of_the_backend_in_use() -> None:
    spec = MelSpec.kaldi(5)
    waveform = sound(np.random.default_rng(2), 4000)
    assert np.allclose(log_mel(waveform, spec), frames(reference, waveform, spec), rtol=1e-6, atol=1e-6)


def test_out_is_written_and_returned() -> None:
    spec = MelSpec.ast()
    waveform = sound(np.random.default_rng(3), 8000)
    padded = np.zeros((64, 128), np.float32)
    rows = padded[: spec.frames(8000)]
    assert log_mel(waveform, spec, out=rows) is rows
    assert (rows == log_mel(waveform, spec)).all()
    assert (padded[len(rows) :] == 0).all()


def test_levelling_in_place() -> None:
    spec = MelSpec.whisper()
    logs = np.random.default_rng(4).uniform(-12, 2, (80, 30)).astype(np.float32)
    expected = (np.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0
    assert level_mel(logs, spec) == pytest.approx(expected, abs=1e-6)
    assert level_mel(logs, spec, out=logs) is logs
    assert logs == pytest.approx(expected, abs=1e-6)


def tones(rate: int, seconds: float) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    t = np.arange(int(rate * seconds)) / rate
    voice = 0.6 * np.sin(2 * np.pi * 120 * t) ** 9 * (1.1 + np.sin(2 * np.pi * 3 * t)) + 1e-4 * rng.standard_normal(
        t.size
    )
    sounds = {
        "noise": 0.1 * rng.standard_normal(t.size),
        "a tone": 0.5 * np.sin(2 * np.pi * 440 * t),
        "a voice of a kind": np.clip(voice, -1, 1),
        "silence": np.zeros(t.size),
    }
    return {name: samples.astype(np.float32) for name, samples in sounds.items()}


def close(ours: Array, theirs: Array, full_scale: float) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-4 * full_scale


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("kind", sorted(tones(8000, 0.01)))
def test_is_whispers_extractor(kind: str, mels: int) -> None:
    transformers = pytest.importorskip("transformers", reason="the extractor is transformers'")
    extractor = transformers.WhisperFeatureExtractor(feature_size=mels, chunk_length=3)
    waveform = tones(16000, 3.0)[kind]
    theirs = extractor(waveform, sampling_rate=16000, return_tensors="np").input_features[0]
    close(log_mel(waveform, MelSpec.whisper(mels)), theirs, 2.0)


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
@pytest.mark.parametrize("kind", sorted(tones(8000, 0.01)))
def test_is_the_spectrogram_transformers_extractor(kind: str) -> None:
    transformers = pytest.importorskip("transformers", reason="the extractor is transformers'")
    waveform = tones(16000, 2.0)[kind]
    spec = MelSpec.ast()
    theirs = transformers.ASTFeatureExtractor()(waveform, sampling_rate=16000, return_tensors="np").input_values[0]
    count = spec.frames(waveform.size)
    close(log_mel(waveform, spec), theirs[:count], 2.0)
    assert theirs[count:] == pytest.approx(-spec.mean / spec.std)  # what the caller pads with


@pytest.mark.parametrize(("truncation", "bank"), [("fusion", "htk"), ("rand_trunc", "slaney")])
@pytest.mark.parametrize("kind", sorted(tones(8000, 0.01)))
def test_is_claps_extractor(kind: str, truncation: str, bank: str) -> None:
    transformers = pytest.importorskip("transformers", reason="the extractor is transformers'")
    waveform = tones(48000, 2.0)[kind]
    extractor = transformers.ClapFeatureExtractor(truncation=truncation, max_length_s=2)
    theirs = extractor(waveform, sampling_rate=48000, return_tensors="np").input_features[0, 0]
    close(log_mel(waveform, MelSpec.clap(bank)), theirs, 100.0)


@pytest.mark.parametrize("gain", [1.0, 32768.0])
def test_is_kaldis_fbank(gain: float) -> None:
    fbank = pytest.importorskip("kaldi_native_fbank", reason="Kaldi's own numbers: pip install kaldi-native-fbank")
    waveform = tones(16000, 1.0)["noise"]
    options = fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 80
    kaldi = fbank.OnlineFbank(options)
    kaldi.accept_waveform(16000, waveform * np.float32(gain))
    theirs = np.stack([kaldi.get_frame(i) for i in range(kaldi.num_frames_ready)])
    close(log_mel(waveform, MelSpec.kaldi(gain=gain)), theirs, 20.0)


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
@pytest.mark.parametrize("scale", ["htk", "kaldi", "slaney"])
@pytest.mark.parametrize("norm", ["none", "slaney"])
@pytest.mark.parametrize("triangles", ["hertz", "mel"])
def test_filter_banks_are_transformers(scale: str, norm: str, triangles: str) -> None:
    utils = pytest.importorskip("transformers.audio_utils", reason="compares with transformers")
    spec = MelSpec(
        16000, 400, 160, 512, 40, fmin=30.0, fmax=7000.0, scale=scale, norm=norm, triangles=triangles, centre=False
    )
    theirs = utils.mel_filter_bank(
        257,
        40,
        30.0,
        7000.0,
        16000,
        None if norm == "none" else norm,
        scale,
        triangularize_in_mel_space=triangles == "mel",
    )
    assert np.allclose(filter_bank(spec), theirs.T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(
    ("window", "theirs"), [("hann", "hann"), ("hamming", "hamming"), ("povey", "povey"), ("rectangular", "boxcar")]
)
def test_windows_are_transformers(window: str, theirs: str, periodic: bool) -> None:
    utils = pytest.importorskip("transformers.audio_utils", reason="compares with transformers")
    spec = MelSpec(16000, 400, 160, 512, 40, window, periodic)
    assert np.allclose(mel_window(spec), utils.window_function(400, theirs, periodic), atol=1e-12)


def test_tables_are_kept_and_not_writeable() -> None:
    tables = mel_tables(MelSpec.whisper())
    assert mel_tables(MelSpec.whisper()) is tables
    assert tables.count.sum() == tables.weight.size
    for array in (tables.window, tables.first, tables.count, tables.weight):
        assert not array.flags.writeable


def test_counts_of_frames() -> None:
    whisper, kaldi = MelSpec.whisper(), MelSpec.kaldi()
    assert [whisper.frames(n) for n in (200, 201, 319, 320, 480000)] == [0, 1, 1, 2, 3000]
    assert whisper.shape(480000) == (80, 3000)
    assert [kaldi.frames(n) for n in (399, 400, 559, 560, 160000)] == [0, 1, 1, 2, 998]
    assert MelSpec.clap().shape(480000) == (1001, 64)
    assert MelSpec.kaldi(sample_rate=8000).fft_size == 256


@settings(max_examples=300, deadline=None)
@given(seed=seeds)
def test_least_samples_is_the_least(seed: int) -> None:
    spec = random_spec(np.random.default_rng(seed))
    assert spec.frames(spec.least_samples) >= 1
    short = np.zeros(spec.least_samples - 1, np.float32)
    assert spec.frames(short.size) == 0
    with pytest.raises(KernelError, match=f"N at least {spec.least_samples}"):
        log_mel(short, spec)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"window": "triangle"}, "window"),
        ({"scale": "bark"}, "scale"),
        ({"triangles": "mels"}, "triangles"),
        ({"norm": None}, "norm"),
        ({"log": "log2"}, "log"),
        ({"layout": "nchw"}, "layout"),
        ({"hop": 0}, "hop"),
        ({"hop": 160.0}, "hop"),
        ({"n_mels": True}, "n_mels"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"frame_length": 513}, "frame_length"),
        ({"fft_size": 514}, "fft_size"),
        ({"fft_size": 405}, "fft_size"),
        ({"fft_size": 1 << 21}, "fft_size"),
        ({"fmin": -1.0}, "fmin"),
        ({"fmin": 8000.0}, "fmin"),
        ({"fmax": 8001.0}, "fmax"),
        ({"gain": math.nan}, "gain"),
        ({"preemphasis": 2.0}, "preemphasis"),
        ({"floor": 0.0}, "floor"),
        ({"floor": math.nan}, "floor"),
        ({"range": -1.0}, "range"),
        ({"range": math.inf}, "range"),
        ({"mean": math.inf}, "mean"),
        ({"std": 0.0}, "std"),
        ({"power": 3}, "power"),
    ],
)
def test_a_front_end_that_cannot_be(changes: dict[str, Any], argument: str) -> None:
    with pytest.raises(KernelError) as caught:
        replace(MelSpec.kaldi(), **changes)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("waveform", "found"),
    [
        (np.zeros(1000), "float64"),
        (np.zeros(1000, np.int16), "int16"),
        (np.zeros((1, 1000), np.float32), r"\(1, 1000\)"),
        (np.zeros(2000, np.float32)[::2], "not contiguous"),
        (np.zeros(0, np.float32), r"\(0,\)"),
        (np.full(1000, np.nan, np.float32), "NaN"),
        (np.r_[np.zeros(500), np.inf, np.zeros(499)].astype(np.float32), "NaN or an infinite"),
        ([0.0] * 1000, "list"),
    ],
)
def test_what_is_no_waveform(waveform: Any, found: str) -> None:
    with pytest.raises(KernelError, match=f"waveform: found .*{found}"):
        log_mel(waveform, MelSpec.kaldi())


@pytest.mark.parametrize("name", [*instruction_sets(), pytest.param("reference")])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 1, 399, 700, 1159])
def test_a_sample_that_is_not_finite_is_noticed(name: str, bad: float, at: int) -> None:
    waveform = sound(np.random.default_rng(0), 1200)
    waveform[at] = bad
    for spec in (MelSpec.whisper(), MelSpec.kaldi()):
        out = np.empty(spec.shape(1200), np.float32)
        if name == "reference":
            plan = mel_plan(spec, reference)
            assert not reference.mel_frames(plan, waveform, spec.start, spec.layout == "mels-first", 1, out)
            continue
        with using(name) as compiled:
            plan = mel_plan(spec, compiled)
            assert not compiled.mel_frames(plan, waveform, spec.start, spec.layout == "mels-first", 1, out)


def test_other_arguments_that_cannot_be() -> None:
    waveform, shared, spec = np.zeros(1000, np.float32), np.zeros(960, np.float32), MelSpec.whisper()
    with pytest.raises(KernelError, match=r"out: found float32 of shape \(5, 80\)"):
        log_mel(waveform, spec, out=np.zeros((5, 80), np.float32))
    with pytest.raises(KernelError, match="out: found memory that it shares with waveform"):
        log_mel(shared, spec, out=shared[:480].reshape(80, 6))
    with pytest.raises(KernelError, match="threads: found 0"):
        log_mel(waveform, spec, threads=0)
    with pytest.raises(KernelError, match="chunk: found float64"):
        LogMel(spec).push(np.zeros(5))
    with pytest.raises(KernelError, match="chunk: found"):
        LogMel(spec).push(np.zeros((5, 1), np.float32))
    with pytest.raises(KernelError, match=r"frames: found .*expected .*\(mels, frames\), mels = 80"):
        level_mel(np.zeros((6, 80), np.float32), spec)
    with pytest.raises(KernelError, match="frames: found"):
        level_mel(np.zeros((80, 0), np.float32), spec)
    with pytest.raises(KernelError, match="no range"):
        level_mel(np.zeros((6, 80), np.float32), MelSpec.kaldi())


@pytest.mark.skipif(_select.compiled is None, reason="there are no compiled kernels")
def test_the_compiled_kernel_reads_nothing_that_is_not_there() -> None:
    assert _select.compiled is not None
    spec = MelSpec.kaldi(8)
    plan, waveform, out = mel_plan(spec, _select.compiled), np.zeros(400, np.float32), np.zeros((1, 8), np.float32)
    for start in (-400, 400, 2**62, -(2**62)):
        with pytest.raises(ValueError, match="do not fit the waveform"):
            _select.compiled.mel_frames(plan, waveform, start, False, 1, out)
    with pytest.raises(ValueError, match="out does not fit"):
        _select.compiled.mel_frames(plan, waveform, 0, True, 1, out)
    tables = mel_tables(spec)
    good = {
        "fft_size": 512, "hop": 160, "window": tables.window, "first": tables.first, "count": tables.count,
        "weight": tables.weight, "gain": 1.0, "remove_dc": False, "preemphasis": 0.0, "amplitude": False,
        "floor": 1e-9, "log_factor": 1.0,
    }  # fmt: skip
    for argument, bad, said in (
        ("fft_size", 511, "cannot be"),
        ("fft_size", 14 * 512, "prime factors"),
        ("hop", 0, "cannot be"),
        ("window", np.ones(600), "cannot be"),
        ("window", np.ones(0), "cannot be"),
        ("first", tables.first[1:], "differ in number"),
        ("first", tables.first + np.int32(250), "does not fit the spectrum"),
        ("first", tables.first - np.int32(9), "does not fit the spectrum"),
        ("count", tables.count + np.int32(9), "does not fit the spectrum"),
        ("weight", tables.weight[1:], "or the weights"),
        ("floor", 0.0, "floor cannot be"),
    ):
        with pytest.raises(ValueError, match=said):
            _select.compiled.Mel(**(good | {argument: bad}))
