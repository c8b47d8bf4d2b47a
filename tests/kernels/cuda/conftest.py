"""The pretended GPU, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulated import COMPILER, EmulatedDriver, compiled


@pytest.fixture(scope="session")
def library(root: Path) -> Path:
    if COMPILER is None:
        pytest.skip("this machine has no C++ compiler to run the CUDA kernels' bodies on a CPU")
    return compiled(root)


@pytest.fixture
def gpu(library: Path, monkeypatch: pytest.MonkeyPatch) -> EmulatedDriver:
    from chiasm.kernels.cuda import driver

    pretended = EmulatedDriver(library)
    monkeypatch.setattr(driver, "_opened", [pretended])
    return pretended
