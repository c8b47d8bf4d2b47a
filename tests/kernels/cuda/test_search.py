"""Top-k by the kernels for the GPU, their bodies run on this CPU, against the NumPy reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm import kernels
from chiasm.kernels import KernelError, cuda
from emulated import EmulatedDriver, GpuArray, on_cpu
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def memory_of(seed: int, count: int, width: int, dtype: str) -> kernels.Memory:
    """Few different rows, so that scores are equal; some of them zeros."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, width)).astype(np.float32)
    vectors[rng.random(count) < 0.3] = vectors[0]
    vectors[rng.random(count) < 0.05] = 0.0
    return kernels.Memory.of(vectors, dtype)


def there(memory: kernels.Memory) -> cuda.Memory:
    """With the CPU's norms, so that factors are the same bits."""
    arrays = [None if each is None else GpuArray(each) for each in (memory.rows, memory.norms, memory.scales)]
    return cuda.Memory(*arrays)


@relaxed
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float16", "int8"]),
    count=st.integers(1, 1500),
    width=st.integers(1, 150),
    wanted=st.integers(1, 9),
    k=st.integers(1, 40),
    metric=st.sampled_from(["dot", "cosine"]),
)
def test_is_the_references(
    gpu: EmulatedDriver, seed: int, dtype: str, count: int, width: int, wanted: int, k: int, metric: str
) -> None:
    memory = memory_of(seed, count, width, dtype)
    k = min(k, count)
    queries = np.random.default_rng(seed + 1).normal(size=(wanted, width)).astype(np.float32)
    expected = kernels.similarity_topk(queries, memory, k, metric=metric)
    scores, rows = (on_cpu(array) for array in cuda.similarity_topk(GpuArray(queries), there(memory), k, metric=metric))
    if metric == "dot":
        assert (rows == expected[1]).all()
        assert (scores == expected[0]).all()
        return
    # The query's length may differ in its last bit, and with it the score; rows of one score may then change places.
    assert np.abs(scores - expected[0]).max() <= 1e-6
    assert ((rows == expected[1]) | (np.abs(scores - expected[0]) <= 1e-6)).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize(("wanted", "k"), [(1, 4096), (3, 1000), (1, 5000)])
def test_many_wanted(gpu: EmulatedDriver, dtype: str, wanted: int, k: int) -> None:
    """More than a block has room for: several passes."""
    memory = memory_of(5, 5000, 33, dtype)
    queries = np.random.default_rng(6).normal(size=(wanted, 33)).astype(np.float32)
    expected = kernels.similarity_topk(queries, memory, k, metric="dot")
    scores, rows = cuda.similarity_topk(GpuArray(queries), there(memory), k, metric="dot")
    assert (on_cpu(rows) == expected[1]).all()
    assert (on_cpu(scores) == expected[0]).all()
    assert len([name for name, _, _ in gpu.launches if "merge" in name]) == (2 if k > 3840 else 1)


def test_rows_that_are_no_numbers(gpu: EmulatedDriver) -> None:
    vectors = np.ones((50, 8), np.float32)
    vectors[3], vectors[4], vectors[5, 0], vectors[6, 0] = -1.0, 0.0, np.nan, np.inf
    memory = kernels.Memory(vectors)
    queries = np.ones((1, 8), np.float32)
    expected = kernels.similarity_topk(queries, memory, 50, metric="dot")
    scores, rows = cuda.similarity_topk(GpuArray(queries), cuda.Memory(GpuArray(vectors)), 50, metric="dot")
    assert (on_cpu(rows) == expected[1]).all()
    assert (on_cpu(scores) == expected[0]).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_factors_measured_there(gpu: EmulatedDriver, dtype: str) -> None:
    memory = memory_of(7, 300, 70, dtype)
    bare = cuda.Memory(GpuArray(memory.rows), None, None if memory.scales is None else GpuArray(memory.scales))
    queries = np.random.default_rng(8).normal(size=(2, 70)).astype(np.float32)
    expected = kernels.similarity_topk(queries, memory, 10)[0]
    for there_too in (bare, cuda.Memory.of(memory), cuda.Memory.of(kernels.Memory(memory.rows, None, memory.scales))):
        made = on_cpu(cuda.similarity_topk(GpuArray(queries), there_too, 10)[0])
        assert np.abs(made - expected).max() <= 1e-6
    assert [name for name, _, _ in gpu.launches].count("chiasm_cosine_factors") == 3


def test_outputs_of_the_caller(gpu: EmulatedDriver) -> None:
    memory = memory_of(9, 20, 8, "float32")
    out = (GpuArray(np.zeros((1, 5), np.float32)), GpuArray(np.zeros((1, 5), np.int64)))
    assert cuda.similarity_topk(GpuArray(memory.rows[:1]), there(memory), 5, out=out) == out
    assert on_cpu(out[1]).min() >= 0


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"k": 0}, "k"),
        ({"k": 51}, "k"),
        ({"metric": "l2"}, "metric"),
        ({"queries": np.zeros((1, 9), np.float32)}, "queries"),
        ({"queries": np.full((1, 8), np.nan, np.float32)}, "queries"),
    ],
)
def test_what_cannot_be(gpu: EmulatedDriver, arguments: dict[str, Any], argument: str) -> None:
    """Refused in the same words as on a CPU."""
    memory = kernels.Memory(np.ones((50, 8), np.float32))
    given = {"queries": np.zeros((1, 8), np.float32), "k": 5, **arguments}
    with pytest.raises(KernelError) as first:
        cuda.similarity_topk(**{**given, "queries": GpuArray(given["queries"]), "memory": there(memory)})
    with pytest.raises(KernelError) as second:
        kernels.similarity_topk(**given, memory=memory)
    assert str(first.value) == str(second.value)
    assert first.value.argument == argument


def test_memories_that_cannot_be(gpu: EmulatedDriver) -> None:
    with pytest.raises(KernelError, match="rows: found float64"):
        cuda.Memory(GpuArray(np.zeros((3, 4))))
    with pytest.raises(KernelError, match=r"expected a chiasm\.kernels\.cuda\.Memory"):
        cuda.similarity_topk(GpuArray(np.zeros((1, 8), np.float32)), np.zeros((3, 8)), 1)  # type: ignore[arg-type]
