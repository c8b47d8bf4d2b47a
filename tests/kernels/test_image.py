"""Frames to tensors: Pillow's and OpenCV's pictures, and the same bits from NumPy and from C++."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import PIL
import pytest
from chiasm.kernels import ImageConverter, ImageSpec, KernelError, image_to_tensor, image_to_tensors, reference
from chiasm.kernels.frames import frame_of
from hypothesis import given, settings
from hypothesis import strategies as st
from image_cases import conversion, frame, pixels, run
from kernel_twins import instruction_sets, using
from PIL import Image

PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
ORDERED = int(PIL.__version__.partition(".")[0]) >= 13
Array = np.ndarray[Any, Any]
kinds = st.sampled_from(sorted(PILLOW))
seeds = st.integers(0, 2**32 - 1)


def picture(seed: int, height: int, width: int) -> Array:
    return pixels(np.random.default_rng(seed), (height, width, 3))


def pillow(image: Array, height: int, width: int, kind: str) -> Array:
    return np.asarray(Image.fromarray(image).resize((width, height), PILLOW[kind]))


def across(image: Array, height: int, width: int, kind: str) -> Array:
    """Pillow's resize, across first and then down, whatever order it would choose."""
    return pillow(pillow(image, image.shape[0], width, kind), height, width, kind)


def as_bytes(image: Array, height: int, width: int, kind: str, **settings: Any) -> Array:
    return image_to_tensor(
        image, height, width, filter=kind, resize="exact", scale=1.0, dtype="uint8", layout="hwc", **settings
    )


@settings(max_examples=500, deadline=None)
@given(seed=seeds, size=st.tuples(*[st.integers(1, 120)] * 4), kind=kinds)
def test_is_pillows_picture(seed: int, size: tuple[int, int, int, int], kind: str) -> None:
    image = picture(seed, size[0], size[1])
    assert (as_bytes(image, size[2], size[3], kind) == across(image, size[2], size[3], kind)).all()


@pytest.mark.parametrize("name", instruction_sets())
def test_targets_of_few_and_of_many_taps(name: str) -> None:
    """Up to 16 pairs there is a loop for each number of them; where the low parts of weights decide is soon met."""
    with using(name):
        for width in range(70, 1800, 47):
            image = picture(width, 9, width)
            assert (as_bytes(image, 9, 70, "lanczos") == pillow(image, 9, 70, "lanczos")).all(), width


@pytest.mark.skipif(not ORDERED, reason="Pillow's order is its order since version 13")
@settings(max_examples=500, deadline=None)
@given(seed=seeds, tall=st.integers(1, 8), size=st.tuples(*[st.integers(1, 80)] * 4), kind=kinds)
def test_is_pillows_picture_in_pillows_order(seed: int, tall: int, size: tuple[int, int, int, int], kind: str) -> None:
    image = picture(seed, size[0] * tall, size[1])
    ours = as_bytes(image, size[2], size[3], kind, order="pillow")
    assert (ours == pillow(image, size[2], size[3], kind)).all()


def test_the_order_makes_a_difference_somewhere() -> None:
    image = picture(1, 300, 40)
    first, second = (as_bytes(image, 20, 40, "bicubic", order=order).astype(int) for order in ("across", "pillow"))
    assert (first == second).all()  # the width stays: there is one pass only
    first, second = (as_bytes(image, 20, 33, "bicubic", order=order).astype(int) for order in ("across", "pillow"))
    assert (first != second).any()


