"""What every test shares: helpers on the path, one thread per library, and a tiny bundle."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.pop("CHIASM_TRACEBACK", None)
sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle that no test may change."""
    from bundles import tiny_bundle

    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT
