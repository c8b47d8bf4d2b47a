"""Which bytes of a frame are which colour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, image_to_tensor
from chiasm.kernels.frames import FORMATS, MOST, YUV_BITS, frame_of, yuv_matrix
from chiasm.kernels.reference.image import yuv_to_rgb

Array = np.ndarray[Any, Any]


def as_rgb(image: Any, format: str, height: int, width: int, **more: Any) -> Array:
    return image_to_tensor(
        image, height, width, format=format, resize="none", scale=1.0, dtype="uint8", layout="hwc", **more
    )


def test_interleaved_formats() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    alpha = np.full((7, 9, 1), 200, np.uint8)
    for format, image in {
        "rgb": rgb,
        "bgr": rgb[:, :, ::-1],
        "rgba": np.concatenate([rgb, alpha], axis=2),
        "bgra": np.concatenate([rgb[:, :, ::-1], alpha], axis=2),
    }.items():
        assert np.array_equal(as_rgb(image, format, 7, 9), rgb)
        assert np.array_equal(as_rgb(image, format, 7, 9, channels="bgr"), rgb[:, :, ::-1])
    for grey in (rgb[:, :, 0], rgb[:, :, :1]):
        assert np.array_equal(as_rgb(grey, "gray", 7, 9), rgb[:, :, :1].repeat(3, axis=2))


def test_layouts_of_luma_and_difference_are_the_same_picture() -> None:
    rng = np.random.default_rng(2)
    luma, u, v = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((6, 10), (3, 5), (3, 5)))
    both = np.stack([u, v], axis=-1)
    nv12 = np.concatenate([luma, both.reshape(3, 10)])
    i420 = np.concatenate([luma.ravel(), u.ravel(), v.ravel()]).reshape(9, 10)
    yuyv = np.stack([luma, both.reshape(3, 10).repeat(2, axis=0)], axis=-1)
    expected = yuv_to_rgb((luma, u, v), yuv_matrix("bt601", False))
    for format, image in {"nv12": nv12, "i420": i420, "yuyv": yuyv}.items():
        assert np.array_equal(as_rgb(image, format, 6, 10), expected)
    for format, planes in {"nv12": (luma, both), "i420": (luma, u, v)}.items():
        room = [(0, 2), (0, 6), (0, 0)]
        padded = [np.pad(plane, room[: plane.ndim])[: len(plane), : plane.shape[1]] for plane in planes]
        assert np.array_equal(as_rgb(tuple(padded), format, 6, 10), expected)
    assert frame_of(nv12, "nv12", "bt601", False).size == (6, 10)


def test_nothing_is_copied() -> None:
    for format, (_, colours) in FORMATS.items():
        shape = {"gray": (6, 10), "yuyv": (6, 10, 2)}.get(format, (6, 10, len(format)) if colours else (9, 10))
        image = np.zeros(shape, np.uint8)
        assert all(np.shares_memory(plane, image) for plane in frame_of(image, format, "bt601", False).planes)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_colours_are_the_standards(matrix: str, full_range: bool) -> None:
    """Every luma with many differences, against the standard's equations in float64."""
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    levels = np.arange(256, dtype=np.uint8)
    u, v = (part.ravel() for part in np.meshgrid(levels[::5], levels[::5]))
    y = levels[:, None].repeat(len(u) * 2, axis=1)
    planes = (y, u[None].repeat(256, axis=0), v[None].repeat(256, axis=0))
    ours = yuv_to_rgb(planes, yuv_matrix(matrix, full_range)).astype(int)
    luma = y / 255.0 if full_range else (y - 16.0) / 219.0
    cb, cr = ((part.repeat(2) - 128.0) / (255.0 if full_range else 224.0) for part in (u, v))
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    exact = np.clip(np.stack([r, g, b], axis=-1) * 255.0, 0, 255)
    apart = np.abs(ours - np.rint(exact))
    assert apart.max() <= 1
    assert (apart == 0).mean() > 0.97
    assert np.abs(ours - exact).max() < 0.55


def test_black_white_and_grey_are_grey() -> None:
    for matrix in ("bt601", "bt709"):
        for full_range, black, white in ((False, 16, 235), (True, 0, 255)):
            y = np.asarray([[black, white, 128, 128]], np.uint8)
            middle = np.full((1, 2), 128, np.uint8)
            rgb = yuv_to_rgb((y, middle, middle), yuv_matrix(matrix, full_range))[0]
            assert rgb[0].tolist() == [0, 0, 0]
            assert rgb[1].tolist() == [255, 255, 255]
            assert len(set(rgb[2].tolist())) == 1


def test_factors_have_sixteen_bits() -> None:
    for matrix in ("bt601", "bt709"):
        for full_range in (False, True):
            assert max(map(abs, yuv_matrix(matrix, full_range))) < 1 << 15
    assert yuv_matrix("bt601", True)[1] == 1 << YUV_BITS


@pytest.mark.parametrize(
    ("format", "image", "words"),
    [
        ("rgb", np.zeros((4, 4, 3), np.float32), "float32"),
        ("rgb", np.zeros((4, 4), np.uint8), r"\(H, W, 3\)"),
        ("rgb", np.zeros((4, 4, 4), np.uint8), r"\(H, W, 3\)"),
        ("rgb", [[0, 0, 0]], "list"),
        ("rgb", np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        ("bgra", np.zeros((4, 4, 3), np.uint8), r"\(H, W, 4\)"),
        ("gray", np.zeros((4, 4, 3), np.uint8), r"\(H, W, 1\)"),
        ("gray", np.zeros((4,), np.uint8), r"\(H, W\)"),
        ("gray", np.zeros((4, 0), np.uint8), "at least one pixel"),
        ("gray", np.broadcast_to(np.zeros((1, 1), np.uint8), (MOST + 1, 1)), "at most"),
        ("yuyv", np.zeros((4, 5, 2), np.uint8), "cut off the last column"),
        ("yuyv", np.zeros((4, 8), np.uint8), "YUYV"),
        ("nv12", np.zeros((6, 5), np.uint8), "W even"),
        ("nv12", np.zeros((7, 4), np.uint8), "cut off its last row"),
        ("nv12", np.zeros((9, 4, 1), np.uint8), "NV12"),
        ("nv12", (np.zeros((4, 4), np.uint8),), "differences"),
        ("nv12", (np.zeros((5, 4), np.uint8), np.zeros((2, 2, 2), np.uint8)), "H and W even"),
        ("nv12", (np.zeros((4, 4), np.uint8), np.zeros((2, 2), np.uint8)), "differences"),
        ("i420", np.zeros((3, 4), np.uint8)[:, ::-1], "C-contiguous"),
        ("i420", (np.zeros((4, 4), np.uint8), np.zeros((2, 2), np.uint8)), "red difference"),
        ("i420", (np.zeros((4, 4), np.uint8), np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.int8)), "int8"),
        ("i420", (np.zeros((4, 5), np.uint8), np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)), "H and W even"),
    ],
)
def test_what_is_no_frame(format: str, image: Any, words: str) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        image_to_tensor(image, 4, 4, format=format)
    assert caught.value.argument == "image"


def test_unknown_words() -> None:
    luma = np.zeros((6, 4), np.uint8)
    for changes in ({"format": "nv21"}, {"format": None}, {"format": "nv12", "matrix": "bt2020"}):
        with pytest.raises(KernelError, match=next(reversed(changes))):
            image_to_tensor(luma, 4, 4, **changes)  # type: ignore[arg-type]