@settings(max_examples=300, deadline=None)
@given(seed=seeds, size=st.tuples(*[st.integers(1, 150)] * 4))
def test_is_opencvs_picture(seed: int, size: tuple[int, int, int, int]) -> None:
    """At most a grey level apart and 99.9 % the same, on one processor or another; on x86 they are the same."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is the peer")
    image = picture(seed, size[0], size[1])
    theirs = cv2.resize(image, (size[3], size[2]), interpolation=cv2.INTER_LINEAR).astype(int)
    apart = np.abs(as_bytes(image, size[2], size[3], "opencv-linear") - theirs)
    assert apart.max() <= 1
    assert (apart == 0).mean() >= 0.999


@pytest.mark.parametrize("kind", sorted(PILLOW))
@pytest.mark.parametrize("size", [(360, 640), (640, 360), (480, 640), (64, 64), (40, 50)])
def test_camera_frames_as_pillow_resizes_and_crops_them(size: tuple[int, int], kind: str) -> None:
    image = picture(3, *size)
    height, width = (64, 64 * size[1] // size[0]) if size[0] <= size[1] else (64 * size[0] // size[1], 64)
    resized = np.asarray(Image.fromarray(image).resize((width, height), PILLOW[kind]))
    top, left = (height - 64) // 2, (width - 64) // 2
    ours = image_to_tensor(image, 64, 64, filter=kind, scale=1.0)
    assert (ours == resized[top : top + 64, left : left + 64].transpose(2, 0, 1)).all()


@pytest.mark.parametrize("name", instruction_sets())
def test_compiled_is_the_reference(name: str) -> None:
    """Every format, filter, layout and dtype, one to three outputs, any strides and any number of threads."""
    rng = np.random.default_rng(11)
    with using(name) as compiled:
        for index in range(2000):
            taken, specs = conversion(rng)
            ours, truth = run(compiled, taken, specs, threads=1 + index % 4), run(reference, taken, specs)
            for our, true, spec in zip(ours, truth, specs, strict=True):
                assert np.array_equal(our, true), (index, taken.size, spec)


@pytest.mark.parametrize("name", instruction_sets())
def test_compiled_is_the_reference_on_large_frames(name: str) -> None:
    rng = np.random.default_rng(12)
    with using(name) as compiled:
        for _ in range(6):
            taken, specs = conversion(rng, most=1200)
            for our, true in zip(run(compiled, taken, specs, 3), run(reference, taken, specs), strict=True):
                assert np.array_equal(our, true), (taken.size, specs)


def test_several_outputs_are_those_made_one_by_one() -> None:
    rng = np.random.default_rng(13)
    image = frame(rng, "nv12", 200, 300)
    specs = [
        ImageSpec(56, 56, filter="bicubic", mean=(0.5, 0.4, 0.3)),
        ImageSpec(96, 96, filter="bilinear", resize="exact", dtype="float16"),
        ImageSpec(64, 64, resize="longest-edge", pad=114, layout="hwc", dtype="uint8", scale=1.0),
        ImageSpec(30, 280, filter="area", resize="exact", order="pillow"),
        ImageSpec(40, 60, filter="opencv-linear", resize="exact"),
        ImageSpec(50, 50, box=(20, 100, 120, 280)),
        # The first picture again with other numbers; a picture twice, once with margins: each is made once.
        ImageSpec(56, 56, filter="bicubic", channels="bgr", dtype="int8", quant_scale=0.01),
        ImageSpec(70, 99, filter="bicubic", edge=56, box=(0, 50, 200, 250), pad=3),
        ImageSpec(56, 56, filter="bicubic", resize="exact", box=(0, 50, 200, 250), layout="hwc"),
    ]
    together = image_to_tensors(image, specs, format="nv12", matrix="bt709", threads=2)
    for spec, tensor in zip(specs, together, strict=True):
        alone = image_to_tensor(image, spec=spec, format="nv12", matrix="bt709")
        assert alone.dtype == tensor.dtype == spec.dtype
        assert np.array_equal(alone, tensor)
    assert image_to_tensors(image, [], format="nv12") == ()


def views(image: Array) -> dict[str, Array]:
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


@pytest.mark.parametrize("kind", ["bicubic", "opencv-linear"])
@pytest.mark.parametrize("name", sorted(views(np.zeros((1, 1, 3), np.uint8))))
def test_views_are_read_in_place(name: str, kind: str) -> None:
    view = views(picture(5, 70, 90))[name]
    expected = image_to_tensor(np.ascontiguousarray(view), 32, 24, filter=kind, resize="exact")
    assert (image_to_tensor(view, 32, 24, filter=kind, resize="exact") == expected).all()


def test_read_only_pictures_are_fine_and_unchanged() -> None:
    image = picture(7, 30, 40)
    before = image.copy()
    image.flags.writeable = False
    image_to_tensor(image, 16, 16)
    assert (image == before).all()


def test_a_box_is_the_view() -> None:
    image = picture(8, 90, 120)
    for kind in ("bicubic", "opencv-linear", "nearest"):
        boxed = image_to_tensor(image, 20, 30, filter=kind, resize="exact", box=(10, 33, 71, 110))
        assert (boxed == image_to_tensor(image[10:71, 33:110], 20, 30, filter=kind, resize="exact")).all()


def test_margins() -> None:
    image = np.full((20, 40, 3), 50, np.uint8)
    out = image_to_tensor(image, 40, 40, resize="longest-edge", pad=(1, 2, 3), scale=1.0, std=(0.5, 1.0, 1.0))
    assert (out[:, 10:30] == np.asarray([100.0, 50.0, 50.0])[:, None, None]).all()
    for part in (out[:, :10], out[:, 30:]):
        assert (part == np.asarray([2.0, 2.0, 3.0])[:, None, None]).all()
    corner = image_to_tensor(image, 40, 40, resize="none", crop=(0, 0), fill=-7.0, scale=1.0)
    assert (corner[:, :20] == 50.0).all()
    assert (corner[:, 20:] == -7.0).all()


def test_writes_into_out() -> None:
    image = picture(11, 50, 50)
    out = np.full((2, 3, 20, 20), -1.0, np.float32)
    result = image_to_tensor(image, 20, 20, out=out[1])
    assert result.base is out
    assert (out[0] == -1.0).all()
    assert (out[1] == image_to_tensor(image, 20, 20)).all()
    halves = np.zeros((20, 20, 3), np.float16)
    specs = [ImageSpec(20, 20), ImageSpec(20, 20, layout="hwc", dtype="float16")]
    made = image_to_tensors(image, specs, outs=[None, halves])
    assert made[1] is halves
    assert np.array_equal(halves, out[1].transpose(1, 2, 0).astype(np.float16))


def test_normalises() -> None:
    image = np.full((9, 9, 3), [0, 51, 255], np.uint8)
    out = image_to_tensor(image, 4, 4, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.1))
    assert np.allclose(out[:, 0, 0], [-1.0, -1.2, 5.0], rtol=1e-6)


def test_from_several_threads() -> None:
    images = [picture(seed, 90, 120) for seed in range(4)]
    expected = [image_to_tensor(image, 32, 32) for image in images]
    wrong: list[int] = []

    def work(index: int) -> None:
        results = (image_to_tensor(images[index], 32, 32, threads=2) for _ in range(30))
        wrong.extend(index for result in results if not (result == expected[index]).all())

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


IMAGE = np.zeros((8, 8, 3), np.uint8)
SHARED = np.zeros((3, 4, 4), np.float32)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"height": 4}, "height, width"),
        ({"height": 4, "width": 4, "colour": "rgb"}, "colour"),
        ({"spec": ImageSpec(4, 4), "height": 4}, "spec"),
        ({"spec": ImageSpec(4, 4), "filter": "area"}, "spec"),
        ({"height": 4, "width": 4, "format": "rgb24"}, "format"),
        ({"height": 4, "width": 4, "threads": 0}, "threads"),
        ({"height": 4, "width": 4, "threads": 2.0}, "threads"),
        ({"height": 4, "width": 4, "box": (0, 0, 9, 4)}, "box"),
        ({"height": 9, "width": 9, "resize": "none"}, "crop"),
        ({"height": 4, "width": 4, "out": np.zeros((3, 4, 5), np.float32)}, "out"),
        ({"height": 4, "width": 4, "out": np.zeros((3, 4, 4), np.float64)}, "out"),
        ({"height": 4, "width": 4, "out": np.zeros((3, 4, 8), np.float32)[:, :, ::2]}, "out"),
        ({"height": 4, "width": 4, "dtype": "float16", "out": np.zeros((3, 4, 4), np.float32)}, "out"),
        ({"height": 4, "width": 4, "out": [0.0]}, "out"),
    ],
)
def test_what_cannot_be_asked(arguments: dict[str, Any], argument: str) -> None:
    with pytest.raises(KernelError) as caught:
        image_to_tensor(IMAGE, **arguments)
    assert caught.value.argument == argument


def test_out_is_writeable_and_apart() -> None:
    out = np.zeros((3, 4, 4), np.float32)
    out.flags.writeable = False
    with pytest.raises(KernelError, match="out: found"):
        image_to_tensor(IMAGE, 4, 4, out=out)
    memory = np.zeros(4000, np.uint8)
    image, inside = memory[:192].reshape(8, 8, 3), memory[100:292].view(np.float32).reshape(3, 4, 4)
    with pytest.raises(KernelError, match="out: found memory that it shares with image"):
        image_to_tensor(image, 4, 4, out=inside)
    specs = [ImageSpec(4, 4), ImageSpec(4, 4)]
    with pytest.raises(KernelError, match=r"outs\[1\]: found memory that it shares with outs\[0\]"):
        image_to_tensors(IMAGE, specs, outs=[SHARED, SHARED])
    with pytest.raises(KernelError, match="outs: found 1 arrays"):
        image_to_tensors(IMAGE, specs, outs=[None])
    with pytest.raises(KernelError, match=r"specs\[0\]: found tuple"):
        image_to_tensors(IMAGE, [(4, 4)])  # type: ignore[list-item]


def test_a_converter_takes_frames_of_one_size() -> None:
    spec, out = ImageSpec(4, 4), np.zeros((3, 4, 4), np.float32)
    convert = ImageConverter([spec], IMAGE.shape[:2], [out])
    assert convert.outs[0] is out
    for image in (IMAGE, IMAGE[::-1], IMAGE[:, ::-1], frame_of(IMAGE, "bgr", "bt601", False)):
        assert convert.takes(image)
        convert(image)
        np.testing.assert_array_equal(out, image_to_tensor(image, spec=spec))
    taller, greys, halves = np.repeat(IMAGE, 2, axis=0), IMAGE[:, :, 0], IMAGE.astype(np.float32)
    for wrong in (taller, greys, halves, None, frame_of(taller, "rgb", "bt601", False)):
        assert not convert.takes(wrong)
        with pytest.raises(KernelError, match="image: found"):
            convert(wrong)
    size = out.nbytes // 12
    inside = out.view(np.uint8).reshape(4, size, 3)
    with pytest.raises(KernelError, match=r"outs\[0\]: found memory that it shares with image"):
        ImageConverter([spec], (4, size), [out])(inside)
