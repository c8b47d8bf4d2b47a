"""Pictures in a camera's own bytes: what is refused, the RGB that they become, and encoders that see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bundles import tiny_bundle, tiny_inputs
from chiasm.kernels import ImageConverter, image_to_tensor
from chiasm.kernels.frames import frame_of
from chiasm.kernels.reference.image import yuv_to_rgb
from chiasm.runtime import Packet, VideoFrame, load
from chiasm.runtime.errors import InputError, SourceError
from chiasm.runtime.manifest import ImageModality
from chiasm.runtime.pipeline import Pipeline
from chiasm.runtime.preprocess import image as preprocessing
from chiasm.runtime.preprocess.image import image_tensor, image_tensors

EYE = ImageModality(
    name="eye", part="eye", rate_hz=30.0, max_age_s=0.5, tokens=(16, 128), height=48, width=64, resize="shortest-edge",
    filter="area", crop="centre", scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4),
)  # fmt: skip
WIDE = msgspec.structs.replace(EYE, name="wide", height=96, width=96, resize="exact", filter="bicubic", crop="none")


def noise(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def frames() -> list[VideoFrame]:
    """120 × 200 in every format."""
    luma, half = noise(120, 200), (60, 100)
    return [
        VideoFrame(noise(120, 200, 3), "rgb"), VideoFrame(noise(120, 200, 3), "bgr"),
        VideoFrame(noise(120, 200, 4), "bgra"), VideoFrame(luma, "gray"),
        VideoFrame(noise(180, 200), "nv12"), VideoFrame((luma, noise(*half, 2)), "nv12", "bt709"),
        VideoFrame(noise(180, 200), "i420", "bt709", True), VideoFrame(noise(120, 200, 2), "yuyv"),
        VideoFrame((luma, noise(*half), noise(61, 100)[1:]), "i420"),
    ]  # fmt: skip


@pytest.mark.parametrize("frame", frames(), ids=lambda frame: frame.format)
def test_as_an_array_it_is_rgb(frame: VideoFrame) -> None:
    assert frame.shape == (120, 200, 3)
    bytes_of = frame_of(frame.pixels, frame.format, frame.matrix, frame.full_range)
    expected = bytes_of.planes[0] if bytes_of.matrix is None else yuv_to_rgb(bytes_of.planes, bytes_of.matrix)
    picture = np.asarray(frame)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, expected)
    np.testing.assert_array_equal(np.asarray(frame, np.float32), expected.astype(np.float32))
    with pytest.raises(ValueError, match="copy=False"):
        np.array(frame, copy=False)


@pytest.mark.parametrize("frame", frames(), ids=lambda frame: frame.format)
def test_an_encoder_sees_what_it_would_see_in_rgb(frame: VideoFrame) -> None:
    np.testing.assert_array_equal(image_tensor(frame, EYE), image_tensor(frame.rgb(), EYE))
    grey = msgspec.structs.replace(EYE, channels=1, mean=(0.5,), std=(0.2,))
    np.testing.assert_array_equal(image_tensor(frame, grey), image_tensor(frame.rgb(), grey))


@pytest.mark.parametrize(
    ("pixels", "format", "found"),
    [
        (noise(120, 200, 3), "nv12", "uint8 of shape (120, 200, 3)"),
        (noise(121, 200), "i420", "uint8 of shape (121, 200)"),
        (noise(120, 201, 2), "yuyv", "W even"),
        (noise(120, 200, 3).astype(np.float32), "bgr", "float32"),
        (noise(120, 200, 3), "yv24", "'yv24'"),
        (None, "bgr", "NoneType"),
        ((noise(120, 200), noise(60, 100)), "nv12", "(60, 100)"),
    ],
)  # fmt: skip
def test_pixels_of_another_format_are_refused_at_once(pixels: Any, format: str, found: str) -> None:
    with pytest.raises(InputError, match="Not a video frame") as error:
        VideoFrame(pixels, format)
    assert found in str(error.value)


def test_raw_bytes_are_refused_with_the_way_to_make_an_array_of_them() -> None:
    with pytest.raises(InputError, match=r"found bytes.*np\.frombuffer\(data, np\.uint8\)\.reshape"):
        VideoFrame(bytes(180 * 200), "nv12")


def test_what_it_says_of_itself_is_short() -> None:
    assert repr(VideoFrame(noise(180, 200), "nv12", "bt709")) == "VideoFrame(200 × 120, nv12, bt709, limited)"


@pytest.mark.parametrize("format", ["nv12", "bgr"])
def test_an_unknown_matrix_is_refused(format: str) -> None:
    pixels = noise(180, 200) if format == "nv12" else noise(180, 200, 3)
    with pytest.raises(InputError, match=r"Not a video frame \(matrix\): found 'bt2020', expected 'bt601' or 'bt709'"):
        VideoFrame(pixels, format, "bt2020")


@pytest.mark.parametrize("image", [noise(120, 200, 3), VideoFrame(noise(180, 200), "nv12")], ids=["rgb", "nv12"])
def test_one_picture_for_two_encoders_gives_what_each_gives(image: Any) -> None:
    out = np.zeros((1, 3, 96, 96), np.float32)
    eye, wide = image_tensors(image, [EYE, WIDE], [None, out])
    assert wide is out
    np.testing.assert_array_equal(eye, image_tensor(image, EYE))
    np.testing.assert_array_equal(wide, image_tensor(image, WIDE))


@pytest.mark.parametrize(("height", "threads"), [(360, 1), (720, 3)])
def test_several_threads_are_for_large_pictures(monkeypatch: pytest.MonkeyPatch, height: int, threads: int) -> None:
    asked: list[int] = []

    def watched(*args: Any, threads: int, **options: Any) -> Any:
        asked.append(threads)
        return ImageConverter(*args, threads=threads, **options)

    monkeypatch.setattr(preprocessing, "ImageConverter", watched)
    picture = noise(height, height * 16 // 9, 3)
    np.testing.assert_array_equal(image_tensor(picture, EYE, threads=3), image_tensor(picture, EYE))
    assert asked == [threads, 1]


def test_pictures_may_change_their_size_and_kind() -> None:
    out = np.zeros((1, 3, EYE.height, EYE.width), np.float32)
    fill = preprocessing.Pictures([EYE], [out])
    frame = VideoFrame(noise(180, 200), "nv12")
    for picture in (noise(90, 160, 3), noise(90, 160, 3)[:, ::-1], noise(120, 200, 3), frame, noise(120, 200, 3)):
        fill(picture)
        np.testing.assert_array_equal(out, image_tensor(picture, EYE))
    for wrong in (noise(120, 200, 3).astype(np.float32), noise(120, 200), noise(120, 200, 4), "picture"):
        with pytest.raises(InputError):
            fill(wrong)
    fill(noise(120, 200, 3))


def test_two_that_cannot_see_a_picture_are_named() -> None:
    narrow = msgspec.structs.replace(WIDE, resize="none")
    with pytest.raises(InputError, match="wide: cannot be brought to 96 × 96"):
        image_tensors(noise(20, 30, 3), [EYE, narrow], [None, None])


# --- in a pipeline with two encoders for pictures ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("eyes"), modalities=("image", "wide", "text"), decoder=False)


@pytest.fixture
def pipeline(two_eyes: Path) -> Iterator[Pipeline]:
    pytest.importorskip("onnxruntime")
    with load(two_eyes, backend="ort") as pipeline:
        yield pipeline


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The modalities of each preparation of pictures, as they come."""
    seen: list[tuple[str, ...]] = []
    fill = preprocessing.Pictures.__call__

    def watched(self: preprocessing.Pictures, image: Any) -> None:
        seen.append(tuple(each.name for each in self.modalities))
        fill(self, image)

    monkeypatch.setattr(preprocessing.Pictures, "__call__", watched)
    return seen


