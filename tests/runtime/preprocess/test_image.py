"""Camera frame → tensor."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from chiasm.kernels import image_to_tensor
from chiasm.runtime.errors import InputError
from chiasm.runtime.manifest import ImageModality
from chiasm.runtime.preprocess.image import image_tensor

EYE = ImageModality(
    name="eye", part="eye", rate_hz=30.0, max_age_s=0.5, tokens=(16, 128), height=48, width=64, resize="shortest-edge",
    filter="area", crop="centre", scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4),
)  # fmt: skip


def frame(height: int = 120, width: int = 200) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_every_field_of_the_manifest_counts() -> None:
    image = frame()
    plain = image_tensor(image, EYE)
    assert plain.shape == (1, 3, 48, 64)
    expected = image_to_tensor(image, 48, 64, filter="area", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    assert (plain[0] == expected).all()
    for changes in (
        {"filter": "lanczos"},
        {"resize": "exact"},
        {"scale": 1.0},
        {"mean": (0, 0, 0)},
        {"std": (1, 1, 1)},
    ):
        assert (image_tensor(image, msgspec.structs.replace(EYE, **changes)) != plain).any(), changes


def test_buffer_is_used() -> None:
    out = np.zeros((1, 3, 48, 64), np.float32)
    assert image_tensor(frame(), EYE, out=out) is out
    assert out.any()
    with pytest.raises(InputError, match="out does not fit"):
        image_tensor(frame(), EYE, out=np.zeros((3, 48, 64), np.float32))


def test_what_gives_an_array_is_fine() -> None:
    class Frame:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
            return frame()

    assert (image_tensor(Frame(), EYE) == image_tensor(frame(), EYE)).all()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (frame()[:, :, 0], "np.repeat(image[:, :, None]"),
        (frame()[:, :, :1], "np.repeat(image, 3"),
        (np.dstack([frame(), frame()[:, :, :1]]), "image[:, :, :3]"),
        (frame().transpose(2, 0, 1), "image.transpose(1, 2, 0)"),
        (frame()[None], "image[0]"),
        (frame() / np.float32(255), "(image * 255).round()"),
        (frame().astype(np.int64), "image.astype(np.uint8)"),
        (frame()[:0], "eye has no pixels"),
        (np.zeros((4, 4, 2), np.uint8), "expected uint8 RGB of shape (H, W, 3)"),
        ("road.png", "found str"),
        (None, "found NoneType"),
        ([[1, 2], [3]], "cannot be read as an array"),
    ],
)
def test_what_is_no_picture(image: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        image_tensor(image, EYE)
    assert words in str(caught.value)
    assert str(caught.value).startswith("eye ")


def test_conversions_in_the_messages_work() -> None:
    image = frame()
    grey, alpha = image[:, :, 0], np.dstack([image, image[:, :, :1]])
    image_tensor(np.repeat(grey[:, :, None], 3, axis=2), EYE)
    floats = image / np.float32(255)
    for converted in (
        alpha[:, :, :3],
        image.transpose(2, 0, 1).transpose(1, 2, 0),
        (floats * 255).round().astype(np.uint8),
    ):
        assert (image_tensor(converted, EYE) == image_tensor(image, EYE)).all()


def test_crop_that_cannot_be() -> None:
    modality = msgspec.structs.replace(EYE, crop="none")
    image_tensor(frame(60, 80), modality)  # the shape of the target: nothing to crop
    with pytest.raises(InputError, match="eye: cannot be brought to 48 × 64"):
        image_tensor(frame(), modality)
