"""Frames to tensors by the kernels for the GPU, their bodies run on this CPU, against the NumPy reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, cuda, reference
from chiasm.kernels.cuda import image as cuda_image
from chiasm.kernels.frames import frame_of
from chiasm.kernels.geometry import plan_image
from chiasm.kernels.spec import ImageSpec
from emulated import EmulatedDriver, GpuArray, on_cpu
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

relaxed = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FORMATS = ("rgb", "bgr", "rgba", "bgra", "gray", "nv12", "i420", "yuyv")


def frames(seed: int, format: str, height: int, width: int, count: int | None = None) -> Any:
    """Noise, or noisy edges, in the shape of the format; even sizes where it asks for them."""
    rng = np.random.default_rng(seed)
    if format in ("nv12", "i420"):
        shape: tuple[int, ...] = (3 * height, 2 * width)
    elif format == "yuyv":
        shape = (height, 2 * width, 2)
    else:
        shape = (height, width) if format == "gray" else (height, width, len(format))
    whole = shape if count is None else (count, *shape)
    if seed % 2:
        return rng.integers(0, 256, whole, dtype=np.uint8)
    return (rng.integers(0, 2, whole) * 255).astype(np.uint8)


def expected(image: Any, spec: ImageSpec, format: str, matrix: str = "bt601", full_range: bool = False) -> Any:
    frame = frame_of(image, format, matrix, full_range)
    out = np.zeros(spec.shape, spec.dtype)
    plan = reference.ImagePlan(*plan_image(spec, frame.size).arguments())
    reference.image_to_tensors(frame.planes, frame.matrix, [plan], [out], 1)
    return out


specs = st.builds(
    lambda size, filter, geometry, layout, channels, dtype: ImageSpec(
        *size, filter=filter, layout=layout, channels=channels, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4),
        **geometry, **dtype,
    ),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    filter=st.sampled_from(["area", "bilinear", "hamming", "bicubic", "lanczos", "nearest", "opencv-linear"]),
    geometry=st.sampled_from([
        {"resize": "exact"}, {"resize": "exact", "order": "pillow"}, {"resize": "shortest-edge"},
        {"resize": "longest-edge", "pad": (1, 2, 3)}, {"resize": "longest-edge", "fill": -1.5},
    ]),
    layout=st.sampled_from(["chw", "hwc"]),
    channels=st.sampled_from(["rgb", "bgr"]),
    dtype=st.sampled_from([
        {"dtype": "float32"}, {"dtype": "float16"}, {"dtype": "int8", "quant_scale": 0.05, "zero_point": 3},
    ]),
)  # fmt: skip


@relaxed
@given(
    seed=st.integers(0, 2**32 - 1),
    format=st.sampled_from(FORMATS),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    spec=specs,
    full_range=st.booleans(),
    matrix=st.sampled_from(["bt601", "bt709"]),
)
def test_tensor_is_the_references(
    gpu: EmulatedDriver, seed: int, format: str, height: int, width: int, spec: ImageSpec, full_range: bool, matrix: str
) -> None:
    image = frames(seed, format, height, width)
    words = {"format": format, "matrix": matrix, "full_range": full_range}
    made = on_cpu(cuda.image_to_tensor(GpuArray(image), spec=spec, **words))
    assert made.dtype == spec.dtype
    assert (made == expected(image, spec, **words)).all()


@pytest.mark.parametrize("filter", ["bilinear", "lanczos", "opencv-linear", "nearest"])
@pytest.mark.parametrize(("format", "packing"), [("nv12", 1), ("rgb", 2), ("bgr", 3), ("i420", 0), ("rgba", 0)])
def test_batches_and_rows_read_sixteen_pixels_at_once(
    gpu: EmulatedDriver, format: str, packing: int, filter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    yuv = format in ("nv12", "i420")
    images = frames(3, format, 48 if yuv else 96, 80 if yuv else 160, count=3)
    spec = ImageSpec(28, 28, filter=filter, dtype="float16")
    found: list[int] = []
    real = cuda_image._packing
    monkeypatch.setattr(cuda_image, "_packing", lambda *arguments: found.append(real(*arguments)) or found[-1])
    made = on_cpu(cuda.image_to_tensor(GpuArray(images), spec=spec, format=format, batch=True))
    assert found == [packing]
    assert (made == np.stack([expected(image, spec, format) for image in images])).all()
    kernels = [name for name, _, _ in gpu.launches]
    assert kernels == ["chiasm_image_tiled" if filter in ("bilinear", "lanczos") else "chiasm_image_sampled"]


def test_several_outputs_of_one_frame(gpu: EmulatedDriver) -> None:
    image = frames(5, "nv12", 30, 40)
    both = [ImageSpec(16, 16, filter="bicubic"), ImageSpec(24, 20, resize="longest-edge", pad=114, dtype="float16")]
    outs = [None, GpuArray(np.zeros(both[1].shape, np.float16))]
    made = cuda.image_to_tensors(GpuArray(image), both, format="nv12", outs=outs)
    assert made[1] is outs[1]
    for tensor, spec in zip(made, both, strict=True):
        assert (on_cpu(tensor) == expected(image, spec, "nv12")).all()


def test_planes_as_a_tuple_and_strided_views(gpu: EmulatedDriver) -> None:
    luma, both = frames(7, "gray", 40, 60), frames(8, "gray", 20, 60).reshape(20, 30, 2)
    spec = ImageSpec(20, 20)
    made = cuda.image_to_tensor((GpuArray(luma), GpuArray(both)), spec=spec, format="nv12")
    assert (on_cpu(made) == expected((luma, both), spec, "nv12")).all()
    whole = frames(9, "rgb", 50, 50)
    view = whole[40:5:-1, 3:45:2]
    there = GpuArray(whole)
    at = view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    there.interface |= {"shape": view.shape, "strides": view.strides, "data": (int(there.memory) + at, True)}
    assert (on_cpu(cuda.image_to_tensor(there, spec=spec)) == expected(view, spec, "rgb")).all()


@pytest.mark.parametrize(("size", "target"), [((700, 40), (2, 3)), ((3, 1200), (40, 2)), ((1, 1), (70, 70))])
def test_extreme_sizes(gpu: EmulatedDriver, size: tuple[int, int], target: tuple[int, int]) -> None:
    image = frames(11, "rgb", *size)
    spec = ImageSpec(*target, resize="exact", filter="lanczos")
    assert (on_cpu(cuda.image_to_tensor(GpuArray(image), spec=spec)) == expected(image, spec, "rgb")).all()


def test_what_does_not_fit_a_tile_goes_pixel_by_pixel(gpu: EmulatedDriver) -> None:
    image = frames(13, "gray", 2, 9000)
    spec = ImageSpec(2, 2, resize="exact", filter="lanczos")
    made = cuda.image_to_tensor(GpuArray(image), spec=spec, format="gray")
    assert (on_cpu(made) == expected(image, spec, "gray")).all()
    assert [name for name, _, _ in gpu.launches] == ["chiasm_image_weighed"]


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"image": np.zeros((4, 4, 3), np.float32)}, "image"),
        ({"image": np.zeros((4, 4), np.uint8)}, "image"),
        ({"format": "argb"}, "format"),
        ({"image": np.zeros((5, 4), np.uint8), "format": "nv12"}, "image"),
        ({"out": np.zeros((3, 4, 5), np.float32)}, "out"),
        ({"height": None}, "height, width"),
    ],
)
def test_what_cannot_be(gpu: EmulatedDriver, arguments: dict[str, Any], argument: str) -> None:
    """Refused in the same words as on a CPU."""
    from chiasm.kernels import image_to_tensor

    given = {"image": np.zeros((8, 8, 3), np.uint8), "height": 4, "width": 4, **arguments}
    told = []
    for run, place in ((cuda.image_to_tensor, GpuArray), (image_to_tensor, np.asarray)):
        arrays = {name: place(value) for name, value in given.items() if isinstance(value, np.ndarray)}
        with pytest.raises(KernelError) as caught:
            run(**{**given, **arrays})
        assert caught.value.argument == argument
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert gpu.launches == []


def test_batches_that_cannot_be(gpu: EmulatedDriver) -> None:
    with pytest.raises(KernelError, match="frames"):
        cuda.image_to_tensor(GpuArray(np.zeros((0, 4, 4, 3), np.uint8)), 2, 2, batch=True)
    planes = (GpuArray(np.zeros((2, 4, 4), np.uint8)), GpuArray(np.zeros((3, 2, 2, 2), np.uint8)))
    with pytest.raises(KernelError, match="frames"):
        cuda.image_to_tensor(planes, 2, 2, format="nv12", batch=True)
