"""diffusers and the bundle draw the same picture before they are raced."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("diffusers", reason="the decoders are raced beside it")
pytest.importorskip("onnxruntime", reason="the bundle runs on it")

from chiasm.bench.peers import run
from chiasm.bench.peers.race import Pace
from chiasm.bench.peers.works import WORKS, made

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*:{kind}") for kind in ("FutureWarning", "DeprecationWarning", "UserWarning")
]


def test_both_draw_the_same_picture(tmp_path: Path) -> None:
    work = WORKS["turbo-1"]
    made(work, tmp_path, "tiny")
    found = run.race_work(work, tmp_path, Pace(0.01, 1), 1, "tiny", run.PEERS, lambda title, share: None)
    assert [row["name"] for row in found["rows"]] == ["chiasm", "chiasm, FP32", "diffusers eager"]
    fp32 = found["rows"][1]
    assert fp32["cosine"] > 0.9999
    assert fp32["cosine"] > fp32["alike"]
