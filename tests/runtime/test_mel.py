"""The front end of a modality, and the shape of its tensor."""

from __future__ import annotations

from typing import Any

import pytest
from chiasm.kernels import MelSpec
from chiasm.runtime.errors import ManifestError
from chiasm.runtime.manifest import AudioModality, Mel
from chiasm.runtime.mel import mel_spec, sound_shape


def ear(mel: dict[str, Any] | None, **fields: Any) -> AudioModality:
    front = None if mel is None else Mel(**({"frame_length": 400, "hop": 160, "fft_size": 400, "n_mels": 80} | mel))
    usual = {"sample_rate": 16000, "samples": 16000}
    return AudioModality(name="ear", part="ear", rate_hz=1.0, max_age_s=1.0, tokens=(1, 1), mel=front, **usual | fields)


def test_a_waveform_has_no_front_end() -> None:
    assert mel_spec(ear(None)) is None
    assert sound_shape(ear(None)) == (1, 16000)
    assert sound_shape(ear(None, length=32000)) == (1, 32000)


def test_the_kernels_own_front_ends_can_be_said() -> None:
    """Whisper's, for one; the plainest is what is left when nothing is said."""
    whisper = {"fmax": 8000.0, "scale": "slaney", "norm": "slaney", "drop_last": True, "range": 8.0, "mean": -4.0,
               "std": 4.0, "layout": "mels-first"}  # fmt: skip
    assert mel_spec(ear(whisper)) == MelSpec.whisper(80)
    assert mel_spec(ear({})) == MelSpec(16000, 400, 160, 400, 80)


@pytest.mark.parametrize(
    ("mel", "fields", "shape"),
    [
        ({}, {}, (1, 101, 80)),
        ({"layout": "mels-first"}, {}, (1, 80, 101)),
        ({"drop_last": True}, {"length": 480000}, (1, 3000, 80)),
        ({"centre": False}, {}, (1, 98, 80)),
        ({}, {"crops": 1}, (1, 1, 101, 80)),
        ({}, {"crops": 4, "length": 8000}, (1, 4, 51, 80)),
    ],
)
def test_shapes(mel: dict[str, Any], fields: dict[str, Any], shape: tuple[int, ...]) -> None:
    assert sound_shape(ear(mel, **fields)) == shape


def test_what_no_front_end_can_have_is_named() -> None:
    with pytest.raises(ManifestError, match=r"modality ear, mel\.fft_size: found 402, expected even"):
        mel_spec(ear({"fft_size": 402}))
