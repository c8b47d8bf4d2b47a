"""Parts open beside each other, are given out in the order that was asked for, and never before they were checked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from bundles import tiny_inputs, with_external
from chiasm.runtime import bundle as opening
from chiasm.runtime import load, sessions
from chiasm.runtime.backends import Backend, Session, SessionOptions, open_backend
from chiasm.runtime.bundle import Bundle, open_bundle
from chiasm.runtime.errors import BackendError, HashError
from chiasm.runtime.sessions import Sessions
from chiasm.runtime.values import OnnxGraph, TensorSpec

PARTS = ("text", "image", "radar", "heads")


class Watched:
    """ONNX Runtime, seen opening: in which threads, and what was closed. Two graphs wait for each other."""

    name = "ort"

    def __init__(self, *, together: bool = True, refuses: Sequence[str] = ()) -> None:
        self.together, self.refuses = together, refuses
        self.threads: list[int] = []
        self.closed = 0
        self._real: Backend = open_backend("ort")
        self._pair = threading.Barrier(2, timeout=20.0)

    def precisions(self) -> tuple[str, ...]:
        return self._real.precisions()

    def open(self, graph: OnnxGraph, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Session:
        assert graph.origin is not None
        self.threads.append(threading.get_ident())
        if self.together:
            self._pair.wait()
        if graph.origin.part in self.refuses:
            raise BackendError(f"no {graph.origin.part}")
        session = self._real.open(graph, inputs, outputs)
        real = session.close

        def close() -> None:
            self.closed += 1
            real()

        session.close = close  # type: ignore[method-assign]
        return session

    def close(self) -> None:
        self._real.close()


@pytest.fixture(autouse=True)
def _two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "usable_threads", lambda: 2)


def test_two_parts_open_at_once_and_are_kept_in_the_order_asked_for(tiny: Path) -> None:
    backend, plain = Watched(), Sessions(open_bundle(tiny), open_backend("ort"), "auto")
    made = Sessions(open_bundle(tiny), backend, "auto")
    made.open([*PARTS, "text"])
    assert len(backend.threads) == len(PARTS)
    assert len(set(backend.threads)) == 2
    assert made.opened == PARTS
    feeds = {"state": np.random.default_rng(0).random((1, 24), np.float32)}
    for name, value in plain.get("heads").run(feeds).items():
        np.testing.assert_array_equal(made.get("heads").run(feeds)[name], value)
    made.open(PARTS)
    assert len(backend.threads) == len(PARTS)
    made.close()
    assert backend.closed == len(PARTS)


def test_a_backend_that_opens_one_after_another_does_it_here(tiny: Path) -> None:
    backend = Watched(together=False)
    made = Sessions(open_bundle(tiny), backend, "auto")
    made.open(PARTS)
    assert set(backend.threads) == {threading.get_ident()}
    assert made.opened == PARTS
    made.close()


def test_the_error_is_that_of_the_first_part_that_fails(tiny: Path) -> None:
    backend = Watched(refuses=("radar", "image"))
    made = Sessions(open_bundle(tiny), backend, "auto")
    with pytest.raises(BackendError, match="no image"):
        made.open(PARTS)
    made.close()
    assert backend.closed == 2


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """Large weights of the radar's encoder, in which a byte is not what it was."""
    monkeypatch.setattr(opening, "INLINE", 0)
    monkeypatch.setattr(opening, "_SMALL", 64)
    bundle = with_external(tmp_path, "radar.weights")
    file = bundle.path / "parts/radar.weights"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    return bundle


def test_nobody_gets_a_session_of_damaged_weights(damaged: Bundle) -> None:
    backend = Watched()
    made = Sessions(damaged, backend, "auto")
    with pytest.raises(HashError, match=r"radar\.weights"):
        made.open(PARTS)
    assert len(backend.threads) == len(PARTS)  # they were opened before the hash was known
    assert backend.closed == len(PARTS)
    assert made.opened == ()
    with pytest.raises(HashError, match=r"radar\.weights"):
        made.get("radar")
    with pytest.raises(HashError, match=r"radar\.weights"):
        load(damaged.path)


def test_weights_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "INLINE", 0)
    hashed: list[Path] = []
    real = opening._hash
    monkeypatch.setattr(opening, "_hash", lambda path: (hashed.append(path), real(path))[1])
    bundle = with_external(tmp_path, "radar.weights")
    with load(bundle.path) as pipeline:
        whole = pipeline(**tiny_inputs()).embedding
    assert hashed == [bundle.path / "parts/radar.weights"]
    monkeypatch.setattr(opening, "INLINE", 2**20)
    with load(bundle.path, threads=1) as pipeline:
        np.testing.assert_array_equal(pipeline(**tiny_inputs()).embedding, whole)


def test_a_graph_that_falls_back_is_checked_as_well(damaged: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was chosen for the radar cannot run; what runs in its place has other files, and those count."""
    choice = sessions.Choice("fp32", "gone")
    made = Sessions(damaged, open_backend("ort", SessionOptions(threads=1)), "auto", choices={"radar": choice})
    with pytest.raises(HashError, match=r"radar\.weights"):
        made.open(PARTS)
    made.close()
