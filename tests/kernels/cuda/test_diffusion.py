"""The sampler's kernels for the GPU, their bodies run on this CPU, against the NumPy reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, cuda, reference
from chiasm.kernels.steps import Step
from emulated import EmulatedDriver, GpuArray, on_cpu
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

relaxed = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds, sizes = st.integers(0, 2**32 - 1), st.integers(0, 3000)
shifts = st.sampled_from([0, 4])
SINGLE = 1.5e-6
"""How far the numbers made in float32 may lie from the reference's."""


def reference_noise(seed: int, step: int, size: int) -> Any:
    out = np.empty(size, np.float32)
    reference.normal_noise(seed & (2**64 - 1), seed >> 64, step, out)
    return out


@relaxed
@given(seed=st.integers(0, 2**128 - 1), step=st.integers(0, 2**64 - 1), size=sizes)
def test_noise_is_the_references(gpu: EmulatedDriver, seed: int, step: int, size: int) -> None:
    expected = reference_noise(seed, step, size)
    assert np.abs(on_cpu(cuda.normal_noise(seed, step, (size,))) - expected).max(initial=0.0) <= SINGLE
    assert (on_cpu(cuda.normal_noise(seed, step, (size,), exact=True)) == expected).all()


def test_much_noise_is_near(gpu: EmulatedDriver) -> None:
    made = on_cpu(cuda.normal_noise(11, 3, (500_000,)))
    difference = np.abs(made - reference_noise(11, 3, 500_000))
    assert 0.0 < difference.max() <= SINGLE
    assert difference.mean() < 1e-7


def coefficients(rng: Any, noise: float) -> Step:
    values = [float(np.float32(value)) for value in rng.uniform(-2.0, 2.0, 4)]
    return Step(0.0, 1.0, *values, noise, 1.0, 0.0)


@relaxed
@given(
    seed=seeds,
    size=sizes,
    shift=shifts,
    kind=st.sampled_from(["none", "array", "seed", "exact seed"]),
    guided=st.booleans(),
    clean=st.booleans(),
)
def test_step_is_the_references(
    gpu: EmulatedDriver, seed: int, size: int, shift: int, kind: str, guided: bool, clean: bool
) -> None:
    rng = np.random.default_rng(seed)
    x, prediction, without, given = rng.normal(size=(4, size)).astype(np.float32)
    step = coefficients(rng, 0.0 if kind == "none" else 0.75)
    noise = {"none": None, "array": given}.get(kind, reference_noise(seed, 5, size))
    following, cleaned = np.empty_like(x), np.empty_like(x)
    weights = (2.5, step.clean_x, step.clean_p, step.next_x, step.next_clean, step.noise)
    reference.denoise_step(x, prediction, without if guided else None, *weights, noise, following, cleaned)
    clean_out = GpuArray(np.zeros_like(x), shift=shift) if clean else None
    made = cuda.denoise_step(
        GpuArray(x, shift=shift), GpuArray(prediction), (seed, 5) if "seed" in kind else GpuArray(given), step,
        unconditional=GpuArray(without) if guided else None, guidance=2.5, clean_out=clean_out, exact=kind != "seed",
    )  # fmt: skip
    # The sum with the noise is rounded once more, to float32.
    allowed = SINGLE + np.abs(following) * 2.0**-23 if kind == "seed" else np.zeros(size)
    assert (np.abs(on_cpu(made) - following) <= allowed).all()
    if clean_out is not None:
        assert (on_cpu(clean_out) == cleaned).all()


def test_step_in_place(gpu: EmulatedDriver) -> None:
    rng = np.random.default_rng(1)
    values, prediction = rng.normal(size=(2, 1000)).astype(np.float32)
    step = coefficients(rng, 0.0)
    expected = on_cpu(cuda.denoise_step(GpuArray(values), GpuArray(prediction), None, step))
    x, p = GpuArray(values), GpuArray(prediction)
    assert cuda.denoise_step(x, p, None, step, out=x, clean_out=p) is x
    assert (on_cpu(x) == expected).all()


def picture(seed: int, height: int, width: int) -> Any:
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1.5, 1.5, (3, height, width)).astype(np.float32)
    halves = (rng.integers(0, 512, values.shape) / 255 - 1).astype(np.float32)
    return np.where(rng.random(values.shape) < 0.5, values, halves)