def test_a_picture_that_two_see_is_prepared_once(pipeline: Pipeline, prepared: list[tuple[str, ...]]) -> None:
    picture = tiny_inputs()["image"]
    both = pipeline(image=picture, wide=picture, text="clear")
    assert prepared == [("image", "wide")]
    assert both.timings["preprocess.image"] == both.timings["preprocess.wide"] > 0
    apart = pipeline(image=picture, wide=picture.copy(), text="clear")
    assert prepared[1:] == [("image",), ("wide",)]
    assert both.scores == apart.scores
    assert both.encoded == ("image", "wide", "text")


def test_what_is_kept_is_not_prepared_again(pipeline: Pipeline, prepared: list[tuple[str, ...]]) -> None:
    picture, other = tiny_inputs()["image"], tiny_inputs(1)["image"]
    kept = Packet("image", picture)
    pipeline(image=kept, wide=picture)
    result = pipeline(image=kept, wide=other)
    assert result.encoded == ("wide",)
    assert pipeline(image=kept, wide=kept.data).encoded == ("wide",)
    assert prepared == [("image", "wide"), ("wide",), ("wide",)]


def test_a_camera_frame_goes_to_both(pipeline: Pipeline, prepared: list[tuple[str, ...]]) -> None:
    frame = VideoFrame(noise(180, 200), "nv12", "bt709")
    seen = pipeline(image=frame, wide=frame)
    assert prepared == [("image", "wide")]
    assert seen.scores == pipeline(image=frame.rgb(), wide=frame.rgb()).scores


