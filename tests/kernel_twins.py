"""The compiled kernels in each instruction set of this processor, or one skipped case that says why there are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from chiasm import kernels
from chiasm.kernels import _select


def instruction_sets() -> list[Any]:
    """Parameters for a test."""
    if _select.compiled is None:
        return [pytest.param("none", marks=pytest.mark.skip(reason=str(kernels.why_not())))]
    return [_parameter(name) for name in ("plain", "avx2", "avx512", "avx512-vnni")]


def _parameter(name: str) -> Any:
    try:
        with using(name):
            return pytest.param(name)
    except ValueError:
        return pytest.param(name, marks=pytest.mark.skip(reason=f"this processor has no {name}"))


@contextmanager
def using(name: str) -> Iterator[Any]:
    """The compiled kernels, restricted to one instruction set."""
    assert _select.compiled is not None
    _select.compiled.use_instructions(name)
    try:
        yield _select.compiled
    finally:
        _select.compiled.use_instructions()
