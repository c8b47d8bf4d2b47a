from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from chiasm.runtime.errors import SourceError
from chiasm.runtime.sources import Backoff, Live, Outage
from chiasm.runtime.values import Packet

PATIENCE_S = 20.0


class FakeCamera:
    """Gives the packets it is fed, None when told to die."""

    def __init__(self) -> None:
        self.fed: list[Packet | Exception | None] = []
        self.wake = threading.Condition()
        self.closed = False

    def feed(self, *packets: Packet | Exception | None) -> None:
        with self.wake:
            self.fed += packets
            self.wake.notify_all()

    def read(self) -> Packet | None:
        with self.wake:
            self.wake.wait_for(lambda: self.fed or self.closed, PATIENCE_S)
            head = self.fed.pop(0) if self.fed else None
        if isinstance(head, Exception):
            raise head
        return head

    def close(self) -> None:
        with self.wake:
            self.closed = True
            self.wake.notify_all()


def packet(index: int) -> Packet:
    return Packet("image", index, float(index))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.002)


def opened(*cameras: FakeCamera | Exception, **options: object) -> tuple[Live, list[FakeCamera | Exception]]:
    waiting = list(cameras)

    def open_next() -> FakeCamera:
        head = waiting.pop(0)
        if isinstance(head, Exception):
            raise head
        return head

    live = Live("image", open_next, backoff=Backoff(0.001, 0.004), name="camera 0", **options)  # type: ignore[arg-type]
    return live, waiting


def test_iteration_gives_packets_in_order_and_ends_on_close() -> None:
    camera = FakeCamera()
    camera.feed(packet(0))
    live, _ = opened(camera)
    packets = iter(live)
    assert next(packets).data == 0
    camera.feed(packet(1))
    assert next(packets).data == 1
    camera.close()
    live.close()
    assert list(packets) == []
    assert live.closed


def test_the_queue_drops_the_oldest_and_counts() -> None:
    camera = FakeCamera()
    camera.feed(*(packet(index) for index in range(10)))
    live, _ = opened(camera, capacity=3)
    until(lambda: live.dropped == 7)
    packets = iter(live)
    assert [next(packets).data for _ in range(3)] == [7, 8, 9]
    camera.close()
    live.close()


def test_poll_gives_the_newest_and_never_waits_without_being_asked() -> None:
    camera = FakeCamera()
    camera.feed(packet(0), packet(1), packet(2))
    live, _ = opened(camera)
    until(lambda: not camera.fed)
    until(lambda: len(live._queue) == 3)
    newest = live.poll()
    assert newest is not None
    assert newest.data == 2
    assert live.dropped == 2
    assert live.poll() is None
    threading.Timer(0.02, camera.feed, [packet(3)]).start()
    later = live.poll(PATIENCE_S)
    assert later is not None
    assert later.data == 3
    camera.close()
    live.close()


@pytest.mark.parametrize("death", [None, SourceError("gone"), RuntimeError("the driver threw")])
def test_a_lost_camera_is_opened_again(death: Exception | None) -> None:
    first, second = FakeCamera(), FakeCamera()
    first.feed(packet(0), death)
    second.feed(packet(7))
    live, waiting = opened(first, SourceError("not yet"), SourceError("not yet"), second)
    packets = iter(live)
    assert next(packets).data == 0
    assert next(packets).data == 7
    assert first.closed
    assert not waiting
    assert live.reconnects == 1
    assert live.connected
    second.close()
    live.close()


def test_a_camera_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(SourceError, match="no such device"):
        opened(SourceError("no such device"))


def test_a_dead_camera_is_an_error_after_the_timeout() -> None:
    camera = FakeCamera()
    threading.Timer(0.1, camera.close).start()
    with pytest.raises(SourceError, match=r"the camera 0 gave nothing: found no packet within 0\.05 s"):
        opened(camera, timeout_s=0.05)


def test_backoff_doubles_up_to_its_limit_and_starts_again() -> None:
    backoff = Backoff()
    assert [backoff.wait_s() for _ in range(7)] == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    backoff.reset()
    assert backoff.wait_s() == 0.2


def test_close_joins_the_reader_and_tells_the_listener() -> None:
    camera = FakeCamera()
    camera.feed(packet(0))
    live, _ = opened(camera)
    told: list[int] = []
    live.notify = lambda: told.append(1)
    camera.feed(packet(1))
    until(lambda: bool(told))
    before = threading.active_count()
    told.clear()
    threading.Timer(0.02, camera.close).start()
    live.close()
    live.close()
    assert threading.active_count() < before + 1
    assert told
    assert camera.closed


def test_an_outage_of_a_live_source_counts_from_its_first_packet() -> None:
    camera = FakeCamera()
    camera.feed(Packet("image", "a", 100.0))
    live, _ = opened(camera)
    source = Outage(live, [(1.0, 2.0)])
    assert source.live
    first = source.poll(PATIENCE_S)
    assert first is not None
    camera.feed(Packet("image", "b", 101.5))
    assert source.poll(PATIENCE_S) is None
    camera.feed(Packet("image", "c", 102.5))
    later = source.poll(PATIENCE_S)
    assert later is not None
    assert (later.data, source.lost) == ("c", 1)
    source.notify = lambda: None
    assert live.notify is not None
    camera.close()
    source.close()
