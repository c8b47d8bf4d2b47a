"""Top-k: the same rows and the same bits from NumPy and from every instruction set, and the right ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, Memory, _select, reference, similarity_topk
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import instruction_sets, using

Array = np.ndarray[Any, Any]
DTYPES = ("float32", "float16", "int8")


def vectors(rng: np.random.Generator, rows: int, width: int) -> Array:
    """Normal numbers, some rows alike, some of zeros."""
    made = rng.standard_normal((rows, width)).astype(np.float32)
    made[rng.integers(rows, size=rows // 4)] = made[rng.integers(rows)]
    made[rng.integers(rows, size=rows // 8)] = 0
    return made


def raw(rng: np.random.Generator, dtype: str, rows: int, width: int) -> Array:
    """Whatever bits there are: subnormal, infinite, NaN, -128."""
    made = np.frombuffer(rng.bytes(rows * width * np.dtype(dtype).itemsize), dtype).reshape(rows, width).copy()
    if dtype == "float16" and rng.random() < 0.5:
        made[~np.isfinite(made)] = 1
    if dtype == "float32" and rng.random() < 0.5:
        made[:] = rng.standard_normal(made.shape)
    return made


def topk(
    implementation: Any, dtype: str, queries: Array, rows: Array, factors: Array | None, k: int, threads: int
) -> Any:
    scores = np.full((len(queries), k), np.nan, np.float32)
    indices = np.full((len(queries), k), -1, np.int64)
    if dtype == "int8":
        scales = np.abs(queries).max(axis=1).astype(np.float32)
        shorts = np.clip(np.rint(queries * 9000), -32767, 32767).astype(np.int16)
        implementation.topk_bytes(shorts, scales, rows, factors, threads, scores, indices)
    else:
        implementation.topk_floats(queries, rows, factors, threads, scores, indices)
    return scores, indices


@pytest.mark.parametrize("name", instruction_sets())
def test_compiled_is_the_reference(name: str) -> None:
    """2,000 random searches, bit for bit: rows of any bits and of few different ones, with and without factors."""
    with using(name) as compiled:
        for seed in range(2000):
            rng = np.random.default_rng(seed)
            dtype = DTYPES[seed % 3]
            rows, width = int(rng.integers(1, 60)), int(rng.integers(1, 200))
            memory = raw(rng, dtype, rows, width)
            if rng.random() < 0.5:
                memory = memory[rng.integers(0, 3, rows) % rows]
            queries = rng.standard_normal((int(rng.integers(1, 5)), width)).astype(np.float32)
            factors = None if rng.random() < 0.5 else rng.standard_normal(rows).astype(np.float32)
            call = (dtype, queries, np.ascontiguousarray(memory), factors, int(rng.integers(1, rows + 1)))
            ours, theirs = topk(compiled, *call, int(rng.integers(1, 5))), topk(reference, *call, 1)
            assert (ours[1] == theirs[1]).all(), seed
            assert (ours[0] == theirs[0]).all(), seed


@pytest.mark.parametrize("name", instruction_sets())
def test_every_half_is_read(name: str) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = np.isfinite(halves)
    rows = np.zeros((finite.sum(), 1), np.float16)
    rows[:, 0] = halves[finite]
    with using(name) as compiled:
        scores, indices = topk(compiled, "float16", np.ones((1, 1), np.float32), rows, None, len(rows), 1)
    assert (scores[0] == rows[indices[0], 0].astype(np.float32)).all()
    assert sorted(indices[0]) == list(range(len(rows)))


@pytest.mark.parametrize("name", instruction_sets())
@pytest.mark.parametrize("width", [512, 4096, 4097, 20000])
def test_sums_of_bytes_do_not_overflow(name: str, width: int) -> None:
    rows = np.full((3, width), -128, np.int8)
    rows[1] = 127
    queries = np.full((1, width), -32767, np.int16)
    scores, indices = np.empty((1, 3), np.float32), np.empty((1, 3), np.int64)
    with using(name) as compiled:
        compiled.topk_bytes(queries, np.ones(1, np.float32), rows, None, 1, scores, indices)
    exact = [128 * 32767 * width, 128 * 32767 * width, -127 * 32767 * width]
    assert (scores[0] == np.asarray(exact, np.float32)).all()
    assert indices[0].tolist() == [0, 2, 1]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 80), width=st.integers(1, 90), dtype=st.sampled_from(DTYPES),
    metric=st.sampled_from(["cosine", "dot"]), threads=st.integers(1, 9), data=st.data(),
)  # fmt: skip
def test_are_the_most_similar_rows(
    seed: int, rows: int, width: int, dtype: str, metric: str, threads: int, data: st.DataObject
) -> None:
    """Against float64 over the rows as they are kept: the scores to 1e-6 of their terms, and where the query is rounded
    to 16 bits by half a step of its largest number for each; and no row left out that is better by more."""
    rng = np.random.default_rng(seed)
    k = data.draw(st.integers(1, rows))
    memory, queries = Memory.of(vectors(rng, rows, width), dtype), vectors(rng, 3, width)
    scores, indices = similarity_topk(queries, memory, k, metric=metric, threads=threads)
    kept = memory.rows.astype(np.float64) * (1 if memory.scales is None else memory.scales[:, None])
    exact, terms = queries @ kept.T, np.abs(queries) @ np.abs(kept).T
    steps = np.abs(queries).max(axis=1)[:, None] / 32767 * np.abs(kept).sum(axis=1) * (dtype == "int8")
    if metric == "cosine":
        lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(kept, axis=1)
        exact, terms, steps = (
            np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0) for x in (exact, terms, steps)
        )
    bound = 1e-6 * terms + 0.51 * steps + 1e-12
    for query in range(3):
        assert len(set(indices[query])) == k
        assert (np.abs(scores[query] - exact[query, indices[query]]) <= bound[query, indices[query]]).all()
        best = np.sort(exact[query])[::-1][:k]
        assert (best - scores[query] <= bound[query].max()).all()
        order = [(-score, row) for score, row in zip(scores[query], indices[query], strict=True)]
        assert order == sorted(order)


def test_a_row_finds_itself() -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((500, 64)).astype(np.float32)
    for dtype in DTYPES:
        memory = Memory.of(rows, dtype)
        scores, indices = similarity_topk(rows[::50].copy(), memory, 1)
        assert indices[:, 0].tolist() == list(range(0, 500, 50))
        assert scores[:, 0] == pytest.approx(np.ones(10), abs=2e-3)
        assert len(memory) == 500


def test_equal_scores_come_by_row_whatever_the_threads() -> None:
    rows = np.ones((100, 8), np.float32)
    for threads in (1, 2, 7, 100, 1000):
        scores, indices = similarity_topk(rows[:1], rows, 9, metric="dot", threads=threads)
        assert indices[0].tolist() == list(range(9))
        assert (scores == 8).all()


def test_zeros_are_like_nothing_and_no_number_is_worst() -> None:
    rows = np.array([[0, 0], [1, 0], [np.nan, 0], [-1, 0], [np.inf, np.inf]], np.float32)
    scores, indices = similarity_topk(np.array([[1, -1]], np.float32), rows, 5, metric="dot")
    assert indices[0].tolist() == [1, 0, 3, 2, 4]
    assert scores[0].tolist() == [1, 0, -1, -math.inf, -math.inf]
    scores, indices = similarity_topk(np.zeros((1, 2), np.float32), Memory.of(rows[[0, 1, 3]]), 3)
    assert indices[0].tolist() == [0, 1, 2]
    assert scores[0].tolist() == [0, 0, 0]
    scores, indices = similarity_topk(np.array([[2, 0]], np.float32), Memory.of(rows[[0, 3, 1]], "int8"), 3)
    assert indices[0].tolist() == [2, 0, 1]
    assert scores[0] == pytest.approx([1, 0, -1], abs=1e-6)


def test_norms_and_scales_may_come_with_the_rows() -> None:
    rng = np.random.default_rng(3)
    made = Memory.of(vectors(rng, 50, 20), "int8")
    queries = vectors(rng, 2, 20)
    for metric in ("cosine", "dot"):
        expected = similarity_topk(queries, made, 5, metric=metric)
        for norms in (made.norms, None):
            found = similarity_topk(queries, made.rows, 5, metric=metric, norms=norms, scales=made.scales)
            assert (found[0] == expected[0]).all()
            assert (found[1] == expected[1]).all()
    plain = similarity_topk(queries, made.rows, 5, metric="dot")
    assert (plain[0] == similarity_topk(queries, made.rows, 5, metric="dot", scales=np.ones(50, np.float32))[0]).all()
    twice = Memory(np.ones((2, 4), np.float32), norms=np.array([4, 8], np.float32))
    assert similarity_topk(np.ones((1, 4), np.float32), twice, 2)[0][0].tolist() == [0.5, 0.25]


def test_memory_is_as_exact_as_its_type() -> None:
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((30, 40)).astype(np.float32) * np.float32(10.0) ** rng.integers(-30, 4, (30, 1)).astype(
        np.float32
    )
    assert Memory.of(rows).rows is rows
    bytes_ = Memory.of(rows, "int8")
    assert bytes_.scales is not None
    assert (np.abs(bytes_.rows).max(axis=1) == 127).all()
    assert (np.abs(bytes_.rows * bytes_.scales[:, None] - rows) <= bytes_.scales[:, None] * 0.50001).all()
    halves = Memory.of(rows, "float16")
    assert (halves.rows == rows.astype(np.float16)).all()
    for memory in (bytes_, halves):
        kept = memory.rows.astype(np.float64) * (
            1 if memory.scales is None else memory.scales[:, None].astype(np.float64)
        )
        assert memory.norms == pytest.approx(np.linalg.norm(kept, axis=1), rel=1e-6)


def test_out_is_written_and_returned() -> None:
    rng = np.random.default_rng(5)
    rows, queries = vectors(rng, 40, 16), vectors(rng, 3, 16)
    out = np.empty((3, 4), np.float32), np.empty((3, 4), np.int64)
    found = similarity_topk(queries, rows, 4, out=out)
    assert found[0] is out[0]
    assert found[1] is out[1]
    assert (found[0] == similarity_topk(queries, rows, 4)[0]).all()


QUERIES, ROWS = np.ones((2, 8), np.float32), np.ones((5, 8), np.float32)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"queries": QUERIES.astype(np.float64)}, "queries"),
        ({"queries": QUERIES[0]}, "queries"),
        ({"queries": QUERIES[:, :7].copy()}, "queries"),
        ({"queries": QUERIES[:, ::2]}, "queries"),
        ({"queries": QUERIES[:0]}, "queries"),
        ({"queries": np.full((1, 8), np.nan, np.float32)}, "queries"),
        ({"queries": np.full((1, 8), np.inf, np.float32)}, "queries"),
        ({"queries": [[1.0] * 8]}, "queries"),
        ({"memory": ROWS.astype(np.float64)}, "rows"),
        ({"memory": ROWS.astype(np.uint8)}, "rows"),
        ({"memory": ROWS[::2]}, "rows"),
        ({"memory": ROWS[:0]}, "rows"),
        ({"memory": ROWS[0]}, "rows"),
        ({"memory": "rows"}, "rows"),
        ({"norms": np.ones(4, np.float32)}, "norms"),
        ({"norms": np.ones(5)}, "norms"),
        ({"scales": np.ones(5, np.float32)}, "scales"),
        ({"memory": ROWS.astype(np.int8), "scales": np.ones(4, np.float32)}, "scales"),
        ({"memory": Memory.of(ROWS), "norms": np.ones(5, np.float32)}, "norms, scales"),
        ({"k": 0}, "k"),
        ({"k": 6}, "k"),
        ({"k": 1.0}, "k"),
        ({"k": True}, "k"),
        ({"metric": "euclid"}, "metric"),
        ({"threads": 0}, "threads"),
        ({"threads": "two"}, "threads"),
        ({"out": np.empty((2, 3), np.float32)}, "out"),
        ({"out": (np.empty((2, 3)), np.empty((2, 3), np.int64))}, "out"),
        ({"out": (np.empty((2, 3), np.float32), np.empty((2, 3), np.int32))}, "out"),
        ({"out": (np.empty((3, 2), np.float32), None)}, "out"),
    ],
)
def test_what_cannot_be_searched(changes: dict[str, Any], argument: str) -> None:
    arguments: dict[str, Any] = {"queries": QUERIES, "memory": ROWS, "k": 3}
    with pytest.raises(KernelError) as caught:
        similarity_topk(**(arguments | changes))
    assert caught.value.argument == argument


def test_results_do_not_overwrite_what_is_searched() -> None:
    rows = np.ones((8, 8), np.float32)
    with pytest.raises(KernelError, match="out: found memory that it shares with rows"):
        similarity_topk(rows[:1].copy(), rows, 4, out=(rows[7:, :4], np.empty((1, 4), np.int64)))
    both = np.empty(8, np.int64)
    with pytest.raises(KernelError, match="out: found memory that it shares with indices"):
        similarity_topk(QUERIES[:1], ROWS, 4, out=(both[:2].view(np.float32).reshape(1, 4), both[:4].reshape(1, 4)))


@pytest.mark.parametrize(
    ("made", "dtype", "found"),
    [
        (ROWS.astype(np.float64), "float32", "vectors: found float64"),
        (ROWS[0], "float32", "vectors: found"),
        (ROWS[:0], "int8", "vectors: found"),
        (ROWS, "bfloat16", "dtype: found 'bfloat16'"),
        (np.full((2, 2), np.nan, np.float32), "int8", "vectors: found nan"),
        (np.full((2, 2), -np.inf, np.float32), "float32", "vectors: found inf"),
        (np.full((2, 2), 1e5, np.float32), "float16", "vectors: found 100000.*65504"),
    ],
)
def test_what_cannot_be_remembered(made: Array, dtype: str, found: str) -> None:
    with pytest.raises(KernelError, match=found):
        Memory.of(made, dtype)


@pytest.mark.skipif(_select.compiled is None, reason="there are no compiled kernels")
def test_the_compiled_kernel_reads_nothing_that_is_not_there() -> None:
    assert _select.compiled is not None
    scores, indices = np.empty((2, 3), np.float32), np.empty((2, 3), np.int64)
    good = {"queries": QUERIES, "rows": ROWS, "factors": None, "threads": 1, "scores": scores, "indices": indices}
    bad: list[dict[str, Any]] = [
        {"rows": ROWS[:, :7].copy()}, {"rows": ROWS[:2].copy()}, {"factors": np.ones(4, np.float32)},
        {"scores": scores[:1]}, {"indices": indices[:1]}, {"indices": np.empty((2, 2), np.int64)},
        {"queries": QUERIES[:, :0].copy(), "rows": ROWS[:, :0].copy()},
    ]  # fmt: skip
    for changes in bad:
        with pytest.raises(ValueError, match="fit"):
            _select.compiled.topk_floats(**(good | changes))
    for changes in [*bad, {"scales": np.ones(1, np.float32)}]:
        bytes_ = good | {"scales": np.ones(2, np.float32)} | changes
        bytes_ |= {"queries": bytes_["queries"].astype(np.int16), "rows": bytes_["rows"].astype(np.int8)}
        with pytest.raises(ValueError, match="fit"):
            _select.compiled.topk_bytes(**bytes_)
