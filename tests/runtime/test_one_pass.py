"""One pass: a picture in, a picture out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.kernels import image_to_tensor, latent_to_image, normal_noise
from chiasm.runtime.errors import BackendError, InputError
from chiasm.runtime.pipeline import load
from drawing_bundles import one_pass_bundle

PICTURE = np.random.default_rng(2).integers(0, 256, (33, 70, 3), dtype=np.uint8)


def _by_hand(tint: np.ndarray) -> np.ndarray:
    half = (0.5, 0.5, 0.5)
    source = image_to_tensor(PICTURE, 20, 24, filter="bilinear", mean=half, std=half)
    answer: np.ndarray = np.tanh(source + tint.reshape(3, 1, 1)).repeat(2, axis=1).repeat(2, axis=2)
    return answer


def test_one_step_with_the_picture(tmp_path: Path) -> None:
    with load(one_pass_bundle(tmp_path)) as pipeline:
        (step,) = pipeline.generate(image=PICTURE)
        assert (step.step, step.steps, step.latents.shape) == (1, 1, (3, 40, 48))
        np.testing.assert_allclose(step.latents, _by_hand(np.array([0.5, -0.5, 0.0], np.float32)), atol=1e-5)
        assert step.picture is not None
        np.testing.assert_array_equal(step.picture, latent_to_image(np.ascontiguousarray(step.latents)))
        assert pipeline.runs == {"turn": 1}
        assert step.timings["total"] > 0


def test_noise_comes_from_the_seed(tmp_path: Path) -> None:
    with load(one_pass_bundle(tmp_path, noise=True)) as pipeline:
        made = [next(iter(pipeline.generate(image=PICTURE, seed=seed, steps=1))).latents for seed in (3, 3, 4)]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    np.testing.assert_allclose(made[0], _by_hand(normal_noise(3, 0, (3,))), atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({}, "No image is given"),
        ({"image": PICTURE[0]}, "image is not a colour picture"),
        ({"image": PICTURE, "steps": 2}, "one pass"),
        ({"image": PICTURE, "guidance": 2.0}, "no guidance"),
        ({"image": PICTURE, "mask": PICTURE}, "no mask"),
        ({"image": PICTURE, "noise": PICTURE}, "no noise"),
        ({"image": PICTURE, "decoder": "full"}, "no decoder"),
        ({"image": PICTURE, "seed": -1}, "Not a seed"),
        ({"imge": PICTURE}, "Did you mean image"),
        ({"image": PICTURE, "time_s": 1.0}, "no time_s"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "-".join(value),
)
def test_what_cannot_be_asked(tmp_path: Path, asked: dict[str, Any], complaint: str) -> None:
    with load(one_pass_bundle(tmp_path, noise=True)) as pipeline, pytest.raises(InputError, match=complaint):
        pipeline.generate(**asked)


def test_there_is_no_choice_of_decoders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no choice"):
        load(one_pass_bundle(tmp_path), decoder="full")


def test_numbers_that_are_not_finite_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with load(one_pass_bundle(tmp_path)) as pipeline:
        session = pipeline._sessions.get("turn")
        monkeypatch.setattr(session, "run", lambda feeds: {"picture": np.full((1, 3, 40, 48), np.nan, np.float32)})
        with pytest.raises(BackendError, match="not finite"):
            list(pipeline.generate(image=PICTURE))
