"""The null backend keeps the interface and runs nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundles import tiny_inputs
from chiasm.runtime.backends import available, open_backend
from chiasm.runtime.errors import BackendError
from chiasm.runtime.pipeline import load
from chiasm.runtime.values import OnnxGraph, TensorSpec

IN = (TensorSpec("x", "float32", (1, 3)),)
OUT = (TensorSpec("weights", "float32", (1, 4)), TensorSpec("ids", "int64", (2,)))


def test_outputs_are_the_documented_constants() -> None:
    session = open_backend("null").open(OnnxGraph(b"not a graph"), IN, OUT)
    answer = session.run({"x": np.zeros((1, 3), np.float32)})
    np.testing.assert_array_equal(answer["weights"], np.full((1, 4), 0.25, np.float32))
    np.testing.assert_array_equal(answer["ids"], np.zeros(2, np.int64))


@pytest.mark.parametrize(
    "feeds",
    [{}, {"y": np.zeros((1, 3), np.float32)}, {"x": np.zeros((1, 4), np.float32)}, {"x": np.zeros((1, 3))}],
    ids=["none", "name", "shape", "dtype"],
)
def test_feeds_are_checked(feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(BackendError):
        open_backend("null").open(OnnxGraph(b""), IN, OUT).run(feeds)


def test_a_closed_session_says_so() -> None:
    session = open_backend("null").open(OnnxGraph(b""), IN, OUT)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.run({"x": np.zeros((1, 3), np.float32)})


def test_a_whole_pipeline_runs_on_it(tiny: Path) -> None:
    with load(tiny, backend="null") as pipeline:
        result = pipeline(**tiny_inputs())
        assert pipeline.backend == "null"
        assert sum(result.weights.values()) == pytest.approx(1)
        assert sum(result.scores["hazard"].values()) == pytest.approx(1)
        *_, last = pipeline.generate(text="a bus")
        assert last.picture is not None
        assert last.picture.shape == (64, 64, 3)


def test_it_is_always_available_and_never_chosen_by_itself() -> None:
    assert available()["null"] is None
    assert open_backend("auto").name != "null"


def test_an_unknown_backend_names_the_known() -> None:
    with pytest.raises(BackendError, match="null"):
        open_backend("tpu")
