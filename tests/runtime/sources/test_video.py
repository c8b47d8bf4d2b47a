from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.runtime import VideoFrame
from chiasm.runtime.errors import MissingExtraError, SourceError
from chiasm.runtime.manifest import ImageModality
from chiasm.runtime.sources import open_source
from chiasm.runtime.sources.containers import picture_of
from chiasm.runtime.sources.video import OpenCvVideo, PyAvVideo

from .conftest import FPS, FRAMES, shade

av: Any = pytest.importorskip("av")


def check(packets: list[Any], format: str) -> None:
    """Every frame of the test video, in order, at the container's times."""
    assert len(packets) == FRAMES
    assert [packet.time_s for packet in packets] == pytest.approx([index / FPS for index in range(FRAMES)], abs=1e-3)
    for index, packet in enumerate(packets):
        assert packet.data.shape == (48, 64, 3)
        assert isinstance(packet.data, VideoFrame)
        assert packet.data.format == format
        assert abs(float(np.asarray(packet.data).mean()) - shade(index)) < 4


def test_pyav_gives_every_frame_with_its_time(image: ImageModality, video: Path) -> None:
    source = open_source(image, str(video))
    assert isinstance(source, PyAvVideo)
    assert source.fps == FPS
    check(list(source), "i420")
    check(list(source), "i420")


def test_opencv_gives_the_same_where_pyav_is_missing(
    image: ImageModality, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2")
    monkeypatch.setitem(sys.modules, "av", None)
    source = open_source(image, str(video))
    assert isinstance(source, OpenCvVideo)
    check(list(source), "bgr")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"chiasm\[camera\]"):
        open_source(image, str(video))


def test_a_clock_that_starts_late_begins_at_zero(tmp_path: Path, image: ImageModality) -> None:
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")
            frame.pts = index + 70
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    times = [packet.time_s for packet in open_source(image, str(path))]
    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4], abs=2e-3)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "nv12"])
@pytest.mark.parametrize("matrix", [1, 2, 5, 6])
@pytest.mark.parametrize("full", [1, 2])
@pytest.mark.parametrize("width", [64, 50])
def test_decoded_bytes_have_the_colours_that_ffmpeg_gives_them(pixels: str, matrix: int, full: int, width: int) -> None:
    """Of either matrix and range, with lines that are longer than the picture is wide."""
    down, right = np.meshgrid(np.linspace(0, 255, 48), np.linspace(0, 255, width), indexing="ij")
    smooth = np.stack([right, down, (510 - right - down) / 2], axis=-1).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(smooth, format="rgb24").reformat(format=pixels)
    frame.colorspace, frame.color_range = matrix, full
    picture = picture_of(frame)
    assert isinstance(picture, VideoFrame)
    assert picture.format == ("nv12" if pixels == "nv12" else "i420")
    assert picture.matrix == ("bt709" if matrix == 1 else "bt601")
    assert picture.full_range == (full == 2 or pixels == "yuvj420p")
    space = "ITU709" if matrix == 1 else "ITU601"
    wide = "JPEG" if picture.full_range else "MPEG"
    expected = frame.reformat(format="rgb24", src_colorspace=space, src_color_range=wide, dst_color_range="JPEG")
    # FFmpeg interpolates the differences of colour, and rounds otherwise; the wrong matrix or range is off by 10 to 60.
    assert np.abs(np.asarray(picture).astype(int) - expected.to_ndarray()).max() <= 6


@pytest.mark.parametrize(("pixels", "size"), [("yuv444p", (48, 64)), ("yuv420p10le", (48, 64)), ("yuv420p", (47, 64)),
                                              ("gray", (48, 64))])  # fmt: skip
def test_rarer_frames_come_as_rgb(pixels: str, size: tuple[int, int]) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((*size, 3), 90, np.uint8), format="rgb24").reformat(format=pixels)
    picture = picture_of(frame)
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (*size, 3)
    assert abs(float(picture.mean()) - 90) < 3


def test_a_sound_file_has_no_video(tmp_path: Path, image: ImageModality) -> None:
    path = tmp_path / "only-sound.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        block = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        block.sample_rate = 8000
        out.mux(stream.encode(block))
        out.mux(stream.encode(None))
    with pytest.raises(SourceError, match="no video stream: found streams: audio"):
        open_source(image, str(path))


def test_noise_is_no_video(tmp_path: Path, image: ImageModality) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    with pytest.raises(SourceError, match="cannot be read as video or sound"):
        open_source(image, str(path))


def test_a_video_cut_short_says_so(tmp_path: Path, image: ImageModality, video: Path) -> None:
    whole = video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(SourceError, match="cannot be read as video"):
        open_source(image, str(tmp_path / "cut.mp4"))


def test_a_damaged_middle_loses_frames_not_the_stream(tmp_path: Path, image: ImageModality, video: Path) -> None:
    damaged = bytearray(video.read_bytes())
    middle = damaged.index(b"mdat") + 600
    damaged[middle : middle + 200] = bytes(200)
    (tmp_path / "damaged.mp4").write_bytes(damaged)
    packets = list(open_source(image, str(tmp_path / "damaged.mp4")))
    assert 1 <= len(packets) <= FRAMES


def test_files_of_other_kinds_are_refused_by_name(tmp_path: Path, image: ImageModality) -> None:
    (tmp_path / "drive.npz").write_bytes(b"PK")
    with pytest.raises(SourceError, match=r"image cannot come from this source.*drive\.npz"):
        open_source(image, str(tmp_path / "drive.npz"))
