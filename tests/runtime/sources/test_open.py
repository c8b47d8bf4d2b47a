from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from chiasm.runtime.errors import InputError, MissingExtraError, SourceError
from chiasm.runtime.manifest import AudioModality, ImageModality, TextModality
from chiasm.runtime.sources import Live, is_live, open_source, open_sources
from chiasm.runtime.sources.microphone import MicrophoneGrabber
from chiasm.runtime.sources.words import Words


@pytest.mark.parametrize(
    ("uri", "live"),
    [
        ("0", True), ("camera:2", True), ("mic:", True), ("rtsp://host/stream", True), ("http://host/video", True),
        ("http://host/clip.mp4", False), ("https://host/clip.WEBM?token=1", False), ("clip.mp4", False),
        ("3.png", False),
    ],
)  # fmt: skip
def test_what_is_live(uri: str, live: bool) -> None:
    assert is_live(uri) is live


@pytest.mark.parametrize("uri", ["", "  ", "camera:x"])
def test_sources_that_are_none(image: ImageModality, uri: str) -> None:
    with pytest.raises(SourceError, match="expected a picture, a folder"):
        open_source(image, uri)


def test_a_camera_gives_no_sound(audio: AudioModality) -> None:
    with pytest.raises(SourceError, match="expected a WAV file"):
        open_source(audio, "camera:0")


def test_a_camera_that_is_not_there(image: ImageModality) -> None:
    pytest.importorskip("cv2")
    with pytest.raises(SourceError, match="camera 97 cannot be opened"):
        open_source(image, "camera:97")


def test_a_camera_needs_opencv(image: ImageModality, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"chiasm\[camera\]"):
        open_source(image, "0")


def test_a_microphone_needs_its_extra(audio: AudioModality, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"chiasm\[microphone\]"):
        open_source(audio, "mic:")


class FakePortAudio:
    """An input stream that gives a ramp, or refuses."""

    latency, read_available = 0.01, 0

    def __init__(self, **settings: Any) -> None:
        if settings["device"] == "nobody":
            raise ValueError("no input device matching 'nobody'")
        self.settings, self.position, self.closed = settings, 0, False

    def start(self) -> None:
        pass

    def read(self, count: int) -> tuple[np.ndarray, bool]:
        block = (np.arange(self.position, self.position + count, dtype=np.float32) / 1e6)[:, None]
        self.position += count
        return block, False

    def close(self) -> None:
        self.closed = True


def test_the_microphone_gives_windows(audio: AudioModality) -> None:
    grabber = MicrophoneGrabber(audio, SimpleNamespace(InputStream=FakePortAudio), "", 10.0)
    packets = [grabber.read() for _ in range(11)]
    lengths = [len(packet.data) for packet in packets if packet is not None]
    # The fake gives its blocks faster than time passes: the samples count, and nothing is lost or doubled.
    assert lengths == [1600 * k for k in range(1, 11)] + [16000]
    last = packets[-1]
    assert last is not None
    np.testing.assert_allclose(np.diff(last.data), 1e-6, rtol=1e-1)
    grabber.close()


def test_an_unknown_microphone(audio: AudioModality) -> None:
    with pytest.raises(SourceError, match="microphone nobody cannot be opened"):
        MicrophoneGrabber(audio, SimpleNamespace(InputStream=FakePortAudio), "nobody", 10.0)


class _Mjpeg(BaseHTTPRequestHandler):
    """A network camera: an endless multipart answer of JPEG pictures, until the server is told to hang up."""

    hang_up = threading.Event()
    requests = 0

    def do_GET(self) -> None:
        cv2: Any = sys.modules["cv2"]
        type(self).requests += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = cv2.imencode(".jpg", np.full((32, 48, 3), (30, 120, 200)[::-1], np.uint8))[1].tobytes()
        part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture + b"\r\n"
        try:
            while not self.hang_up.wait(0.01):
                self.wfile.write(part)
        except OSError:
            return

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def network_camera() -> Iterator[str]:
    pytest.importorskip("cv2")
    _Mjpeg.hang_up.clear()
    _Mjpeg.requests = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mjpeg)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/stream"
    _Mjpeg.hang_up.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("without", ["none", "av"])
def test_a_network_camera_reconnects(
    image: ImageModality, network_camera: str, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    if without == "av":
        monkeypatch.setitem(sys.modules, "av", None)
    else:
        pytest.importorskip("av")
    source = open_source(image, network_camera)
    assert isinstance(source, Live)
    first = source.poll(20.0)
    assert first is not None
    assert first.data.shape == (32, 48, 3)
    assert np.abs(np.asarray(first.data).mean((0, 1)) - (30, 120, 200)).max() < 8
    _Mjpeg.hang_up.set()
    while source.connected:
        source.poll(0.01)
    _Mjpeg.hang_up.clear()
    source.poll()
    again = source.poll(20.0)
    assert again is not None
    assert again.time_s > first.time_s
    assert source.reconnects >= 1
    source.close()


def test_nobody_answers(image: ImageModality) -> None:
    pytest.importorskip("av")
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(image, "http://127.0.0.1:9/stream")


@pytest.mark.parametrize("given", ["camera:0", Path("film.mp4")])
def test_one_uri_alone_does_not_say_whose_it_is(image: ImageModality, given: Any) -> None:
    with pytest.raises(InputError, match="expected modality → source"):
        open_sources(given, {"image": image})


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3), np.uint8), iter([]), None, 0])
def test_what_is_no_source_is_named(image: ImageModality, wrong: Any) -> None:
    with pytest.raises(InputError, match=f"The source of image cannot be used: found {type(wrong).__name__}"):
        open_sources({"image": wrong}, {"image": image})
    with pytest.raises(InputError, match="A source cannot be used"):
        open_sources([wrong], {"image": image})


def test_those_before_what_is_no_source_are_closed(image: ImageModality, text: TextModality) -> None:
    words = Words("text", "hello")
    wrong: Any = {"text": words, "image": np.zeros(3)}
    with pytest.raises(InputError):
        open_sources(wrong, {"image": image, "text": text})
    assert words.closed


def test_a_path_is_a_uri(text: TextModality, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    sources, shared = open_sources({"text": tmp_path / "words.txt"}, {"text": text})
    assert ([packet.data for packet in sources[0]], shared) == (["one", "two"], {})
