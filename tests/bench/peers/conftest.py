"""A work folder of tiny models, made once."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's picture tower, a few channels wide, with its bundle."""
    for name in ("torch", "transformers", "onnxruntime", "PIL"):
        pytest.importorskip(name, reason="the races need it")
    from chiasm.bench.peers.works import WORKS, made

    folder = tmp_path_factory.mktemp("races")
    made(WORKS["vit-b32"], folder, "tiny")
    return folder
