"""How alike two runs are."""

from __future__ import annotations

import numpy as np
from chiasm.export.measure import same_choice


def _runs(*logits: list[float]) -> list[dict[str, np.ndarray]]:
    return [{"logits": np.array([row], np.float32), "key": np.zeros(2, np.float32)} for row in logits]


def test_the_share_of_equal_choices() -> None:
    reference = _runs([0, 1, 2], [3, 1, 2], [0, 5, 4], [9, 1, 2])
    other = _runs([0, 1, 5], [3, 1, 4], [0, 4.5, 4.4], [9, 8, 2])
    assert same_choice(reference, reference) == 1.0
    assert same_choice(reference, other) == 0.75
    assert same_choice(reference, other, "tokens") is None
    assert same_choice([], []) is None
