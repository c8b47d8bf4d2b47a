"""Camera frame → tensor."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from chiasm.kernels import image_to_tensor
from chiasm.runtime.errors import InputError
from chiasm.runtime.manifest import ImageModality
from chiasm.runtime.preprocess.image import grey, image_tensor, scaled_size
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

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


PLAIN = msgspec.structs.replace(EYE, scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), order="pillow")
"""Grey levels as they are."""
sides = st.integers(1, 150)


def pillow(image: np.ndarray[Any, Any], scaled: tuple[int, int], filter: str = "bilinear") -> np.ndarray[Any, Any]:
    kinds = Image.Resampling
    kind = {"nearest": kinds.NEAREST, "area": kinds.BOX, "bilinear": kinds.BILINEAR, "hamming": kinds.HAMMING,
            "bicubic": kinds.BICUBIC, "lanczos": kinds.LANCZOS}[filter]  # fmt: skip
    return np.asarray(Image.fromarray(image).resize(scaled[::-1], kind))


def placed(picture: np.ndarray[Any, Any], height: int, width: int, top: int, left: int) -> np.ndarray[Any, Any]:
    """The picture on black, its row `top` and column `left` in the corner; what lies outside is cut."""
    canvas = np.zeros((height, width, *picture.shape[2:]), picture.dtype)
    rows, columns = np.arange(height) + top, np.arange(width) + left
    there = np.ix_((rows >= 0) & (rows < picture.shape[0]), (columns >= 0) & (columns < picture.shape[1]))
    canvas[there] = picture[np.ix_(rows[(rows >= 0) & (rows < picture.shape[0])],
                                   columns[(columns >= 0) & (columns < picture.shape[1])])]  # fmt: skip
    return canvas


@settings(max_examples=120, deadline=None)
@given(source=st.tuples(sides, sides), edge=st.integers(1, 90), target=st.tuples(sides, sides), seed=st.integers(0, 9))
def test_shortest_edge_and_the_centre_with_black_around(
    source: tuple[int, int], edge: int, target: tuple[int, int], seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (*source, 3), dtype=np.uint8)
    height, width = source
    scaled = (edge, int(edge * width / height)) if height <= width else (int(edge * height / width), edge)
    filter = ("nearest", "area", "bilinear", "hamming", "bicubic", "lanczos")[seed % 6]
    modality = msgspec.structs.replace(
        PLAIN, height=target[0], width=target[1], edge=edge, filter=filter, resize="shortest-edge"
    )
    top, left = (scaled[0] - target[0]) // 2, (scaled[1] - target[1]) // 2
    expected = placed(pillow(image, scaled, filter), *target, top, left)
    assert scaled_size(modality, source) == scaled
    assert (image_tensor(image, modality)[0].transpose(1, 2, 0) == expected).all()


def test_an_exact_resize_to_another_size_than_the_crop() -> None:
    modality = msgspec.structs.replace(PLAIN, resize="exact", resized=(70, 90), filter="bicubic")
    expected = pillow(frame(), (70, 90), "bicubic")[11:59, 13:77]
    assert (image_tensor(frame(), modality)[0].transpose(1, 2, 0) == expected).all()


@settings(max_examples=60, deadline=None)
@given(source=st.tuples(sides, sides))
def test_fit_and_pad_at_the_end(source: tuple[int, int]) -> None:
    modality = msgspec.structs.replace(
        PLAIN, resize="fit", resized=(40, 60), crop="none", pad="end", mean=(10.0, 20.0, 30.0), filter="bilinear"
    )
    image = np.random.default_rng(0).integers(0, 256, (*source, 3), dtype=np.uint8)
    factor = min(40 / source[0], 60 / source[1])
    scaled = (int(source[0] * factor), int(source[1] * factor))
    if min(scaled) < 1:
        with pytest.raises(InputError, match="cannot be brought to 48 × 64"):
            image_tensor(image, modality)
        return
    made = image_tensor(image, modality)[0].transpose(1, 2, 0)
    inside = made[: scaled[0], : scaled[1]]
    assert (inside == pillow(image, scaled).astype(np.float32) - np.float32([10, 20, 30])).all()
    assert not made[scaled[0] :].any()
    assert not made[:, scaled[1] :].any()


def test_without_a_resize_the_size_must_be_right() -> None:
    modality = msgspec.structs.replace(PLAIN, resize="none", crop="none")
    image = frame(48, 64)
    assert (image_tensor(image, modality)[0].transpose(1, 2, 0) == image).all()
    with pytest.raises(InputError, match="found 48 × 65, expected a picture of that size"):
        image_tensor(frame(48, 65), modality)
    padded = msgspec.structs.replace(modality, pad="end")
    with pytest.raises(InputError, match="expected one that is no larger"):
        image_tensor(frame(49, 10), padded)


GREY = msgspec.structs.replace(PLAIN, channels=1, mean=(0.0,), std=(1.0,), filter="bicubic")


def test_one_channel_is_luma_before_the_resize() -> None:
    luma = Image.fromarray(frame()).convert("L")
    expected = np.asarray(luma.resize((80, 48), Image.Resampling.BICUBIC))[:, 8:72]
    assert (grey(frame()) == np.asarray(luma)).all()
    made = image_tensor(frame(), GREY)
    assert made.shape == (1, 1, 48, 64)
    assert (made[0, 0] == expected).all()


def test_a_grey_picture_is_taken_as_it_is() -> None:
    luma = grey(frame())
    for picture in (luma, luma[:, :, None]):
        assert (image_tensor(picture, GREY) == image_tensor(frame(), GREY)).all()


def test_the_order_of_the_passes_shows() -> None:
    tall = frame(300, 60)
    across = image_tensor(tall, msgspec.structs.replace(PLAIN, resize="exact", filter="bilinear", order="across"))
    pillows = image_tensor(tall, msgspec.structs.replace(PLAIN, resize="exact", filter="bilinear"))
    assert (across != pillows).any()
    assert abs(across - pillows).max() <= 1
