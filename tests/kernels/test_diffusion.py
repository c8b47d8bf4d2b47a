"""The sampler's arithmetic and its picture as bytes: the formulas, and the compiled kernels against their twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, Step, denoise_step, latent_to_image, normal_noise, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import instruction_sets, using

Array = np.ndarray[Any, Any]
coefficients = st.floats(-16.0, 16.0, width=32)
weights = st.lists(coefficients, min_size=6, max_size=6)  # guidance, clean_x, clean_p, next_x, next_clean, noise


def arrays(seed: int, size: int) -> list[Array]:
    """x, prediction, unconditional, noise."""
    rng = np.random.default_rng(seed)
    return list(rng.normal(size=(4, size)).astype(np.float32) * np.float32(10.0 ** (seed % 5 - 2)))


def step_of(clean_x: float, clean_p: float, next_x: float, next_clean: float, noise: float) -> Step:
    return Step(0.0, 1.0, clean_x, clean_p, next_x, next_clean, noise, 0.0, 1.0)


FLOW = step_of(1.0, -0.75, 0.0, 0.5, 0.5)


def same_bits(ours: Array, theirs: Array) -> bool:
    return bool((ours.view(np.uint32) == theirs.view(np.uint32)).all())


@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 700), w=weights, guided=st.booleans())
def test_denoise_step_is_the_formula(seed: int, size: int, w: list[float], guided: bool) -> None:
    x, p, u, noise = arrays(seed, size)
    clean = np.empty_like(x)
    options = {"unconditional": u, "guidance": w[0]} if guided else {}
    out = denoise_step(x, p, noise, step_of(*w[1:]), clean_out=clean, **options)
    x, p, u, noise = (each.astype(np.float64) for each in (x, p, u, noise))
    mixed = u + w[0] * (p - u) if guided else p
    x0 = w[1] * x + w[2] * mixed
    # Cancellation makes the result small beside its terms; the error is relative to the terms.
    terms = np.abs(w[1] * x) + abs(w[2]) * (np.abs(u) + abs(w[0]) * (np.abs(p) + np.abs(u)) if guided else np.abs(p))
    assert (np.abs(clean - x0) <= 1e-6 * terms + 1e-30).all()
    after = w[3] * x + w[4] * x0 + w[5] * noise
    assert (np.abs(out - after) <= 1e-6 * (np.abs(w[3] * x) + abs(w[4]) * terms + np.abs(w[5] * noise)) + 1e-30).all()


@pytest.mark.parametrize("name", instruction_sets())
@settings(max_examples=1000, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(0, 700),
    w=weights,
    has=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_denoise_step_compiled_is_the_reference(
    name: str, seed: int, size: int, w: list[float], has: tuple[bool, bool, bool]
) -> None:
    x, p, u, noise = arrays(seed, size)
    given_noise, unconditional = noise if has[0] else None, u if has[1] else None
    results = [np.empty_like(x) for _ in range(4)]
    with using(name) as compiled:
        compiled.denoise_step(x, p, unconditional, *w, given_noise, results[0], results[1] if has[2] else None)
    reference.denoise_step(x, p, unconditional, *w, given_noise, results[2], results[3])
    assert same_bits(results[0], results[2])
    assert not has[2] or same_bits(results[1], results[3])


@pytest.mark.parametrize("name", instruction_sets())
@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**128 - 1), step=st.integers(0, 2**64 - 1), size=st.integers(0, 700), w=weights)
def test_fresh_noise_compiled_is_the_reference(name: str, seed: int, step: int, size: int, w: list[float]) -> None:
    x, p, u, _ = arrays(seed % 2**32, size)
    ours, theirs, by_hand = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    key = (seed & (2**64 - 1), seed >> 64, step)
    with using(name) as compiled:
        compiled.denoise_step_fresh(x, p, u, *w, *key, ours, None)
    reference.denoise_step_fresh(x, p, u, *w, *key, theirs, None)
    reference.denoise_step(x, p, u, *w, normal_noise(seed, step, x.shape), by_hand, None)
    assert same_bits(ours, theirs)
    assert same_bits(theirs, by_hand)


def test_noise_by_its_number_is_that_noise() -> None:
    x, p, _, _ = (array.reshape(1, 4, 5, 5) for array in arrays(3, 100))
    expected = denoise_step(x, p, normal_noise(7, 2, x.shape), FLOW)
    assert same_bits(denoise_step(x, p, (7, 2), FLOW), expected)


def test_a_step_without_noise_looks_at_none() -> None:
    x, p, _, _ = (array.reshape(1, 2, 3, 4) for array in arrays(2, 24))
    still = step_of(1.0, -0.5, 0.0, 1.0, 0.0)
    expected = denoise_step(x, p, None, still)
    for noise in (np.full_like(x, np.nan), (1, 2)):
        assert same_bits(denoise_step(x, p, noise, still), expected)


@pytest.mark.parametrize("target", [0, 1, 2, 3])
def test_step_in_place(target: int) -> None:
    step = step_of(1.5, -0.7, 0.3, 0.6, 0.2)
    x, p, u, noise = arrays(4, 1000)
    clean = np.empty_like(x)
    expected = denoise_step(x, p, noise, step, unconditional=u, guidance=3.0, clean_out=clean)
    for name in ("out", "clean_out"):
        given_arrays = arrays(4, 1000)
        x, p, u, noise = given_arrays
        options = {name: given_arrays[target]}
        denoise_step(x, p, noise, step, unconditional=u, guidance=3.0, **options)
        assert same_bits(options[name], expected if name == "out" else clean)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"x": np.zeros(4)}, "x"),
        ({"prediction": np.zeros(5, np.float32)}, "prediction"),
        ({"noise": np.zeros((4, 1), np.float32)}, "noise"),
        ({"noise": None}, "noise"),
        ({"noise": (-1, 0)}, "seed"),
        ({"noise": (0, 2**64)}, "step"),
        ({"unconditional": np.zeros(3, np.float32)}, "unconditional"),
        ({"unconditional": np.zeros(4, np.float32), "guidance": float("inf")}, "guidance"),
        ({"x": np.zeros(8, np.float32)[::2]}, "x"),
        ({"out": np.zeros(4)}, "out"),
        ({"clean_out": np.zeros(5, np.float32)}, "clean_out"),
    ],
)
def test_step_that_cannot_be(changes: dict[str, Any], argument: str) -> None:
    zeros = np.zeros(4, np.float32)
    arguments: dict[str, Any] = {"x": zeros, "prediction": zeros, "noise": zeros, "step": FLOW}
    with pytest.raises(KernelError) as caught:
        denoise_step(**(arguments | changes))
    assert caught.value.argument == argument


def test_arrays_that_overlap_are_refused() -> None:
    memory = np.zeros(10, np.float32)
    x, other = memory[:8], np.zeros(8, np.float32)
    for name in ("out", "clean_out"):
        with pytest.raises(KernelError, match="overlaps") as caught:
            denoise_step(x, other, other, FLOW, **{name: memory[1:9]})
        assert caught.value.argument == name
    with pytest.raises(KernelError, match="clean_out: found memory of out"):
        denoise_step(other, other, other, FLOW, out=x, clean_out=x)


@pytest.mark.parametrize("name", instruction_sets()[:1])
@settings(max_examples=2000, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(0, 20),
    width=st.integers(0, 20),
    low=st.sampled_from([-1.0, 0.0, -0.3]),
    blue_first=st.booleans(),
)
def test_picture_compiled_is_the_reference(
    name: str, seed: int, height: int, width: int, low: float, blue_first: bool
) -> None:
    rng = np.random.default_rng(seed)
    scale = 255.0 / (1.0 - low)
    picture = rng.uniform(-1.5, 1.5, (3, height, width)).astype(np.float32)
    halves = (rng.integers(0, 512, picture.shape) / 2 / scale + low).astype(np.float32)
    picture = np.where(rng.random(picture.shape) < 0.5, picture, halves)
    ours, theirs = np.empty((height, width, 3), np.uint8), np.empty((height, width, 3), np.uint8)
    with using(name) as compiled:
        assert compiled.latent_to_image(picture, -low, scale, blue_first, ours)
    assert reference.latent_to_image(picture, -low, scale, blue_first, theirs)
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


def test_picture_in_another_range_and_order() -> None:
    picture = np.stack([np.full((2, 3), value, np.float32) for value in (0.0, 0.2, 1.0)])
    assert (latent_to_image(picture, low=0.0) == [0, 51, 255]).all()
    assert (latent_to_image(picture, low=0.0, order="bgr") == [255, 51, 0]).all()
    assert (latent_to_image(picture * 255, low=0.0, high=255.0) == [0, 51, 255]).all()


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


@pytest.mark.parametrize("options", [{"low": 1.0}, {"high": float("nan")}, {"order": "gbr"}])
def test_what_is_no_range_or_order(options: dict[str, Any]) -> None:
    with pytest.raises(KernelError) as caught:
        latent_to_image(np.zeros((3, 2, 2), np.float32), **options)
    assert caught.value.argument in ("high", "order")