@relaxed
@given(
    seed=seeds, height=st.integers(0, 70), width=st.integers(0, 70), shift=shifts, order=st.sampled_from(["rgb", "bgr"])
)
def test_picture_is_the_references(
    gpu: EmulatedDriver, seed: int, height: int, width: int, shift: int, order: str
) -> None:
    values = picture(seed, height, width)
    expected = np.empty((height, width, 3), np.uint8)
    assert reference.latent_to_image(values, 1.0, 127.5, order == "bgr", expected)
    out = GpuArray(np.zeros_like(expected), shift=shift % 3)
    assert cuda.latent_to_image(GpuArray(values, shift=shift), order=order, out=out) is out
    assert (on_cpu(out) == expected).all()
    assert (on_cpu(cuda.latent_to_image(GpuArray(values), order=order)) == expected).all()
    assert reference.latent_to_image(values, 0.0, 255.0, False, expected)
    assert (on_cpu(cuda.latent_to_image(GpuArray(values), low=0.0, high=1.0)) == expected).all()


@pytest.mark.parametrize("position", [0, 1023, 1024, 2999])
def test_picture_with_nan(gpu: EmulatedDriver, position: int) -> None:
    values = np.zeros((3, 40, 25), np.float32)
    values.reshape(-1)[position] = np.nan
    with pytest.raises(KernelError, match="found NaN"):
        cuda.latent_to_image(GpuArray(values))
    unchecked = on_cpu(cuda.latent_to_image(GpuArray(values), check=False))
    assert np.count_nonzero(unchecked != 128) == 1


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"x": np.zeros(4)}, "x"),
        ({"prediction": np.zeros(5, np.float32)}, "prediction"),
        ({"noise": np.zeros((4, 1), np.float32)}, "noise"),
        ({"out": np.zeros(3, np.float32)}, "out"),
        ({"clean_out": np.zeros(4, np.uint8)}, "clean_out"),
    ],
)
def test_step_that_cannot_be(gpu: EmulatedDriver, changes: dict[str, Any], argument: str) -> None:
    """Refused in the same words as on a CPU."""
    zeros = np.zeros(4, np.float32)
    arguments = {"x": zeros, "prediction": zeros, "noise": zeros, **changes}
    step = coefficients(np.random.default_rng(0), 0.5)
    told = []
    for where, run in ((GpuArray, cuda.denoise_step), (lambda array: array, denoise_on_cpu)):
        with pytest.raises(KernelError) as caught:
            run(step=step, **{name: where(value) for name, value in arguments.items()})
        assert caught.value.argument == argument
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert gpu.launches == []


def denoise_on_cpu(**arguments: Any) -> Any:
    from chiasm.kernels import denoise_step

    return denoise_step(**arguments)


def test_overlap_and_wrong_places(gpu: EmulatedDriver) -> None:
    step = coefficients(np.random.default_rng(0), 0.5)
    x, whole = GpuArray(np.zeros(4, np.float32)), GpuArray(np.zeros(6, np.float32))
    interface = dict(x.interface, data=(int(whole.memory), False))
    first, second = GpuArray(np.zeros(4, np.float32)), GpuArray(np.zeros(4, np.float32))
    first.interface, second.interface = interface, dict(interface, data=(int(whole.memory) + 4, False))
    with pytest.raises(KernelError, match="out: found memory that overlaps"):
        cuda.denoise_step(first, x, (1, 2), step, out=second)
    with pytest.raises(KernelError, match="x: found an array in the CPU's memory"):
        cuda.denoise_step(np.zeros(4, np.float32), x, (1, 2), step)
    with pytest.raises(KernelError, match="seed"):
        cuda.denoise_step(x, x, (-1, 2), step)
    with pytest.raises(KernelError, match="noise"):
        cuda.denoise_step(x, x, None, step)


def test_streams_are_kept_in_order(gpu: EmulatedDriver) -> None:
    x = GpuArray(np.zeros(4, np.float32), stream=7)
    made = cuda.denoise_step(
        x, GpuArray(np.zeros(4, np.float32)), (1, 2), coefficients(np.random.default_rng(0), 0.5), stream=9
    )
    assert gpu.waits == [(9, 7)]
    assert [stream for _, _, stream in gpu.launches] == [9]
    assert made.__cuda_array_interface__["stream"] == 9
