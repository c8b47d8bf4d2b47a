"""Search on a GPU: the rows of a memory there that are most like a query."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import search
from .._checks import no_overlap
from ..errors import KernelError
from ..search import search_arguments
from .arrays import DeviceArray, address, aligned
from .launching import BLOCK, Call, grid_for, opened

__all__ = ["Memory", "similarity_topk"]

_u64, _u32, _ptr = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p
KINDS = {"float32": 0, "float16": 1, "int8": 2}
MOST_ROWS = 2**32 - 1
"""A candidate's row has 32 bits."""
MOST_QUERIES = 1 << 20
MOST_CANDIDATES = 4096
TOGETHER, MOST_TOGETHER = 4, 1024
"""Queries that share a reading of the rows, and how many candidates each has room for then."""
ROWS_OF_BLOCK = {("float32", 1): 128, ("float16", 1): 256, ("int8", 1): 256,
                 ("float32", 4): 64, ("float16", 4): 64, ("int8", 4): 128}  # fmt: skip
"""Rows that a block scores at once (search.cu): 32 threads by those that share a row, times the depth, times 8
warps.
"""
UNIT = {"float32": 32, "float16": 32, "int8": 64}
"""Queries are filled up with zeros to a multiple of this."""


class SearchArguments(ctypes.Structure):
    """search.cu."""

    _fields_ = [
        *((name, _ptr) for name in ("rows", "queries", "factors", "scales", "below", "best")),
        ("count", _u64),
        *((name, _u32) for name in ("width", "stride", "queries_count", "k", "room", "aligned")),
    ]


class MergeArguments(ctypes.Structure):
    """search.cu."""

    _fields_ = [
        *((name, _ptr) for name in ("best", "scores", "indices", "last")),
        ("candidates", _u64),
        *((name, _u32) for name in ("k", "room", "first", "total")),
    ]


class FactorArguments(ctypes.Structure):
    """memory.cu."""

    _fields_ = [
        *((name, _ptr) for name in ("rows", "norms", "scales", "factors")),
        ("count", _u64),
        ("width", _u64),
        ("kind", _u32),
    ]


class QueryArguments(ctypes.Structure):
    """memory.cu."""

    _fields_ = [
        *((name, _ptr) for name in ("queries", "out", "scales", "bad")),
        *((name, _u32) for name in ("count", "rounded", "width", "stride", "unit")),
    ]


