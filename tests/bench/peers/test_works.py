"""Captures differ where they should; what is made is made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chiasm.bench.peers.works import RATE, WORKS, captures, made
from chiasm.runtime.errors import InputError


def test_captures_are_all_different_but_for_what_is_kept() -> None:
    first, second = captures(WORKS["fused-stream"], 2, "tiny")
    assert first["text"] == second["text"]
    assert not np.array_equal(first["image"], second["image"])
    assert not np.array_equal(first["audio"], second["audio"])
    assert first["audio"].shape == (RATE,)
    assert first["audio"].dtype == np.float32
    assert first["image"].dtype == np.uint8
    new = captures(WORKS["fused"], 2, "tiny")
    assert new[0]["text"] != new[1]["text"]
    assert captures(WORKS["vit-b32"], 1)[0]["image"].shape == (1080, 1920, 3)


def test_what_is_there_is_not_made_again(place: Path) -> None:
    manifest = place / "vit-b32.chiasm" / "manifest.json"
    before, said = manifest.stat().st_mtime_ns, list[str]()
    made(WORKS["vit-b32"], place, "tiny", said.append)
    made(WORKS["vit-b32-network"], place, "tiny", said.append)
    assert manifest.stat().st_mtime_ns == before
    assert said == []


def test_a_folder_of_another_size_is_refused(place: Path) -> None:
    with pytest.raises(InputError, match="models of another size: found tiny, expected real"):
        made(WORKS["vit-b32"], place, "real")
