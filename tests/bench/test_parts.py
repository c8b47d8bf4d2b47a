from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chiasm.bench.parts import try_parts
from chiasm.runtime.errors import BundleError, PrecisionError


def test_every_part_runs(tiny: Path) -> None:
    outcomes = try_parts(tiny, "null")
    assert outcomes["denoiser"] == "runs in fp32 on null"
    assert all(isinstance(outcome, str) for outcome in outcomes.values())


def test_a_part_that_gives_nan_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chiasm.runtime.backends.null import NullSession

    run = NullSession.run

    def broken(self: NullSession, feeds: dict) -> dict:
        outputs = run(self, feeds)
        return {name: value * np.nan if name == "picture" else value for name, value in outputs.items()}

    monkeypatch.setattr(NullSession, "run", broken)
    outcomes = try_parts(tiny, "null")
    assert [name for name, outcome in outcomes.items() if isinstance(outcome, PrecisionError)] == [
        "picture",
        "picture.tiny",
    ]
    assert "not finite" in str(outcomes["picture"])


def test_no_bundle_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        try_parts(tmp_path)
