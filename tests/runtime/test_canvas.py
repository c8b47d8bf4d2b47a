"""Pictures and masks that are started from, against Pillow and plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.runtime.canvas import mask_tensors, prepared_picture, start_picture
from chiasm.runtime.errors import InputError
from chiasm.runtime.manifest import PictureInput

PIL = pytest.importorskip("PIL.Image", reason="Pillow is what the resize is compared with")
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("size", [(48, 40), (31, 77), (96, 80), (1, 1)])
def test_a_start_is_pillows_lanczos_in_minus_one_to_one(size: tuple[int, int]) -> None:
    picture = RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = np.asarray(PIL.fromarray(picture).resize((40, 48), PIL.Resampling.LANCZOS), np.float32) / 127.5 - 1
    found = start_picture(picture, (48, 40))
    assert (found.shape, found.dtype) == ((1, 3, 48, 40), np.float32)
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), expected, atol=1.01 / 127.5)  # one grey level
    assert np.mean(np.abs(found[0].transpose(1, 2, 0) - expected) > 1e-6) < 0.01


def test_a_start_of_the_right_size_is_not_resized() -> None:
    picture = RANDOM.integers(0, 256, (48, 40, 3), dtype=np.uint8)
    expected = picture.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(start_picture(picture, (48, 40))[0], expected, atol=1e-6)


def test_a_prepared_picture_follows_the_manifest() -> None:
    source = PictureInput(height=4, width=6, resize="exact", filter="area", crop="none", scale=1.0,
                          mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0))  # fmt: skip
    picture = np.full((8, 12, 3), 7, np.uint8)
    found = prepared_picture(picture, source)
    assert found.shape == (1, 3, 4, 6)
    assert found[0, :, 0, 0].tolist() == [3.0, 2.5, 2.0]


@pytest.mark.parametrize("kind", ["bool", "grey", "colour"])
def test_a_mask_is_zeros_and_ones_whatever_it_is_made_of(kind: str) -> None:
    white = np.zeros((48, 40), bool)
    white[16:32, 8:24] = True
    grey = white.astype(np.uint8) * np.uint8(255)
    mask: Any = {"bool": white, "grey": grey, "colour": np.repeat(grey[:, :, None], 3, axis=2)}[kind]
    pixels, cells = mask_tensors(mask, (48, 40), (6, 5))
    assert (pixels[0, 0] == white).all()
    assert (cells[0, 0] == white[::8, ::8]).all()
    assert (pixels.shape, cells.shape) == ((1, 1, 48, 40), (1, 1, 6, 5))
    assert pixels.dtype == cells.dtype == np.float32


def test_a_mask_is_stretched_and_cut_at_half() -> None:
    mask = np.array([[0, 255], [127, 128]], np.uint8)
    pixels, cells = mask_tensors(mask, (2, 2), (2, 2))
    assert pixels[0, 0].tolist() == cells[0, 0].tolist() == [[0.0, 1.0], [0.0, 1.0]]
    large, _ = mask_tensors(np.repeat(np.repeat(mask, 8, 0), 8, 1), (4, 4), (2, 2))
    assert large[0, 0, 0].tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "mask",
    [np.zeros((4, 4)), np.zeros(4, bool), np.zeros((0, 4), bool), np.zeros((4, 4, 4), np.uint8), "white", None],
    ids=["float", "line", "empty", "four", "word", "none"],
)
def test_what_is_no_mask(mask: Any) -> None:
    with pytest.raises(InputError, match="black-and-white"):
        mask_tensors(mask, (8, 8), (1, 1))


def test_what_is_no_picture() -> None:
    with pytest.raises(InputError, match="image is not a colour picture"):
        start_picture(np.zeros((4, 4), np.uint8), (8, 8))
