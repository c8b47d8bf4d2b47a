"""The noise of the sampler, against a second implementation written from its recipe alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, normal_noise, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import instruction_sets, using

WORD = (1 << 64) - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x64-10 in whole numbers (Salmon et al., Parallel random numbers: as easy as 1, 2, 3; 2011)."""
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        left, right = a * 0xD2E7470EE14C6C93, c * 0xCA5A826395121157
        a, b, c, d = (right >> 64) ^ b ^ k, right & WORD, (left >> 64) ^ d ^ m, left & WORD
        k, m = (k + 0x9E3779B97F4A7C15) & WORD, (m + 0xBB67AE8584CAA73B) & WORD
    return [a, b, c, d]


def expected(seed: int, step: int, size: int) -> list[float]:
    words: list[int] = []
    while len(words) < size + 1:
        words += philox([len(words) // 4 + 1, 0, 0, step], [seed & WORD, seed >> 64])
    numbers = []
    for first, second in zip(words[0::2], words[1::2], strict=True):
        radius = math.sqrt(-2.0 * math.log(((first >> 11) + 1) * 2.0**-53))
        angle = 2.0 * math.pi * ((second >> 11) * 2.0**-53)
        numbers += [radius * math.cos(angle), radius * math.sin(angle)]
    return numbers[:size]


def test_philox_known_answers() -> None:
    # From the authors' table of known answers (Random123, kat_vectors).
    assert philox([0] * 4, [0] * 2) == [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox([WORD] * 4, [WORD] * 2) == [
        0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0,
    ]  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**128 - 1), step=st.integers(0, 2**64 - 1), size=st.integers(0, 40))
def test_is_the_recipe(seed: int, step: int, size: int) -> None:
    noise = normal_noise(seed, step, (size,))
    assert noise.dtype == np.float32
    assert np.allclose(noise, expected(seed, step, size), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", instruction_sets())
@settings(max_examples=1000, deadline=None)
@given(seed=st.integers(0, 2**128 - 1), step=st.integers(0, 2**64 - 1), size=st.integers(0, 600))
def test_compiled_has_the_bits_of_the_reference(name: str, seed: int, step: int, size: int) -> None:
    ours, theirs = np.empty(size, np.float32), np.empty(size, np.float32)
    key = (seed & WORD, seed >> 64, step)
    with using(name) as compiled:
        compiled.normal_noise(*key, ours)
    reference.normal_noise(*key, theirs)
    assert (ours.view(np.uint32) == theirs.view(np.uint32)).all()


@pytest.mark.parametrize("seed", [0, 1, 2**127 + 3])
def test_is_what_the_mathematics_of_the_machine_gives(seed: int) -> None:
    # NumPy's own logarithm, cosine and sine, which once made the noise, differ between machines in the last bit of
    # float64. Rounded to float32, hardly one number in a hundred million moves.
    size = 200_000
    raw = np.random.Philox(key=seed, counter=5 << 192).random_raw(size).reshape(-1, 2) >> np.uint64(11)
    radius = np.sqrt(-2.0 * np.log((raw[:, 0].astype(np.float64) + 1.0) * 2.0**-53))
    angle = raw[:, 1].astype(np.float64) * (2.0**-53 * 2.0 * np.pi)
    machine = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32).reshape(-1)
    found = normal_noise(seed, 5, (size,))
    assert (found != machine).sum() <= 1
    np.testing.assert_array_max_ulp(found, machine, maxulp=1)


def test_bits_do_not_move() -> None:
    # A picture made with a seed must be made again by every later version.
    assert normal_noise(0, 0, (2, 2)).view(np.uint32).tolist() == [[0x3E2256B2, 0x403EE77F], [0xBFF67D13, 0xBF532E52]]


def test_is_normal_and_steps_differ() -> None:
    first, second = normal_noise(5, 0, (8, 40, 40)), normal_noise(5, 1, (8, 40, 40))
    for noise in (first, second):
        assert abs(float(noise.mean())) < 0.03
        assert abs(float(noise.std()) - 1.0) < 0.03
        assert abs(float((noise**4).mean()) - 3.0) < 0.3
    assert abs(float((first * second).mean())) < 0.03


def test_shape_only_groups_the_same_numbers() -> None:
    assert (normal_noise(3, 2, (1, 2, 3, 4)).reshape(-1) == normal_noise(3, 2, (24,))).all()
    assert (normal_noise(3, 2, (7,)) == normal_noise(3, 2, (24,))[:7]).all()
    assert normal_noise(3, 2, ()).shape == ()


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ((-1, 0, (2,)), "seed"),
        ((1 << 128, 0, (2,)), "seed"),
        ((0.5, 0, (2,)), "seed"),
        ((0, -1, (2,)), "step"),
        ((0, 1 << 64, (2,)), "step"),
        ((0, 0, (2, -1)), "shape"),
    ],
)
def test_what_is_no_seed(arguments: tuple[Any, Any, Any], argument: str) -> None:
    with pytest.raises(KernelError) as caught:
        normal_noise(*arguments)
    assert caught.value.argument == argument
