"""Search: the rows of a memory that are most like a query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import described, float_array, no_overlap, output, thread_count
from ._select import kernels
from .errors import KernelError

__all__ = ["METRICS", "Memory", "search_arguments", "similarity_topk"]

Floats = NDArray[np.float32]
METRICS = ("cosine", "dot")
_DTYPES = ("float32", "float16", "int8")
_SHORT = 32767
_BLOCK = 1 << 20
"""Values that are measured at once, so that a memory is never held twice."""


@dataclass(frozen=True, eq=False)
class Memory:
    """Rows to search, with what a search needs to know of them: `Memory.of(vectors)` makes one.

    `rows`: float32, float16 or int8 (N, D), C-contiguous; kept, not copied, and not to be changed. `norms`: their
    Euclidean lengths (scaled), float32 (N,); None has them measured when a cosine first asks. `scales`: what an int8
    row is multiplied by, float32 (N,); None is 1.

    Raises:
        KernelError: wrong dtype, shape or stride; scales for rows of floats.
    """

    rows: NDArray[Any]
    norms: Floats | None = None
    scales: Floats | None = None

    def __post_init__(self) -> None:
        rows = self.rows
        if (
            not isinstance(rows, np.ndarray)
            or rows.dtype.name not in _DTYPES
            or rows.ndim != 2
            or not rows.size
            or not rows.flags.c_contiguous
        ):
            layout = ", not contiguous" if isinstance(rows, np.ndarray) and not rows.flags.c_contiguous else ""
            expected = "float32, float16 or int8 of shape (N, D), C-contiguous, not empty"
            raise KernelError("rows", found=described(rows) + layout, expected=expected)
        if self.scales is not None:
            if rows.dtype != np.int8:
                raise KernelError("scales", found=f"scales for {rows.dtype} rows", expected="none: only int8 has them")
            float_array("scales", self.scales, (len(rows),))
        if self.norms is not None:
            float_array("norms", self.norms, (len(rows),))

    @classmethod
    def of(cls, vectors: Floats, dtype: str = "float32") -> Memory:
        """float32 (N, D) → a memory of `dtype`: float32 (`vectors` itself), float16, or int8 with a scale for each row.

        The largest magnitude of an int8 row becomes 127. The norms are those of the rows as they are kept.

        Raises:
            KernelError: wrong dtype or shape, an unknown `dtype`, NaN, infinity, or beyond float16.
        """
        float_array("vectors", vectors, None)
        if vectors.ndim != 2 or not vectors.size:
            raise KernelError("vectors", found=described(vectors), expected="float32 of shape (N, D), not empty")
        if dtype not in _DTYPES:
            raise KernelError("dtype", found=repr(dtype), expected=" or ".join(map(repr, _DTYPES)))
        largest = np.maximum(vectors.max(axis=1), -vectors.min(axis=1))  # NaN goes through
        limit = float(np.finfo(dtype).max) if dtype != "int8" else float(np.finfo(np.float32).max)
        if not (largest <= limit).all():
            raise KernelError("vectors", found=f"{largest.max():g}", expected=f"finite numbers up to {limit:g}")
        if dtype != "int8":
            rows = vectors.astype(dtype, copy=False)
            return cls(rows, _norms(rows, None))
        scales = np.maximum(np.where(largest > 0, largest, 1) / np.float32(127), np.finfo(np.float32).tiny)
        rows = np.empty(vectors.shape, np.int8)
        for part in _parts(vectors):
            rows[part] = np.clip(np.rint(vectors[part] / scales[part, None]), -127, 127)
        return cls(rows, _norms(rows, scales), scales)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def cosine_factors(self) -> Floats:
        """What makes a row's dot product with a unit vector a cosine. 0 for a row of zeros: it is like nothing."""
        norms = _norms(self.rows, self.scales) if self.norms is None else self.norms
        scales = np.float32(1) if self.scales is None else self.scales
        factors: Floats = np.zeros(len(self), np.float32)
        return np.divide(scales, norms, out=factors, where=norms > 0)


