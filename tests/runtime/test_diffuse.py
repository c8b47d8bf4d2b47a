"""The sampler against the formula in its docstring, written out with plain sessions and NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from bundles import tiny_inputs
from chiasm.kernels import normal_noise
from chiasm.runtime.errors import BackendError, InputError
from chiasm.runtime.pipeline import Pipeline, load
from chiasm.runtime.values import Generation


@pytest.fixture
def pipeline(tiny: Path) -> Iterator[Pipeline]:
    with load(tiny, threads=1) as pipeline:
        yield pipeline


def _session(path: Path, part: str) -> Any:
    return onnxruntime.InferenceSession(path / f"parts/{part}.fp32.onnx", providers=["CPUExecutionProvider"])


def _state(pipeline: Pipeline, **values: Any) -> np.ndarray:
    pipeline(**values)
    state: np.ndarray = pipeline._sessions.get("fuse.adaptive").run(pipeline._senses._fuser._feeds)["state"].copy()
    return state


def _by_hand(path: Path, state: np.ndarray, times: list[float], seed: int, guidance: float) -> list[np.ndarray]:
    denoiser = _session(path, "denoiser")
    x = normal_noise(seed, 0, (1, 8, 8, 8)).astype(np.float64)
    estimates = []
    for i, t in enumerate(times):
        feeds = {"latents": x.astype(np.float32), "timestep": np.array([t], np.float32), "state": state,
                 "guidance": np.array([guidance], np.float32)}  # fmt: skip
        v = denoiser.run(["prediction"], feeds)[0].astype(np.float64)
        x0 = x - t * v
        estimates.append(x0[0])
        if i + 1 < len(times):
            t_next = times[i + 1]
            x = (1 - t_next) * x0 + t_next * normal_noise(seed, i + 1, (1, 8, 8, 8)).astype(np.float64)
    return estimates


@pytest.mark.parametrize(("steps", "times"), [(1, [1.0]), (2, [1.0, 0.5]), (4, [1.0, 0.75, 0.5, 0.25])])
def test_every_step_follows_the_formula(pipeline: Pipeline, tiny: Path, steps: int, times: list[float]) -> None:
    values = {"text": "a red car", "radar": tiny_inputs()["radar"]}
    found = list(pipeline.generate(**values, steps=steps, seed=5, guidance=1.5))
    expected = _by_hand(tiny, _state(pipeline, **values), times, 5, 1.5)
    assert [step.step for step in found] == list(range(1, steps + 1))
    for step, latents in zip(found, expected, strict=True):
        assert step.steps == steps
        np.testing.assert_allclose(step.latents, latents, atol=1e-4)
    picture = _session(tiny, "picture").run(["picture"], {"latents": found[-1].latents[None]})[0][0]
    grey = np.clip((picture.transpose(1, 2, 0).astype(np.float64) + 1) * 127.5, 0, 255)
    assert found[-1].picture is not None
    assert np.abs(found[-1].picture - grey).max() <= 0.501
    assert found[-1].picture.dtype == np.uint8


def test_only_the_last_step_has_a_picture_unless_asked(pipeline: Pipeline) -> None:
    def pictures(**options: Any) -> list[bool]:
        return [step.picture is not None for step in pipeline.generate(text="a bus", **options)]

    assert pictures() == [False, False, False, True]
    assert pictures(preview=True, steps=2) == [True, True]


def _last(steps: Iterator[Generation]) -> np.ndarray:
    *_, last = steps
    return last.latents


def test_seed_guidance_and_condition_all_matter_and_repeat(pipeline: Pipeline) -> None:
    base = _last(pipeline.generate(text="a bus"))
    np.testing.assert_array_equal(base, _last(pipeline.generate(text="a bus", seed=0, guidance=2.0)))
    for change in ({"seed": 1}, {"guidance": 3.0}, {"text": "a car"}):
        assert not np.array_equal(base, _last(pipeline.generate(**{"text": "a bus"} | change)))


def test_the_decoder_is_chosen_by_name(pipeline: Pipeline, tiny: Path) -> None:
    *_, full = pipeline.generate(text="a bus")
    *_, small = pipeline.generate(text="a bus", decoder="tiny")
    assert full.picture is not None
    assert small.picture is not None
    assert not np.array_equal(full.picture, small.picture)
    with load(tiny, decoder="tiny") as other:
        *_, again = other.generate(text="a bus")
    assert again.picture is not None
    np.testing.assert_array_equal(small.picture, again.picture)


def test_decisions_may_be_made_between_the_steps(pipeline: Pipeline) -> None:
    alone = _last(pipeline.generate(text="a bus"))
    steps = pipeline.generate(text="a bus")
    for step in steps:
        pipeline(**tiny_inputs(3))
        last = step
    np.testing.assert_array_equal(last.latents, alone)


def test_two_generations_side_by_side(pipeline: Pipeline) -> None:
    alone = [_last(pipeline.generate(text=text)) for text in ("a bus", "a car")]
    pairs = list(zip(pipeline.generate(text="a bus"), pipeline.generate(text="a car"), strict=True))
    for step, latents in zip(pairs[-1], alone, strict=True):
        np.testing.assert_array_equal(step.latents, latents)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"steps": 3}, "one of 1, 2, 4"),
        ({"steps": 0}, "one of 1, 2, 4"),
        ({"steps": 4.0}, "one of 1, 2, 4"),
        ({"guidance": 0.5}, "1 to 5"),
        ({"guidance": float("nan")}, "1 to 5"),
        ({"guidance": "strong"}, "1 to 5"),
        ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"seed": 2**128}, "seed"),
        ({"decoder": "huge"}, "full, tiny"),
    ],
    ids=str,
)
def test_what_the_bundle_does_not_have_is_listed_at_once(
    pipeline: Pipeline, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        pipeline.generate(text="a bus", **options)
    assert "denoiser" not in pipeline.runs


def test_the_largest_seed_works(pipeline: Pipeline) -> None:
    assert np.isfinite(_last(pipeline.generate(text="a bus", seed=2**128 - 1, steps=1))).all()


@pytest.mark.parametrize("part", ["denoiser", "picture"])
def test_numbers_that_are_not_finite_are_an_error(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    session = pipeline._sessions.get(part)
    answer = {spec.name: np.full(spec.shape, np.nan, np.float32) for spec in session.outputs}
    monkeypatch.setattr(session, "run", lambda feeds: answer)
    with pytest.raises(BackendError, match="not finite"):
        list(pipeline.generate(text="a bus"))


def test_runs_are_counted(pipeline: Pipeline) -> None:
    list(pipeline.generate(text="a bus", steps=4))
    assert pipeline.runs["denoiser"] == 4
    assert pipeline.runs["picture"] == 1
    assert pipeline.runs["heads"] == 0
