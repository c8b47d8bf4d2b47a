"""The resize: Pillow's picture, and the same bits from NumPy and from C++."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, image_to_tensor, reference
from chiasm.kernels.plan import Plan, normalisation_table, plan_resize
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_twins import instruction_sets, using
from PIL import Image

PILLOW = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
kinds = st.sampled_from(sorted(PILLOW))
seeds = st.integers(0, 2**32 - 1)


def picture(seed: int, height: int, width: int) -> np.ndarray[Any, Any]:
    """Noise, or a noisy edge: where ringing filters overshoot."""
    rng = np.random.default_rng(seed)
    if seed % 2:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return (rng.integers(0, 2, (height, width, 3)) * 255).astype(np.uint8)


def pillow(image: np.ndarray[Any, Any], height: int, width: int, kind: str) -> np.ndarray[Any, Any]:
    """Pillow's resize, across first and then down: asked for both at once, new versions choose the order."""
    across = Image.fromarray(image).resize((width, image.shape[0]), PILLOW[kind])
    return np.asarray(across.resize((width, height), PILLOW[kind]))


@settings(max_examples=500, deadline=None)
@given(seed=seeds, size=st.tuples(*[st.integers(1, 120)] * 4), kind=kinds)
def test_is_pillows_picture(seed: int, size: tuple[int, int, int, int], kind: str) -> None:
    image = picture(seed, size[0], size[1])
    ours = image_to_tensor(image, size[2], size[3], filter=kind, resize="exact", crop="none", scale=1.0)
    assert (ours == pillow(image, size[2], size[3], kind).transpose(2, 0, 1)).all()


