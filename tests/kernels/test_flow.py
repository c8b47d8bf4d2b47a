"""The sampler's arithmetic and its picture as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, denoise_step, latent_to_image, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import instruction_sets, using

Array = np.ndarray[Any, Any]
times = st.floats(0.0, 1.0, width=32)


def arrays(seed: int, size: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    x, velocity, noise = rng.normal(size=(3, size)).astype(np.float32) * np.float32(10.0 ** (seed % 5 - 2))
    return x, velocity, noise


@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 300), t=times, t_next=times)
def test_denoise_step_is_the_formula(seed: int, size: int, t: float, t_next: float) -> None:
    x, velocity, noise = arrays(seed, size)
    out = denoise_step(x, velocity, noise, t, t_next)
    start = x.astype(np.float64) - t * velocity.astype(np.float64)
    exact = (1.0 - t_next) * start + t_next * noise.astype(np.float64)
    # Cancellation makes the result small beside its terms; the error is relative to the terms.
    terms = np.abs(x) + np.abs(velocity) + np.abs(noise)
    assert (np.abs(out - exact) <= 1e-6 * terms).all()


@pytest.mark.parametrize("name", instruction_sets()[:1])
@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 300), t=times, t_next=times)
def test_denoise_step_compiled_is_the_reference(name: str, seed: int, size: int, t: float, t_next: float) -> None:
    x, velocity, noise = arrays(seed, size)
    ours, theirs = np.empty_like(x), np.empty_like(x)
    with using(name) as compiled:
        compiled.denoise_step(x, velocity, noise, t, t_next, ours)
    reference.denoise_step(x, velocity, noise, t, t_next, theirs)
    assert (ours == theirs).all()


def test_last_step_needs_no_noise() -> None:
    x, velocity, noise = (array.reshape(1, 2, 3, 4) for array in arrays(2, 24))
    assert (denoise_step(x, velocity, None, 0.5, 0.0) == denoise_step(x, velocity, noise, 0.5, 0.0)).all()


def test_step_in_place() -> None:
    x, velocity, noise = arrays(4, 100)
    expected = denoise_step(x, velocity, noise, 0.9, 0.4)
    assert denoise_step(x, velocity, noise, 0.9, 0.4, out=x) is x
    assert (x == expected).all()


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"x": np.zeros(4)}, "x"),
        ({"velocity": np.zeros(5, np.float32)}, "velocity"),
        ({"noise": np.zeros((4, 1), np.float32)}, "noise"),
        ({"noise": None}, "noise"),
        ({"t": 1.5}, "t"),
        ({"t_next": float("nan")}, "t_next"),
        ({"x": np.zeros(8, np.float32)[::2]}, "x"),
    ],
)
def test_step_that_cannot_be(changes: dict[str, Any], argument: str) -> None:
    zeros = np.zeros(4, np.float32)
    arguments = {"x": zeros, "velocity": zeros, "noise": zeros, "t": 1.0, "t_next": 0.5}
    with pytest.raises(KernelError) as caught:
        denoise_step(**(arguments | changes))
    assert caught.value.argument == argument


@pytest.mark.parametrize("name", instruction_sets()[:1])
@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(0, 40), width=st.integers(0, 40))
def test_picture_compiled_is_the_reference(name: str, seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.uniform(-1.5, 1.5, (3, height, width)).astype(np.float32)
    halves = (rng.integers(0, 512, picture.shape) / 255 - 1).astype(np.float32)
    picture = np.where(rng.random(picture.shape) < 0.5, picture, halves)
    ours, theirs = np.empty((height, width, 3), np.uint8), np.empty((height, width, 3), np.uint8)
    with using(name) as compiled:
        assert compiled.latent_to_image(picture, ours)
    assert reference.latent_to_image(picture, theirs)
    assert (ours == theirs).all()


def test_picture_values() -> None:
    # (x + 1) · 127.5 of the first four is exactly 127.5, 0.5, 1.5 and 254.5.
    values = [0.0, -0.99607843, -0.9882353, 0.99607843, -1.0, 1.0, -7.0, 7.0, float("inf"), float("-inf")]
    picture = np.broadcast_to(np.asarray(values, np.float32), (3, 1, len(values))).copy()
    grey = ((picture[0, 0, :4] + np.float32(1)) * np.float32(127.5)).tolist()
    expected = [round(value) for value in grey] + [0, 255, 0, 255, 255, 0]  # Python rounds halves to even too
    assert grey[0] == 127.5
    assert latent_to_image(picture)[0, :, 1].tolist() == expected
    assert expected[0] == 128


def test_picture_keeps_channels_apart() -> None:
    picture = np.stack([np.full((2, 3), value, np.float32) for value in (-1.0, 0.2, 1.0)])
    assert (latent_to_image(picture) == [0, 153, 255]).all()


@pytest.mark.parametrize("position", [0, 63, 64, 200])
def test_picture_with_nan(position: int) -> None:
    picture = np.zeros((3, 10, 10), np.float32)
    picture.reshape(-1)[position] = np.nan
    with pytest.raises(KernelError, match="found NaN"):
        latent_to_image(picture)


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4)), np.zeros((3, 4), np.float32)]
)
def test_what_is_no_latent_picture(picture: Any) -> None:
    with pytest.raises(KernelError, match="picture: found"):
        latent_to_image(picture)
