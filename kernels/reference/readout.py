"""What a decision says, read with Python alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from numpy.typing import NDArray

__all__ = ["Readout", "Said"]

Floats = NDArray[Any]
Said = tuple[dict[str, dict[str, float]], dict[str, str], dict[str, float], dict[str, bytes]]
"""scores[head][label]; the best label of each head, the first of equals; the weight, and the bytes of the embedding
(float32, native order), of each name that is present."""


class Readout:
    """See `chiasm.kernels.readout`. Numbers are read in place, through views, which cost less than NumPy's scalars."""

    def __init__(
        self, choices: Sequence[tuple[str, Floats, tuple[str, ...]]], names: Sequence[str], weights: Floats,
        embeddings: Sequence[Floats],
    ) -> None:  # fmt: skip
        self._choices = [(name, _view(shares), labels) for name, shares, labels in choices]
        self._weights = _view(weights)
        self._rows = [(place, name, embeddings[place].data) for place, name in enumerate(names)]

    def read(self, present: Mapping[str, object]) -> Said:
        scores: dict[str, dict[str, float]] = {}
        best: dict[str, str] = {}
        for name, view, labels in self._choices:
            shares: Sequence[float] = view.tolist()
            if not 0.9 < sum(shares) < 1.1:  # NaN ends here
                raise ValueError(name)
            scores[name] = dict(zip(labels, shares, strict=True))
            best[name] = labels[shares.index(max(shares))]
        rows = [row for row in self._rows if row[1] in present]
        weights = {name: self._weights[place] for place, name, _ in rows}
        return scores, best, weights, {name: bytes(data) for _, name, data in rows}


def _view(array: Floats) -> memoryview[float]:
    return cast("memoryview[float]", array.data)
