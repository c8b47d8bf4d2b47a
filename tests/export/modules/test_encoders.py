"""The encoders: shapes, unit embeddings, masks that mask, and a mel front end that agrees with a plain DFT."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the modules are torch modules (pip install 'chiasm[export]')")

from chiasm.export.modules.encoders import (  # noqa: E402
    AudioEncoder,
    ImageEncoder,
    LogMel,
    PatchImageEncoder,
    RadarEncoder,
    TextEncoder,
    mel_filters,
)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("net", "sample", "count"),
    [
        (ImageEncoder(), (torch.zeros(2, 3, 64, 64),), 16),
        (PatchImageEncoder(), (torch.zeros(2, 3, 64, 64),), 16),
        (TextEncoder(vocabulary=50), (torch.ones(2, 32, dtype=torch.long), torch.ones(2, 32, dtype=torch.long)), 8),
        (AudioEncoder(), (torch.zeros(2, 16000),), 8),
        (RadarEncoder(), (torch.zeros(2, 32, 32),), 8),
    ],
    ids=["image", "image in patches", "text", "audio", "radar"],
)
def test_tokens_and_unit_embedding(net: torch.nn.Module, sample: tuple[torch.Tensor, ...], count: int) -> None:
    with torch.no_grad():
        tokens, embedding = net.eval()(*sample)
    assert tokens.shape == (2, count, 128)
    assert embedding.shape == (2, 128)
    assert torch.isfinite(tokens).all()
    assert torch.allclose(embedding.norm(dim=1), torch.ones(2), atol=1e-3)


def test_padding_does_not_change_a_text() -> None:
    net = TextEncoder(vocabulary=50).eval()
    ids = torch.randint(3, 50, (1, 32))
    mask = (torch.arange(32) < 7).long()[None]
    other = torch.where(mask > 0, ids, torch.randint(3, 50, (1, 32)))
    with torch.no_grad():
        first, second, short = net(ids, mask)[0], net(other, mask)[0], net(ids[:, :7], mask[:, :7])[0]
    assert torch.allclose(first, second, atol=1e-6)
    assert torch.allclose(first, short, atol=1e-5)


def test_a_text_depends_on_the_order_of_its_words() -> None:
    net = TextEncoder(vocabulary=50).eval()
    ids, mask = torch.arange(3, 35)[None], torch.ones(1, 32, dtype=torch.long)
    with torch.no_grad():
        assert not torch.allclose(net(ids, mask)[1], net(ids.flip(1), mask)[1], atol=1e-4)


def test_log_mel_agrees_with_a_plain_dft() -> None:
    mel = LogMel(mean=-3.0, deviation=2.0)
    wave = np.random.default_rng(1).standard_normal(16000).astype(np.float32) * 0.1
    frames = np.stack([wave[at : at + 512] for at in range(0, 16000 - 511, 256)]).astype(np.float64)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    expected = (np.log(np.maximum(power @ mel_filters(257, 40, 16000, 30.0, 8000.0).T, 1e-5)) + 3.0) / 2.0
    found = mel(torch.from_numpy(wave)[None])[0].numpy().T
    assert found.shape == (61, 40)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_mel_filters_are_triangles_of_unit_area() -> None:
    filters = mel_filters(8193, 40, 16000, 30.0, 8000.0)
    area = filters.sum(axis=1) * (8000.0 / 8192)
    np.testing.assert_allclose(area, 1.0, atol=0.02)
    peaks = filters.argmax(axis=1) * (8000.0 / 8192)
    assert (np.diff(peaks) > 0).all()
    low, high = np.diff(peaks)[:10], np.diff(peaks)[20:] / peaks[20:-1]
    assert np.ptp(low) < 3.0, "evenly spaced below 1 kHz"
    assert np.ptp(high) < 0.01, "evenly spaced ratios above 1 kHz"
    assert math.isclose(filters.min(), 0.0)


def test_silence_is_finite_and_its_own_constant() -> None:
    mel = LogMel(mean=0.0, deviation=1.0)(torch.zeros(1, 16000))
    assert torch.allclose(mel, torch.full_like(mel, math.log(1e-5)))


def test_radar_sees_a_slope() -> None:
    """The same echoes in the opposite order of time are another thing."""
    net = RadarEncoder().eval()
    series = torch.zeros(1, 32, 32)
    series[0, torch.arange(32), torch.arange(32) // 2 + 4] = 1.0
    with torch.no_grad():
        assert not torch.allclose(net(series)[1], net(series.flip(1))[1], atol=1e-3)