def _parts(rows: NDArray[Any]) -> list[slice]:
    step = max(1, _BLOCK // rows.shape[1])
    return [slice(first, first + step) for first in range(0, len(rows), step)]


def _norms(rows: NDArray[Any], scales: Floats | None) -> Floats:
    norms = np.empty(len(rows), np.float64)
    for part in _parts(rows):
        block = rows[part].astype(np.float64)
        norms[part] = np.sqrt(np.einsum("ij,ij->i", block, block))
    return (norms if scales is None else norms * np.abs(scales)).astype(np.float32)


def similarity_topk(
    queries: Floats,
    memory: Memory | NDArray[Any],
    k: int,
    *,
    metric: str = "cosine",
    norms: Floats | None = None,
    scales: Floats | None = None,
    threads: int = 1,
    out: tuple[Floats, NDArray[np.int64]] | None = None,
) -> tuple[Floats, NDArray[np.int64]]:
    """float32 (Q, D) → scores float32 (Q, k) and rows int64 (Q, k), the most similar first, equal ones by row.

    `memory`: a `Memory`, or its rows with their `norms` and `scales`; then the norms that "cosine" needs are measured
    in every call that is not given them. `metric`: "cosine", which is 0 for a row or a query of zeros, or "dot".
    `threads`: how many share the rows. The scores are not written out: memory for k is all that is needed.

    Against rows of floats, products and sums are float32 in an order that `chiasm.kernels.reference` lays down; against
    int8, the query is rounded to 16 bits (of its largest magnitude) and the products add up exactly. So every
    processor, and any number of threads, gives the same scores bit for bit. A score that is NaN counts as −infinity.

    Raises:
        KernelError: wrong dtype, shape or stride, NaN or infinity in a query, k beyond the memory, unknown metric.
    """
    if not isinstance(memory, Memory):
        memory = Memory(memory, norms, scales)
    elif norms is not None or scales is not None:
        raise KernelError("norms, scales", found="arrays beside a Memory", expected="none: the Memory has its own")
    search_arguments(queries, memory, k, metric)
    if not np.isfinite(queries).all():
        raise KernelError("queries", found="NaN or infinity", expected="finite numbers")
    scores, indices = _results(out, (len(queries), int(k)), queries, memory)
    factors = memory.cosine_factors if metric == "cosine" else memory.scales
    asked = _unit(queries) if metric == "cosine" else queries
    if memory.rows.dtype == np.int8:
        shorts, short_scales = _shorts(asked)
        kernels.topk_bytes(shorts, short_scales, memory.rows, factors, thread_count(threads), scores, indices)
    else:
        kernels.topk_floats(asked, memory.rows, factors, thread_count(threads), scores, indices)
    return scores, indices


def search_arguments(queries: Any, memory: Memory, k: Any, metric: Any) -> None:
    """Checks all but `out` and whether the queries are finite, for every backend."""
    float_array("queries", queries, None)
    count, width = memory.rows.shape
    if queries.ndim != 2 or not queries.size or queries.shape[1] != width:
        raise KernelError("queries", found=described(queries), expected=f"float32 of shape (Q, {width}), Q at least 1")
    if metric not in METRICS:
        raise KernelError("metric", found=repr(metric), expected=" or ".join(map(repr, METRICS)))
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or not 1 <= k <= count:
        raise KernelError("k", found=repr(k), expected=f"a whole number from 1 to {count}, the rows of the memory")


def _results(out: Any, shape: tuple[int, int], queries: Floats, memory: Memory) -> tuple[Floats, NDArray[np.int64]]:
    given = (None, None) if out is None else out
    if not isinstance(given, tuple) or len(given) != 2:
        raise KernelError("out", found=described(out), expected="a pair of arrays: scores, rows")
    scores, indices = output(given[0], shape, np.float32), output(given[1], shape, np.int64)
    for array in (scores, indices):
        no_overlap(array, queries=queries, rows=memory.rows, norms=memory.norms, scales=memory.scales)
    no_overlap(scores, indices=indices)
    return scores, indices


def _unit(queries: Floats) -> Floats:
    """Queries of length 1; one of zeros stays."""
    exact = queries.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", exact, exact))
    unit: Floats = (exact / np.where(norms > 0, norms, 1.0)[:, None]).astype(np.float32)
    return unit


def _shorts(queries: Floats) -> tuple[NDArray[np.int16], Floats]:
    """Queries as 16-bit whole numbers, and what these are multiplied by."""
    exact = queries.astype(np.float64)
    scales = np.abs(exact).max(axis=1) / _SHORT
    shorts = np.rint(exact / np.where(scales > 0, scales, 1.0)[:, None]).astype(np.int16)
    return shorts, scales.astype(np.float32)
