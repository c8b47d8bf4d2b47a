from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.runtime.errors import MissingExtraError, SinkError
from chiasm.runtime.sinks import AnnotatedVideo, VideoWriter, film, open_sink
from chiasm.runtime.values import Result

av: Any = pytest.importorskip("av")
pytest.importorskip("cv2")
Make = Callable[..., Result]


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as video:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in video.decode(video=0)]


def with_sound(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        stream.layout = "mono"
        tone = np.sin(np.arange(16000) / 5).astype(np.float32)[None] * np.float32(0.5)
        block = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        block.sample_rate = 16000
        out.mux(stream.encode(block))
        out.mux(stream.encode(None))
    return path


def test_an_annotated_video_plays_in_a_browser(tmp_path: Path, result: Make) -> None:
    path = tmp_path / "annotated.mp4"
    with open_sink(str(path), modalities=("image", "audio", "text")) as sink:
        for index in range(10):
            sink.write(result(5.0 + index / 10, grey=60 + 10 * index))
        assert not path.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["annotated.mp4"]
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (1280, 640)
    raw = path.read_bytes()
    assert raw.index(b"moov") < raw.index(b"mdat")
    frames = frames_of(path)
    assert [time_s for time_s, _ in frames] == pytest.approx([index / 10 for index in range(10)], abs=1e-3)
    for index, (_, picture) in enumerate(frames):
        assert abs(float(picture[200:300, 200:700].mean()) - (60 + 10 * index)) < 4


def test_colours_survive(tmp_path: Path) -> None:
    colour = (200, 60, 40)
    with VideoWriter(tmp_path / "c.mp4", (128, 96), fps=10) as video:
        video.add(np.full((96, 128, 3), colour, np.uint8), 0.0)
        video.add(np.full((96, 128, 3), colour, np.uint8), 0.1)
    with av.open(str(tmp_path / "c.mp4")) as file:
        context = file.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        frame = next(file.decode(video=0))
        picture = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    assert np.abs(picture.mean((0, 1)) - colour).max() < 4


def test_the_sound_is_copied(tmp_path: Path, result: Make) -> None:
    path = tmp_path / "loud.mp4"
    sound = with_sound(tmp_path / "sound.mp4")
    with AnnotatedVideo(path, (640, 320), sound=sound) as sink:
        for index in range(10):
            sink.write(result(0.05 + index / 10))
    with av.open(str(path)) as video, av.open(str(sound)) as original:
        heard = [bytes(packet) for packet in video.demux(audio=0) if packet.size]
        assert heard == [bytes(packet) for packet in original.demux(audio=0) if packet.size]
    assert frames_of(path)[0][0] == pytest.approx(0.05, abs=1e-3)


def test_samples_become_a_sound_track(tmp_path: Path) -> None:
    path = tmp_path / "tone.mp4"
    tone = (0.5 * np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)).astype(np.float32)
    with VideoWriter(path, (64, 64), fps=10, sound=(tone, 16000)) as video:
        for index in range(10):
            video.add(np.zeros((64, 64, 3), np.uint8), index / 10)
    with av.open(str(path)) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
        heard = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    assert len(heard) == pytest.approx(16000, abs=1100)
    assert np.abs(np.fft.rfft(heard[2000:10000])).argmax() == 250
    assert np.abs(heard[2000:10000]).max() == pytest.approx(0.5, abs=0.05)
    assert len(frames_of(path)) == 10


def test_a_sound_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="cannot be copied"):
        VideoWriter(tmp_path / "a.mp4", (64, 64), sound=tmp_path / "no.mp4")
    assert list(tmp_path.iterdir()) == []


def test_repeated_times_are_one_frame(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "a.mp4", (64, 64), fps=10)
    for time_s in (0.0, 0.0, 0.1, 0.05, 0.2):
        video.add(np.zeros((64, 64, 3), np.uint8), time_s)
    video.close()
    video.close()
    assert len(frames_of(tmp_path / "a.mp4")) == 3
    with pytest.raises(SinkError, match="is closed"):
        video.add(np.zeros((64, 64, 3), np.uint8), 0.3)


def test_nothing_is_left_of_an_aborted_or_empty_video(tmp_path: Path, result: Make) -> None:
    def break_off() -> None:
        with AnnotatedVideo(tmp_path / "a.mp4", (640, 320)) as sink:
            sink.write(result())
            raise RuntimeError("something broke")

    with pytest.raises(RuntimeError):
        break_off()
    AnnotatedVideo(tmp_path / "b.mp4", (640, 320)).close()
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_without_h264(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "ENCODERS", ("no-such-encoder",))
    with pytest.raises(SinkError, match=r"without an H.264 encoder.*pip install"):
        VideoWriter(tmp_path / "a.mp4", (64, 64))
    assert list(tmp_path.iterdir()) == []


def test_the_other_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        av.codec.Codec("libopenh264", "w")
    except ValueError:
        pytest.skip("this PyAV has only one H.264 encoder")
    monkeypatch.setattr(film, "ENCODERS", ("libopenh264",))
    with VideoWriter(tmp_path / "a.mkv", (64, 64)) as video:
        video.add(np.full((64, 64, 3), 90, np.uint8), 0.0)
    assert len(frames_of(tmp_path / "a.mkv")) == 1


def test_a_video_needs_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"chiasm\[camera\]"):
        open_sink(str(tmp_path / "a.mp4"))


def test_a_format_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"suffix '\.gif'"):
        VideoWriter(tmp_path / "a.gif", (64, 64))
