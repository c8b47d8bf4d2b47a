"""The numbers of a decision: the same from Python and from C++, of buffers that change under the reader."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, _select, readout, reference
from hypothesis import given, settings
from hypothesis import strategies as st

Array = np.ndarray[Any, Any]
NAMES = ("image", "text", "audio", "radar")
READERS = [pytest.param(each.Readout, id=name) for name, each in
           (("numpy", reference), ("c++", _select.compiled)) if each is not None]  # fmt: skip


def shares(rng: np.random.Generator, length: int) -> Array:
    made = rng.random(length).astype(np.float32) + np.float32(0.01)
    return made / made.sum()


def case(seed: int) -> tuple[Any, ...]:
    """Heads of one to nine labels, some names, weights, embeddings of any length, an empty one too."""
    rng = np.random.default_rng(seed)
    choices = tuple(
        (f"head {i}", shares(rng, length), tuple(f"label {k}" for k in range(length)))
        for i, length in enumerate(rng.integers(1, 10, rng.integers(0, 5)))
    )
    names = NAMES[: rng.integers(0, 5)]
    embeddings = tuple(rng.standard_normal(rng.integers(0, 20)).astype(np.float32) for _ in names)
    return choices, names, rng.random(len(names)).astype(np.float32), embeddings


@pytest.mark.skipif(_select.compiled is None, reason="the extension is not built")
@given(st.integers(0, 2**32), st.sets(st.sampled_from((*NAMES, "stranger"))))
@settings(max_examples=2000, deadline=None)
def test_compiled_is_the_reference(seed: int, present: set[str]) -> None:
    made, there = case(seed), dict.fromkeys(sorted(present), 0.0)
    assert _select.compiled is not None
    ours, theirs = _select.compiled.Readout(*made).read(there), reference.Readout(*made).read(there)
    assert ours == theirs
    assert [list(each) for each in ours] == [list(each) for each in theirs]  # their order too


@pytest.mark.parametrize("made", READERS)
def test_says_what_the_buffers_hold_now(made: Any) -> None:
    hazard, weights = np.array([0.25, 0.5, 0.25], np.float32), np.array([0.75, 0.25], np.float32)
    embeddings = np.arange(3, dtype=np.float32), np.array([7.0], np.float32)
    reader = made((("hazard", hazard, ("clear", "brake", "yield")),), ("image", "text"), weights, embeddings)
    first = reader.read({"text": 0.1, "image": 0.0})
    assert first == (
        {"hazard": {"clear": 0.25, "brake": 0.5, "yield": 0.25}}, {"hazard": "brake"}, {"image": 0.75, "text": 0.25},
        {"image": embeddings[0].tobytes(), "text": embeddings[1].tobytes()},
    )  # fmt: skip
    hazard[:] = 0.5, 0.0, 0.5
    embeddings[1][0] = 8.0
    scores, best, kept, answers = reader.read({"text": 0.1})
    assert best == {"hazard": "clear"}  # the first of equals
    assert kept == {"text": 0.25}
    assert answers == {"text": np.float32(8.0).tobytes()}
    assert first[0]["hazard"]["brake"] == 0.5  # what was read stays as it was
    assert scores["hazard"]["brake"] == 0.0


@pytest.mark.parametrize("made", READERS)
@pytest.mark.parametrize("numbers", [(0.0, 0.0), (np.nan, 1.0), (1.0, np.nan), (np.inf, -np.inf), (0.5, 0.7)])
def test_a_head_without_shares_is_named(made: Any, numbers: tuple[float, float]) -> None:
    good, bad = np.array([0.5, 0.5], np.float32), np.array(numbers, np.float32)
    reader = made((("weather", good, ("a", "b")), ("object", bad, ("a", "b"))), (), np.zeros(0, np.float32), ())
    with pytest.raises(ValueError, match=r"^object$"):
        reader.read({})


@pytest.mark.parametrize("made", READERS)
def test_keeps_the_buffers_and_lets_them_go(made: Any) -> None:
    class Buffer(np.ndarray):  # type: ignore[type-arg]
        pass

    hazard = np.array([0.5, 0.5], np.float32).view(Buffer)
    gone = weakref.ref(hazard)
    reader = made((("hazard", hazard, ("a", "b")),), (), np.zeros(0, np.float32), ())
    del hazard
    gc.collect()
    assert reader.read({})[1] == {"hazard": "a"}
    del reader
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"choices": [("hazard", np.ones(3, np.float32), ("a", "b"))]}, r"choices\[hazard\]"),
        ({"choices": [("hazard", np.ones(2), ("a", "b"))]}, "float32"),
        ({"choices": [("hazard", np.ones(4, np.float32)[::2], ("a", "b"))]}, "C-contiguous"),
        ({"choices": [("hazard", np.ones(0, np.float32), ())]}, "no labels"),
        ({"weights": np.ones(2, np.float32)}, "weights"),
        ({"weights": [1.0]}, "list"),
        ({"embeddings": []}, "one for each name"),
        ({"embeddings": [np.ones((1, 4), np.float32)]}, r"embeddings\[image\]"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], named: str) -> None:
    fine: dict[str, Any] = {"choices": [], "names": ["image"], "weights": np.ones(1, np.float32),
                            "embeddings": [np.ones(4, np.float32)]}  # fmt: skip
    assert readout(**fine).read({"image": 0.0})[2] == {"image": 1.0}
    with pytest.raises(KernelError, match=named):
        readout(**fine | change)


@pytest.mark.skipif(_select.compiled is None, reason="the extension is not built")
def test_the_extension_checks_for_itself() -> None:
    assert _select.compiled is not None
    with pytest.raises(ValueError, match="share for each label"):
        _select.compiled.Readout((("a", np.ones(2, np.float32), ("one",)),), (), np.zeros(0, np.float32), ())
    with pytest.raises(ValueError, match="each name"):
        _select.compiled.Readout((), ("image",), np.zeros(0, np.float32), ())
    with pytest.raises((TypeError, RuntimeError)):
        _select.compiled.Readout((("a", np.ones(2), ("one", "two")),), (), np.zeros(0, np.float32), ())
