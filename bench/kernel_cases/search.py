"""Search: the ten most similar rows of a hundred thousand, which are more than the caches hold."""

from __future__ import annotations

from importlib import util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import Memory, similarity_topk
from ...runtime.index import open_usearch
from ...targets import machine
from . import Call, Case, absences

__all__ = ["cases"]

Floats = NDArray[np.float32]
ROWS, WIDTH, TOP, MANY = 100_000, 512, 10, 32
NUMPY, USEARCH, READING = "NumPy float32", "usearch, exact", "reading the rows"
WANTED = {"float32": None, "float16": 1.6, "int8": 3.0}
"""How many times as fast as NumPy on float32, with one query."""
SHARE = 0.7
"""Of the speed at which one thread reads the rows and does nothing else."""


def cases() -> list[Case]:
    """Unit vectors in float32, float16 and int8; one query, then many."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ROWS, WIDTH), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = rng.standard_normal((MANY, WIDTH), np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    made: list[Case] = []
    for dtype, wanted in WANTED.items():
        memory = Memory.of(vectors, dtype)
        made.append(_beside_numpy(vectors, memory, queries[:1], wanted))
        if wanted is not None:
            made.append(_beside_reading(memory, queries[:1]))
    made.append(_beside_numpy(vectors, Memory.of(vectors, "float16"), queries, None))
    return made


def _ours(memory: Memory, queries: Floats, threads: int) -> Call:
    out = np.empty((len(queries), TOP), np.float32), np.empty((len(queries), TOP), np.int64)
    return lambda: similarity_topk(queries, memory, TOP, threads=threads, out=out)


def _name(memory: Memory, queries: Floats) -> str:
    many = f", {len(queries)} queries" if len(queries) > 1 else ""
    return f"top-{TOP} of {ROWS:,} × {WIDTH} {memory.rows.dtype}{many}"


def _beside_numpy(vectors: Floats, memory: Memory, queries: Floats, wanted: float | None) -> Case:
    threads = min(2, machine().cores)
    peers: dict[str, Call] = {NUMPY: lambda: _numpy(vectors, queries)}
    return Case(
        _name(memory, queries),
        _ours(memory, queries, threads),
        {**peers, **_usearch(memory, queries, threads)},
        memory.rows.nbytes,
        f"cosine; {threads} threads; NumPy: matrix product with as many as it takes, argpartition",
        absences({USEARCH: "usearch"}),
        {} if wanted is None else {NUMPY: wanted},
    )


def _beside_reading(memory: Memory, queries: Floats) -> Case:
    words = memory.rows.reshape(-1).view(np.int64)
    return Case(
        f"{_name(memory, queries)}, 1 thread",
        _ours(memory, queries, 1),
        {READING: lambda: words.max()},
        memory.rows.nbytes,
        "cosine; the peer is the largest of the same bytes as int64, by NumPy",
        wanted={READING: SHARE},
    )


def _numpy(vectors: Floats, queries: Floats) -> NDArray[np.int64]:
    scores = queries @ vectors.T if len(queries) > 1 else (vectors @ queries[0])[None]
    among = np.argpartition(scores, -TOP, axis=1)[:, -TOP:]
    order = np.argsort(-np.take_along_axis(scores, among, axis=1), axis=1)
    best: NDArray[np.int64] = np.take_along_axis(among, order, axis=1)
    return best


def _usearch(memory: Memory, queries: Floats, threads: int) -> dict[str, Call]:
    """usearch on the same rows; of int8 its queries are int8 too."""
    if util.find_spec("usearch") is None:
        return {}
    library = open_usearch()
    kind = library.MetricKind.Cos
    scale = 127 / np.abs(queries).max() if memory.rows.dtype == np.int8 else 1.0
    asked: NDArray[Any] = (queries * scale).astype(memory.rows.dtype)
    return {USEARCH: lambda: library.search(memory.rows, asked, TOP, kind, exact=True, threads=threads)}
