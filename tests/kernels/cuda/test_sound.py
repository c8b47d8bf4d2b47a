"""Log-mel by the kernels for the GPU, their bodies run on this CPU, against the CPU's function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from chiasm import kernels
from chiasm.kernels import KernelError, MelSpec, cuda
from chiasm.kernels.cuda.sound import radices_of
from emulated import EmulatedDriver, GpuArray, on_cpu

SPECS = {
    "whisper": MelSpec.whisper(),
    "kaldi": MelSpec.kaldi(40),
    "loud": MelSpec.kaldi(23, gain=32768.0),
    "ast": MelSpec.ast(),
    "clap": MelSpec.clap(),
    "magnitude": replace(MelSpec.whisper(20), power=1, range=None),
    "odd": MelSpec(8000, 150, 70, 150, 13, window="hamming", norm="slaney", scale="slaney"),
    "long": MelSpec(48000, 1200, 480, 2048, 30),
}


def sound(seconds: float, rate: int, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(time * 2 * np.pi * 440) + 0.05 * rng.normal(size=len(time))).astype(np.float32)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("seconds", [0.1, 0.33])
def test_is_the_cpus(gpu: EmulatedDriver, name: str, seconds: float) -> None:
    spec = SPECS[name]
    waveform = sound(seconds, spec.sample_rate)
    expected = kernels.log_mel(waveform, spec)
    made = on_cpu(cuda.log_mel(GpuArray(waveform), spec))
    assert made.shape == expected.shape
    assert np.allclose(made, expected, rtol=1e-6, atol=1e-6)


def test_silence_and_a_click(gpu: EmulatedDriver) -> None:
    waveform = np.zeros(4000, np.float32)
    waveform[2000] = 1.0
    for spec in (SPECS["whisper"], SPECS["kaldi"]):
        made = on_cpu(cuda.log_mel(GpuArray(waveform), spec))
        assert np.allclose(made, kernels.log_mel(waveform, spec), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(gpu: EmulatedDriver, value: float) -> None:
    waveform = sound(0.2, 16000)
    waveform[1234] = value
    with pytest.raises(KernelError, match="waveform: found NaN or an infinite"):
        cuda.log_mel(GpuArray(waveform), SPECS["whisper"])
    cuda.log_mel(GpuArray(waveform), SPECS["whisper"], check=False)


@pytest.mark.parametrize("waveform", [np.zeros(10, np.float32), np.zeros(4000), np.zeros((2, 4000), np.float32)])
def test_what_cannot_be(gpu: EmulatedDriver, waveform: Any) -> None:
    """Refused in the same words as on a CPU."""
    with pytest.raises(KernelError) as first:
        cuda.log_mel(GpuArray(waveform), SPECS["kaldi"])
    with pytest.raises(KernelError) as second:
        kernels.log_mel(waveform, SPECS["kaldi"])
    assert str(first.value) == str(second.value)


def test_radices() -> None:
    assert radices_of(400) == (4, 4, 5, 5)
    assert radices_of(2) == (2,)
    assert radices_of(2**3 * 3**2 * 5) == (4, 2, 3, 3, 5)