@pytest.mark.parametrize("kind", sorted(PILLOW))
@pytest.mark.parametrize("size", [(360, 640), (640, 360), (480, 640), (64, 64), (40, 50)])
def test_camera_frames_as_pillow_resizes_and_crops_them(size: tuple[int, int], kind: str) -> None:
    image = picture(3, *size)
    height, width = (64, 64 * size[1] // size[0]) if size[0] <= size[1] else (64 * size[0] // size[1], 64)
    resized = np.asarray(Image.fromarray(image).resize((width, height), PILLOW[kind]))
    top, left = (height - 64) // 2, (width - 64) // 2
    ours = image_to_tensor(image, 64, 64, filter=kind, scale=1.0)
    assert (ours == resized[top : top + 64, left : left + 64].transpose(2, 0, 1)).all()


def resample(implementation: Any, image: np.ndarray[Any, Any], plan: Plan, size: tuple[int, int]) -> Any:
    table = normalisation_table(1 / 255, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    out = np.full((3, *size), np.nan, np.float32)
    rows, columns = plan.rows, plan.columns
    implementation.resample(
        image, rows.start, rows.count, rows.weight, columns.start, columns.count, columns.weight, table, out
    )
    return out


@pytest.mark.parametrize("name", instruction_sets())
@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_compiled_is_the_reference(name: str, data: st.DataObject) -> None:
    height, width, h, w = (data.draw(st.integers(1, 150)) for _ in range(4))
    image = picture(data.draw(seeds), height, width)
    resize = data.draw(st.sampled_from(["exact", "shortest-edge"]))
    plan = plan_resize((height, width), (h, w), data.draw(kinds), resize, "centre", None)
    with using(name) as compiled:
        assert (resample(compiled, image, plan, (h, w)) == resample(reference, image, plan, (h, w))).all()


def views(image: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    return {
        "mirrored": image[:, ::-1],
        "upside down": image[::-1],
        "every other": image[::2, ::3],
        "cropped": image[5:60, 7:80],
        "bgr to rgb": image[:, :, ::-1],
        "planes": planes.transpose(1, 2, 0),
        "one pixel, repeated": np.broadcast_to(image[:1, :1], image.shape),
        "without alpha": np.dstack([image, image[:, :, :1]])[:, :, :3],
        "bgra to rgb": np.dstack([image, image[:, :, :1]])[:, :, 2::-1],
        "after alpha": np.dstack([image, image[:, :, :1]])[:, :, 1:],
    }


@pytest.mark.parametrize("name", sorted(views(np.zeros((1, 1, 3), np.uint8))))
def test_views_are_read_in_place(name: str) -> None:
    view = views(picture(5, 70, 90))[name]
    expected = image_to_tensor(np.ascontiguousarray(view), 32, 24, filter="bicubic")
    assert (image_to_tensor(view, 32, 24, filter="bicubic") == expected).all()


def test_read_only_pictures_are_fine_and_unchanged() -> None:
    image = picture(7, 30, 40)
    before = image.copy()
    image.flags.writeable = False
    image_to_tensor(image, 16, 16)
    assert (image == before).all()


def test_pixels_outside_the_crop_are_not_read() -> None:
    image = picture(9, 64, 640)
    plan = plan_resize((64, 640), (64, 64), "bilinear", "shortest-edge", "centre", None)
    first, last = int(plan.columns.start[0]), int(plan.columns.start[-1] + plan.columns.count[-1])
    assert (first, last) == (288, 352)
    other = image.copy()
    other[:, :first] ^= 255
    other[:, last:] ^= 255
    assert (image_to_tensor(image, 64, 64) == image_to_tensor(other, 64, 64)).all()


def test_writes_into_out() -> None:
    image = picture(11, 50, 50)
    out = np.full((2, 3, 20, 20), -1.0, np.float32)
    result = image_to_tensor(image, 20, 20, out=out[1])
    assert result.base is out
    assert (out[0] == -1.0).all()
    assert (out[1] == image_to_tensor(image, 20, 20)).all()


def test_normalises() -> None:
    image = np.full((9, 9, 3), [0, 51, 255], np.uint8)
    out = image_to_tensor(image, 4, 4, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.1))
    assert np.allclose(out[:, 0, 0], [-1.0, -1.2, 5.0], rtol=1e-6)


def test_from_several_threads() -> None:
    images = [picture(seed, 90, 120) for seed in range(4)]
    expected = [image_to_tensor(image, 32, 32) for image in images]
    wrong: list[int] = []

    def work(index: int) -> None:
        results = (image_to_tensor(images[index], 32, 32) for _ in range(50))
        wrong.extend(index for result in results if not (result == expected[index]).all())

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        [[0, 0, 0]],
    ],
)
def test_what_is_no_picture(image: Any) -> None:
    with pytest.raises(KernelError, match="image: found"):
        image_to_tensor(image, 4, 4)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((3, 4, 5), np.float32),
        np.zeros((3, 4, 4), np.float64),
        np.zeros((4, 4, 3), np.float32).transpose(2, 0, 1),
        np.broadcast_to(np.float32(0), (3, 4, 4)),
    ],
)
def test_out_that_does_not_fit(out: Any) -> None:
    with pytest.raises(KernelError, match="out: found"):
        image_to_tensor(np.zeros((9, 9, 3), np.uint8), 4, 4, out=out)


@pytest.mark.parametrize("name", instruction_sets()[:1])
@pytest.mark.parametrize(
    "changes", [{"start": [-1, 0]}, {"start": [3, 0]}, {"count": [0, 1]}, {"count": [1, 3]}, {"start": [0]}]
)
def test_compiled_refuses_a_plan_that_leaves_the_picture(name: str, changes: dict[str, list[int]]) -> None:
    good = {"start": [0, 1], "count": [1, 1]}
    start, count = (np.asarray((good | changes)[key], np.int32) for key in ("start", "count"))
    fine = [np.asarray(values, np.int32) for values in ([0, 1], [1, 1], [[1 << 22, 0], [1 << 22, 0]])]
    image, table = np.zeros((3, 3, 3), np.uint8), np.zeros((3, 256), np.float32)
    out = np.zeros((3, 2, 2), np.float32)
    with using(name) as compiled:
        compiled.resample(image, *fine, *fine, table, out)
        with pytest.raises(ValueError, match="plan"):
            compiled.resample(image, start, count, fine[2], *fine, table, out)
        with pytest.raises(ValueError, match="plan"):
            compiled.resample(image, *fine, start, count, fine[2], table, out)
