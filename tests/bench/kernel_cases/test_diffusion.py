"""What is measured of the sampler's kernels does the same as its peers, and all of it runs."""

from __future__ import annotations

import numpy as np
import pytest
from chiasm.bench.kernel_cases import cases

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def test_every_case_runs_and_is_bounded() -> None:
    found = cases("diffusion")
    assert len({case.name for case in found}) == len(found) == 5
    for case in found:
        assert isinstance(case.ours(), np.ndarray)
        assert case.bytes_moved > 0
        assert set(case.wanted) <= {*case.peers, *case.absent}
        for peer in case.peers.values():
            peer()


@pytest.mark.parametrize("name", ["noise given", "DDIM"])
def test_the_peers_take_the_same_step(name: str) -> None:
    pytest.importorskip("diffusers", reason="diffusers' schedulers are the peers")
    (case,) = (case for case in cases("diffusion") if name in case.name)
    theirs = case.peers["diffusers"]()
    assert isinstance(theirs, tuple)
    np.testing.assert_allclose(case.ours(), theirs[0].numpy(), atol=1e-4)


def test_the_picture_is_that_of_the_pipelines() -> None:
    pytest.importorskip("torch", reason="torch is what the pipelines of diffusers run on")
    (case,) = (case for case in cases("diffusion") if "image" in case.name)
    ours, theirs = case.ours(), case.peers["torch + NumPy, as diffusers"]()
    assert isinstance(ours, np.ndarray)
    assert isinstance(theirs, np.ndarray)
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
