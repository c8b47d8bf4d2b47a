from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path


def test_for_a_person(chiasm: Callable, tiny: Path) -> None:
    outcome = chiasm("inspect", tiny)
    assert (outcome.code, outcome.err) == (0, "")
    for word in ("modalities", "image", "radar", "fuse.adaptive", "adaptive (default)", "siren_unseen", "64x64"):
        assert word in outcome.out


def test_for_a_program(chiasm: Callable, tiny: Path) -> None:
    facts = json.loads(chiasm("inspect", tiny, "--json").out)
    assert [modality["name"] for modality in facts["modalities"]] == ["image", "text", "audio", "radar"]
    assert facts["bytes"] == sum(path.stat().st_size for path in (tiny / "parts").iterdir())
    assert facts["verify"] is None


def test_the_verification_is_shown_when_there_is_one(chiasm: Callable, tiny: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "verified"
    shutil.copytree(tiny, bundle)
    (bundle / "verify.json").write_text('{"format": "chiasm-verify", "passed": true}')
    assert json.loads(chiasm("inspect", bundle, "--json").out)["verify"]["passed"] is True
    assert "verification: passed" in chiasm("inspect", bundle).out


def test_a_damaged_manifest_is_one_line(chiasm: Callable, tiny: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "damaged"
    shutil.copytree(tiny, bundle)
    (bundle / "manifest.json").write_bytes((bundle / "manifest.json").read_bytes()[:-40])
    outcome = chiasm("inspect", bundle)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