def test_a_picture_that_cannot_be_used_is_refused_before_any_encoder_runs(pipeline: Pipeline) -> None:
    with pytest.raises(InputError, match="image is not a colour picture of bytes"):
        pipeline(image=(bad := np.zeros((8, 8, 3))), wide=bad)
    assert not any(pipeline.runs.values())


def test_two_modalities_of_one_part_keep_their_own_results(tmp_path: Path) -> None:
    """Two cameras with one encoder: neither overwrites what the other saw."""
    pytest.importorskip("onnxruntime")

    def same_part(manifest: dict[str, Any]) -> None:
        manifest["modalities"][1] = {**manifest["modalities"][0], "name": "wide"}

    path = tiny_bundle(tmp_path, modalities=("image", "wide"), mutate=same_part, decoder=False)
    one, other = tiny_inputs()["image"], tiny_inputs(1)["image"]
    with load(path, backend="ort") as pipeline:
        result = pipeline(image=one, wide=other)
        alone = pipeline.encode(image=other)["image"]
        assert pipeline.runs["image"] == 3
        np.testing.assert_array_equal(result.embeddings["wide"], alone)
        assert not np.array_equal(result.embeddings["image"], result.embeddings["wide"])
        fused = pipeline(image=one, wide=other).scores
        assert fused != pipeline(image=other, wide=other).scores


# --- one source for two modalities ------------------------------------------------------------------------------------


class Pictures:
    """A source of pictures of its own at given times."""

    live, dropped = False, 0

    def __init__(self, modality: str, times: list[float]) -> None:
        self.modality, self.times = modality, times

    def __iter__(self) -> Iterator[Packet]:
        return (Packet(self.modality, noise(96, 128, 3), time_s) for time_s in self.times)

    def close(self) -> None:
        pass


def test_a_stream_hands_a_source_to_all_that_share_it(pipeline: Pipeline, prepared: list[tuple[str, ...]]) -> None:
    source = Pictures("image", [0.0, 0.1, 0.2])
    results = list(pipeline.stream([source], shared={"wide": "image"}))
    assert [result.present for result in results] == [("image", "wide")] * 3
    assert prepared == [("image", "wide")] * 3
    for result in results:
        assert result.snapshot is not None
        seen, too = result.snapshot.packets["image"], result.snapshot.packets["wide"]
        assert seen.data is too.data
        assert (too.modality, too.time_s, result.ages["wide"]) == ("wide", seen.time_s, result.ages["image"])


def test_a_uri_that_two_name_is_opened_once(pipeline: Pipeline, tmp_path: Path, prepared: list[Any]) -> None:
    cv2: Any = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "road.png"), noise(96, 128, 3))
    uri = str(tmp_path / "road.png")
    stream = pipeline.stream({"image": uri, "wide": uri, "text": "text:clear"})
    (result,) = list(stream)
    assert result.present == ("image", "wide", "text")
    assert prepared == [("image", "wide")]
    # A folder is shown at the rate of a modality: of two rates, each needs a source of its own.
    results = list(pipeline.stream({"image": str(tmp_path), "wide": str(tmp_path)}))
    assert results[0].present == ("image", "wide")
    assert prepared[1:] == [("image",), ("wide",)]


@pytest.mark.parametrize(
    ("sources", "shared", "says"),
    [
        (["image"], {"wide": "text"}, "wide shares a source that is not there: found text, expected one of image"),
        (["image", "wide"], {"wide": "image"}, "Two sources of wide"),
        (["image"], {"text": "image"}, "text cannot share the source of image: expected two image modalities"),
        (["image"], {"rear": "image"}, "no such modality: found rear"),
        (["image"], {"wide": "rear"}, "no such modality: found rear"),
    ],
)
def test_sources_that_cannot_be_shared(
    pipeline: Pipeline, sources: list[str], shared: dict[str, str], says: str
) -> None:
    with pytest.raises((InputError, SourceError), match=says):
        pipeline.stream([Pictures(name, [0.0]) for name in sources], shared=shared)


def test_pixels_are_not_copied() -> None:
    """A frame is what it was made of; its tensor is what the kernel makes of those bytes."""
    pixels = noise(180, 200)
    frame = VideoFrame(pixels, "nv12")
    assert frame.pixels is pixels
    direct = image_to_tensor(pixels, 48, 64, filter="area", mean=EYE.mean, std=EYE.std, format="nv12")
    np.testing.assert_array_equal(image_tensor(frame, EYE)[0], direct)
