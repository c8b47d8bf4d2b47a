from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chiasm.bench.inputs import Captures, capture
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.preprocess import Preparer

NAMES = ("image", "text", "audio", "radar")


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_is_what_the_preprocessing_takes(tiny: Path, name: str) -> None:
    bundle = open_bundle(tiny)
    prepare = Preparer(bundle.manifest, bundle.read)
    for array in prepare(capture(bundle.modality(name), 0)).values():
        assert np.isfinite(array).all()
        assert array.min() < array.max()


@pytest.mark.parametrize("name", NAMES)
def test_seeded_and_different_from_one_to_the_next(tiny: Path, name: str) -> None:
    modality = open_bundle(tiny).modality(name)
    again, other, elsewhere = capture(modality, 0), capture(modality, 1), capture(modality, 0, seed=1)
    first = capture(modality, 0)
    np.testing.assert_array_equal(first.data, again.data)
    assert not np.array_equal(first.data, other.data)
    assert not np.array_equal(first.data, elsewhere.data)


def test_the_ring_comes_round_with_new_packets(tiny: Path) -> None:
    captures = Captures(open_bundle(tiny).manifest.modalities, 2)
    first, again = captures.packet("image", 0, 1.0), captures.packet("image", 2, 5.0)
    assert first.data is again.data
    assert (first.time_s, again.time_s) == (1.0, 5.0)
    assert list(captures.all(0)) == list(NAMES)
