"""The other edge of the engines: the few numbers that graphs leave in their buffers, as names and Python's numbers.

After a step of a few milliseconds the caches hold weights, and every line of Python costs three times what it costs in
a loop; so this is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ._checks import described
from ._select import kernels
from .errors import KernelError

if TYPE_CHECKING:
    from .reference.readout import Said

__all__ = ["Readout", "readout"]

Floats = NDArray[np.float32]


class Readout(Protocol):
    """What `readout` gives: reads the buffers as they are now."""

    def read(self, present: Mapping[str, object]) -> Said:
        """Copies of all numbers. `present`: the names whose weights and embeddings are wanted, as a dictionary.

        Raises ValueError with the name of the first head whose numbers do not sum to about 1 (0.9 to 1.1), or are NaN.
        """
        ...


def readout(
    choices: Sequence[tuple[str, Floats, Sequence[str]]],
    names: Sequence[str],
    weights: Floats,
    embeddings: Sequence[Floats],
) -> Readout:
    """A reader of buffers that stay where they are, each float32 (N,), C-contiguous.

    `choices`: head, its numbers (L,), and L labels; `weights` (M,) and `embeddings`: one for each of the M `names`.
    Raises KernelError when the arrays do not fit the names.
    """
    for head, shares, labels in choices:
        _check(f"choices[{head}]", shares, len(labels))
        if not labels:
            raise KernelError(f"choices[{head}]", found="no labels", expected="one or more")
    _check("weights", weights, len(names))
    if len(embeddings) != len(names):
        raise KernelError("embeddings", found=len(embeddings), expected=f"{len(names)}, one for each name")
    for name, embedding in zip(names, embeddings, strict=True):
        _check(f"embeddings[{name}]", embedding, None)
    known = tuple((head, shares, tuple(labels)) for head, shares, labels in choices)
    return cast(Readout, kernels.Readout(known, tuple(names), weights, tuple(embeddings)))


def _check(name: str, array: Floats, length: int | None) -> None:
    fits = isinstance(array, np.ndarray) and array.dtype == np.float32 and array.ndim == 1 and array.flags.c_contiguous
    if not fits or (length is not None and len(array) != length):
        wanted = "float32, C-contiguous, of shape " + ("(N,)" if length is None else f"({length},)")
        raise KernelError(name, found=described(array), expected=wanted)