class Memory:
    """Rows on the GPU, with what a search needs to know of them; as `chiasm.kernels.Memory`, of arrays that are there.

    They are kept, not copied, and not to be changed. The factors of the cosine are made when one is asked for first.

    Raises:
        KernelError: wrong dtype, shape or stride, scales for rows of floats, no array on the GPU, 2^32 rows or more.
    """

    def __init__(self, rows: Any, norms: Any = None, scales: Any = None, *, stream: Any = None) -> None:
        with opened(stream) as call:
            lengths = None if norms is None else call.view("norms", norms)
            factors = None if scales is None else call.view("scales", scales)
            self.described = search.Memory(call.view("rows", rows), lengths, factors)
        self._owners = (rows, norms, scales)
        if len(self.described) > MOST_ROWS:
            raise KernelError("rows", found=f"{len(self.described)} rows", expected=f"at most {MOST_ROWS}")
        self._factors: DeviceArray | None = None

    @classmethod
    def of(cls, memory: search.Memory, *, stream: Any = None) -> Memory:
        """A copy on the GPU of one in the CPU's memory."""
        with opened(stream) as call:
            norms = np.ones(len(memory), np.float32) if memory.norms is None else memory.norms
            arrays = [memory.rows, norms] + ([] if memory.scales is None else [memory.scales])
            there = [DeviceArray(call.driver.upload(array), array.shape, array.dtype) for array in arrays]
        if memory.norms is None:  # measured there when a cosine asks
            there[1] = None  # type: ignore[call-overload]
        return cls(*there, stream=stream)

    def __len__(self) -> int:
        return len(self.described)

    @property
    def kind(self) -> str:
        """The rows' dtype."""
        return str(self.described.rows.dtype.name)

    def factors(self, call: Call, metric: str) -> int:
        """The address of what a row's dot product is multiplied by; 0 for nothing."""
        known = self.described
        if metric == "dot":
            return address(known.scales)
        if self._factors is None:
            self._factors, made = call.made((len(self),), np.float32)
            arguments = FactorArguments(
                address(known.rows), address(known.norms) or None, address(known.scales) or None, address(made),
                len(self), known.rows.shape[1], KINDS[self.kind],
            )  # fmt: skip
            call.launch("chiasm_cosine_factors", grid_for(len(self), BLOCK // 32), arguments)
        return address(call.view("factors", self._factors))


def similarity_topk(
    queries: Any,
    memory: Memory,
    k: int,
    *,
    metric: str = "cosine",
    out: tuple[Any, Any] | None = None,
    check: bool = True,
    stream: Any = None,
) -> tuple[Any, Any]:
    """float32 (Q, D) → scores float32 (Q, k) and rows int64 (Q, k), as `chiasm.kernels.similarity_topk`.

    The scores are the CPU's bit for bit where query and factors are; these come from float64 sums whose order differs,
    so that a cosine may differ in its last bits. `check` waits for the stream to say whether a query has NaN or
    infinity.

    Raises:
        KernelError: as there, or a memory that is not on the GPU.
        CudaError: no GPU that can be used, or the driver refuses.
    """
    if not isinstance(memory, Memory):
        raise KernelError("memory", found=type(memory).__name__, expected="a chiasm.kernels.cuda.Memory")
    with opened(stream) as call:
        asked = call.view("queries", queries)
        search_arguments(asked, memory.described, k, metric)
        if len(asked) > MOST_QUERIES:
            raise KernelError("queries", found=f"{len(asked)} queries", expected=f"at most {MOST_QUERIES}")
        given = (None, None) if out is None else out
        if not isinstance(given, tuple) or len(given) != 2:
            raise KernelError("out", found=type(out).__name__, expected="a pair of arrays: scores, rows")
        shape = (len(asked), int(k))
        scores, scores_made = call.output("out", given[0], shape, np.float32)
        indices, indices_made = call.output("out", given[1], shape, np.int64)
        known = memory.described
        for array in (scores_made, indices_made):
            no_overlap(array, queries=asked, rows=known.rows, norms=known.norms, scales=known.scales)
        no_overlap(scores_made, indices=indices_made)
        _search(call, memory, asked, metric, (scores_made, indices_made), check)
        return scores, indices


def _search(
    call: Call, memory: Memory, asked: NDArray[Any], metric: str, out: tuple[NDArray[Any], NDArray[Any]], check: bool
) -> None:
    count, width = memory.described.rows.shape
    wanted, k = out[0].shape
    together = TOGETHER if wanted > 1 and k + ROWS_OF_BLOCK[memory.kind, TOGETHER] <= MOST_TOGETHER else 1
    rows_of_block = ROWS_OF_BLOCK[memory.kind, together]
    most = (MOST_TOGETHER if together > 1 else MOST_CANDIDATES) - max(rows_of_block, BLOCK)
    stride = -(-width // UNIT[memory.kind]) * UNIT[memory.kind]
    rounded = -(-wanted // together) * together
    blocks = min(-(-count // rows_of_block), 2 * call.driver.multiprocessors)
    parts = _Scratch(call, rounded, stride, wanted * blocks * min(k, most))
    is_bytes = memory.kind == "int8"
    preparation = QueryArguments(
        address(asked), parts.queries, parts.scales if is_bytes else None, parts.bad, wanted, rounded, width, stride,
        metric == "cosine",
    )  # fmt: skip
    call.driver.clear(parts.bad, 4, call.stream)
    call.launch("chiasm_prepare_queries", grid_for(rounded, BLOCK // 32), preparation)
    rows = memory.described.rows
    packed = aligned(address(rows)) and rows.strides[0] % 16 == 0
    kernel = f"chiasm_topk{'' if together == 1 else together}_{memory.kind}"
    for first in range(0, k, most):
        now = min(most, k - first)
        arguments = SearchArguments(
            address(rows), parts.queries, memory.factors(call, metric) or None, parts.scales if is_bytes else None,
            parts.last if first else None, parts.best, count, width, stride, wanted, now, _power(now + rows_of_block),
            packed,
        )  # fmt: skip
        grid = (blocks, min(rounded // together, 65535), 1)
        call.launch(kernel, grid, arguments, shared=together * arguments.room * 8)
        merge = MergeArguments(
            parts.best, address(out[0]), address(out[1]), parts.last, blocks * now, now, _power(now + BLOCK), first, k
        )
        call.launch("chiasm_topk_merge", (wanted, 1, 1), merge, shared=merge.room * 8)
    if check:
        flag = np.zeros(1, np.uint32)
        call.driver.read(parts.bad, flag, call.stream)
        if flag[0]:
            raise KernelError("queries", found="NaN or infinity", expected="finite numbers")


class _Scratch:
    """Where the parts of a search's memory begin: queries, their scales, the last keys, the candidates, a flag."""

    def __init__(self, call: Call, queries: int, stride: int, candidates: int) -> None:
        sizes = (queries * stride * 4, queries * 4, queries * 8, candidates * 8, 4)
        starts = np.cumsum([0, *(-(-size // 16) * 16 for size in sizes)])
        base = call.scratch(int(starts[-1]))
        self.queries, self.scales, self.last, self.best, self.bad = (base + int(start) for start in starts[:-1])


def _power(least: int) -> int:
    """The first power of two that is not below `least`."""
    return 1 << (least - 1).bit_length()
