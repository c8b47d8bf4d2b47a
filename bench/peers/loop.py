"""How old is the picture that a decision was made of, when pictures come twice as fast as they are worked off?

One camera on the local network, as cheap ones are: pictures by HTTP, one JPEG after another, the newest whenever the
connection takes one. A plain OpenCV loop (`while True: read, embed`) and chiasm's stream read the same camera in turn
and run the same bundle, so that only the loop differs. A stripe in the picture tells its number, and so its time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..percentiles import spread
from .racer import AbsentError
from .works import Work

__all__ = ["frame_age", "number_of", "numbered"]

_HEIGHT, _WIDTH, _BITS, _CELL = 360, 640, 12, 40
_COUNT = 256
"""Different pictures; the number goes on beyond: a picture that is `_COUNT` periods old would pass for a new one."""


def numbered(number: int) -> NDArray[np.uint8]:
    """A busy picture, uint8 BGR (360, 640, 3), whose upper stripe says `number` in black and white cells."""
    random = np.random.default_rng(number)
    picture = random.integers(0, 256, (_HEIGHT // 4, _WIDTH // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    for bit in range(_BITS):
        picture[:_CELL, bit * _CELL : (bit + 1) * _CELL] = 255 if number >> bit & 1 else 0
    return np.ascontiguousarray(picture)


def number_of(picture: NDArray[np.uint8]) -> int:
    """What the stripe of a picture says."""
    cells = picture[8 : _CELL - 8, : _BITS * _CELL].reshape(_CELL - 16, _BITS, _CELL, 3)[:, :, 8:-8].mean((0, 2, 3))
    return sum(1 << bit for bit, value in enumerate(cells) if value > 127)


class _Camera:
    """Serves numbered pictures at `rate_hz`; `taken(number)` is when the newest picture of that number was taken."""

    def __init__(self, pictures: list[bytes], rate_hz: float) -> None:
        self.rate_hz, self.start, self.pictures = rate_hz, time.monotonic(), pictures
        self.over = threading.Event()

    def age(self, number: int) -> float:
        """Seconds since picture `number` was taken, the latest one of that number."""
        newest = int((time.monotonic() - self.start) * self.rate_hz)
        behind = (newest - number) % len(self.pictures)
        return time.monotonic() - self.start - (newest - behind) / self.rate_hz

    def send(self, write: Callable[[bytes], Any]) -> None:
        """The newest picture, whenever one was taken since the last; a slow reader makes `write` wait."""
        sent = -1
        while not self.over.is_set():
            newest = int((time.monotonic() - self.start) * self.rate_hz)
            if newest == sent:
                self.over.wait(max(0.0, self.start + (newest + 1) / self.rate_hz - time.monotonic()))
                continue
            sent, picture = newest, self.pictures[newest % len(self.pictures)]
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            write(head.encode() + picture + b"\r\n")


@contextmanager
def _serving(camera: _Camera) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
            self.end_headers()
            try:
                camera.send(self.wfile.write)
            except OSError:
                return  # the reader is gone

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/camera.mjpg"
    finally:
        camera.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def frame_age(work: Work, folder: Path, threads: int, seconds: float) -> dict[str, Any]:
    """Ages in milliseconds, by loop, at twice the rate that the bundle sustains; and in service times."""
    try:
        import cv2
    except ImportError as error:
        raise AbsentError("opencv-python is not installed") from error
    from ...runtime.pipeline import load

    pictures = [cv2.imencode(".jpg", numbered(number))[1].tobytes() for number in range(_COUNT)]
    found: dict[str, Any] = {"picture_bytes": int(np.mean([len(each) for each in pictures]))}
    with load(folder / f"{work.bundle}.chiasm", threads=threads, cache=False) as pipeline:
        service = _service(pipeline)
        for name, loop in (("OpenCV, while True", _plain), ("chiasm", _streamed)):
            camera = _Camera(pictures, 2.0 / service)
            with _serving(camera) as address:
                ages = loop(pipeline, address, camera, seconds)
            if not ages:
                found[name] = {"error": "no picture was read"}
                continue
            # The first pictures show how a loop starts, not how it goes on.
            late = ages[len(ages) // 4 :]
            age = spread([1000.0 * each for each in late])
            services = (age["p50"] or 0.0) / service / 1000.0
            found[name] = {"age_ms": age, "steps": len(ages), "in_service_times": services}
    return found | {"service_ms": 1000.0 * service, "rate_hz": 2.0 / service, "seconds": seconds}


def _service(pipeline: Any) -> float:
    """Seconds of a step in calm, the median of ten after three."""
    taken = []
    for number in range(13):
        picture = numbered(number)
        start = time.perf_counter()
        pipeline(image=picture)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[3:]))


def _plain(pipeline: Any, address: str, camera: _Camera, seconds: float) -> list[float]:
    """The loop of every tutorial."""
    import cv2

    ages, capture, end = [], cv2.VideoCapture(address, cv2.CAP_FFMPEG), time.monotonic() + seconds
    while time.monotonic() < end:
        good, picture = capture.read()
        if not good:
            break
        pipeline(image=cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        ages.append(camera.age(number_of(picture)))
    capture.release()
    return ages


def _streamed(pipeline: Any, address: str, camera: _Camera, seconds: float) -> list[float]:
    """chiasm's stream: a thread reads, and the newest picture is what a step takes."""
    ages, end = [], time.monotonic() + seconds
    stream = pipeline.stream({"image": address})
    try:
        for result in stream:
            ages.append(camera.age(number_of(np.asarray(result.snapshot.packets["image"].data))))
            if time.monotonic() >= end:
                break
    finally:
        stream.close()
    return ages
