"""Streams: merged clocks, gaps, ageing out, real time, live sources that stall or die, closing, and no deadlock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bundles import tiny_inputs
from chiasm.runtime.errors import InputError, SourceError
from chiasm.runtime.manifest import Modality
from chiasm.runtime.pipeline import Pipeline, load
from chiasm.runtime.sources import Outage
from chiasm.runtime.stream import Stream, snapshots
from chiasm.runtime.values import Packet, Snapshot

DATA = tiny_inputs()


class File:
    """A file source: packets at given times; may fail at the end."""

    live = False
    dropped = 0

    def __init__(self, modality: str, times: list[float], error: Exception | None = None) -> None:
        self.modality, self.times, self.error = modality, times, error
        self.closed = 0
        self.given = 0

    def __iter__(self) -> Iterator[Packet]:
        for time_s in self.times:
            self.given += 1
            yield Packet(self.modality, DATA[self.modality], time_s)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed += 1


def _every(rate_hz: float, seconds: float, start: float = 0.0) -> list[float]:
    return [start + i / rate_hz for i in range(round(seconds * rate_hz))]


def _four() -> list[Any]:
    return [
        File("image", _every(30, 2)),
        File("radar", _every(20, 2)),
        File("audio", _every(10, 2)),
        File("text", [0.0]),
    ]


@pytest.fixture(scope="module")
def pipeline(tiny: Path) -> Iterator[Pipeline]:
    with load(tiny, backend="null") as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def modalities(pipeline: Pipeline) -> tuple[Modality, ...]:
    return pipeline.manifest.modalities


@pytest.fixture(autouse=True)
def _no_deadlock() -> Iterator[None]:
    """A test that hangs is killed with every thread's trace."""
    import faulthandler

    faulthandler.dump_traceback_later(120, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


# --- files on their own clock --------------------------------------------------------------------------------------


def test_a_step_for_every_packet_of_the_fastest(pipeline: Pipeline) -> None:
    sources = _four()
    with pipeline.stream(sources) as stream:
        results = list(stream)
    assert [r.time_s for r in results] == pytest.approx(_every(30, 2))
    assert stream.steps == 60
    assert stream.skipped == 0
    assert stream.dropped == {"image": 0, "radar": 0, "audio": 0, "text": 0}
    assert all(r.present == ("image", "text", "audio", "radar") for r in results)
    assert all(source.closed for source in sources)


def test_ages_are_the_time_since_capture(modalities: tuple[Modality, ...]) -> None:
    for snapshot in snapshots(_four(), modalities):
        for name, packet in snapshot.packets.items():
            assert snapshot.ages[name] == pytest.approx(snapshot.time_s - packet.time_s)
            assert packet.time_s <= snapshot.time_s + 1e-6
        assert snapshot.ages["image"] == pytest.approx(0)
        assert 0 <= snapshot.ages["radar"] <= 0.05 + 1e-6
        assert 0 <= snapshot.ages["audio"] <= 0.1 + 1e-6
        assert snapshot.ages["text"] == pytest.approx(snapshot.time_s)


def test_every_packet_is_seen_and_encoded_once(pipeline: Pipeline) -> None:
    with pipeline.stream(_four()) as stream:
        encoded = [name for result in stream for name in result.encoded]
    assert encoded.count("image") == 60
    assert encoded.count("radar") == 40
    assert encoded.count("audio") == 20
    assert encoded.count("text") <= 1  # the words were the same in an earlier test of this pipeline


def test_two_runs_are_alike(modalities: tuple[Modality, ...]) -> None:
    def run() -> list[tuple[float, dict[str, float]]]:
        return [(s.time_s, dict(s.ages)) for s in snapshots(_four(), modalities)]

    assert run() == run()


def test_a_gap_of_the_clock_is_filled_by_the_others(modalities: tuple[Modality, ...]) -> None:
    sources = _four()
    sources[0] = Outage(sources[0], [(0.5, 1.5)])
    steps = list(snapshots(sources, modalities))
    dark = [s.time_s for s in steps if 0.5 <= s.time_s < 1.499]
    assert dark == pytest.approx(_every(20, 1, 0.5))
    missing = [s.time_s for s in steps if "image" not in s.packets]
    last_frame = 14 / 30
    assert min(missing) > last_frame + 0.5  # max_age_s of the picture
    assert all("image" in s.packets for s in steps if s.time_s >= 1.5)


def test_a_slower_clock_than_promised_is_not_a_gap(modalities: tuple[Modality, ...]) -> None:
    """A 12 Hz video where the manifest says 30: after its first interval no radar packet makes a step of its own."""
    steps = list(snapshots([File("image", _every(12, 2)), File("radar", _every(20, 2))], modalities))
    times = [s.time_s for s in steps if 0.1 < s.time_s < 1.9]
    assert times == pytest.approx([t for t in _every(12, 2) if 0.1 < t < 1.9])


def test_when_the_clock_ends_the_next_fastest_goes_on(modalities: tuple[Modality, ...]) -> None:
    sources = [File("image", _every(30, 1)), File("audio", _every(10, 3))]
    steps = list(snapshots(sources, modalities))
    assert [s.time_s for s in steps if s.time_s > 0.99] == pytest.approx(_every(10, 2, 1.0))
    assert ["image" in s.packets for s in steps][-1] is False


def test_a_source_that_dies_is_told_and_the_rest_goes_on(pipeline: Pipeline) -> None:
    dead = SourceError("The cable is cut")
    with pipeline.stream([File("image", _every(30, 1), dead), File("audio", _every(10, 3))]) as stream:
        results = list(stream)
    assert stream.errors == {"image": dead}
    assert results[-1].time_s == pytest.approx(2.9)
    assert results[-1].present == ("audio",)


def test_when_all_die_the_last_packets_are_used_and_the_error_is_raised(pipeline: Pipeline) -> None:
    stream = pipeline.stream([File("image", _every(30, 1), SourceError("The cable is cut"))])
    with pytest.raises(SourceError, match="cable"):
        list(stream)
    assert stream.steps == 30


def test_nothing_fresh_enough_is_a_skipped_step_not_an_error(pipeline: Pipeline) -> None:
    """At 10 steps a second over a picture every 2 s, most steps find it older than its 0.5 s."""
    with pipeline.stream([File("image", [0.0, 2.0, 4.0])], rate_hz=10) as stream:
        results = list(stream)
    assert len(results) + stream.skipped == 41
    assert stream.skipped == 41 - len(results) == 41 - (6 + 6 + 1)


def test_a_fixed_rate_goes_on_through_gaps(modalities: tuple[Modality, ...]) -> None:
    sources = [Outage(File("image", _every(30, 4)), [(1.0, 3.0)]), File("text", [0.5])]
    steps = list(snapshots(sources, modalities, rate_hz=7))
    times = [s.time_s for s in steps]
    assert times == pytest.approx([i / 7 for i in range(len(times))])
    assert times[-1] >= 4 - 1 / 30
    assert not any("text" in s.packets for s in steps if s.time_s < 0.5 - 1e-6)


def test_a_named_clock(modalities: tuple[Modality, ...]) -> None:
    steps = list(snapshots(_four(), modalities, clock="audio"))
    assert [s.time_s for s in steps][:19] == pytest.approx(_every(10, 2)[:19])


def test_a_step_for_every_packet_of_any_modality(modalities: tuple[Modality, ...]) -> None:
    sources = [File("image", [0.0, 0.1, 0.2]), File("audio", [0.05, 0.1]), File("radar", [0.17])]
    steps = list(snapshots(sources, modalities, clock="every"))
    assert [step.time_s for step in steps] == [0.0, 0.05, 0.1, 0.17, 0.2]
    assert [sorted(name for name, age in step.ages.items() if age == 0) for step in steps] == [
        ["image"], ["audio"], ["audio", "image"], ["radar"], ["image"],
    ]  # fmt: skip


def test_seconds_end_it_early(modalities: tuple[Modality, ...]) -> None:
    sources = _four()
    steps = list(snapshots(sources, modalities, seconds=0.5))
    assert [s.time_s for s in steps] == pytest.approx(_every(30, 0.5))
    assert all(source.closed for source in sources)


def test_a_single_picture_is_one_step(pipeline: Pipeline) -> None:
    with pipeline.stream([File("image", [0.0]), File("text", [0.0])]) as stream:
        assert [r.present for r in stream] == [("image", "text")]


def test_files_may_start_late_and_stand_still(modalities: tuple[Modality, ...]) -> None:
    sources = [File("image", [5.0, 5.0, 5.1, 5.05, 5.2]), File("text", [5.15])]
    assert [s.time_s for s in snapshots(sources, modalities)] == pytest.approx([5.0, 5.1, 5.2])


def test_the_last_packet_of_a_slow_modality_is_not_lost(modalities: tuple[Modality, ...]) -> None:
    steps = list(snapshots([File("image", _every(30, 1)), File("text", [0.98])], modalities))
    assert "text" in steps[-1].packets


def test_an_empty_source_gives_nothing(modalities: tuple[Modality, ...]) -> None:
    assert list(snapshots([File("image", [])], modalities)) == []


@pytest.mark.parametrize("count", [0, 1, 7])
def test_leaving_early_closes_the_sources(pipeline: Pipeline, count: int) -> None:
    sources = _four()
    stream = pipeline.stream(sources)
    for _ in range(count):
        next(stream)
    stream.close()
    stream.close()
    assert all(source.closed for source in sources)
    assert stream.steps == count
    assert sources[0].given <= count + 2  # read ahead by one packet, not by the whole file


def test_an_error_in_a_step_closes_the_sources(modalities: tuple[Modality, ...]) -> None:
    sources = _four()

    def step(snapshot: Snapshot) -> Any:
        raise InputError("bad packet")

    with pytest.raises(InputError, match="bad packet"):
        next(Stream(sources, modalities, step))
    assert all(source.closed for source in sources)


def test_a_packet_that_cannot_be_used_is_an_input_error(pipeline: Pipeline) -> None:
    class Wrong(File):
        def __iter__(self) -> Iterator[Packet]:
            yield Packet("radar", DATA["image"], 0.0)

    with pytest.raises(InputError, match="radar"):
        list(pipeline.stream([Wrong("radar", [0.0])]))


@pytest.mark.parametrize(
    ("sources", "options", "complaint"),
    [
        ([], {}, "needs a source"),
        ([File("smell", [])], {}, "smell"),
        ([File("image", []), File("image", [])], {}, "Two sources"),
        ([File("image", [])], {"clock": "audio"}, "clock"),
        ([File("image", [])], {"rate_hz": 0}, "rate_hz"),
        ([File("image", [])], {"rate_hz": float("nan")}, "rate_hz"),
        ([File("image", [])], {"seconds": -1}, "seconds"),
    ],
    ids=["none", "unknown", "twice", "clock", "rate", "nan", "seconds"],
)
def test_what_cannot_be_streamed(
    pipeline: Pipeline, sources: list[File], options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises((InputError, SourceError), match=complaint):
        pipeline.stream(sources, **options)
    assert all(source.closed for source in sources)


def test_sources_by_name_and_uri(pipeline: Pipeline) -> None:
    with pipeline.stream({"text": "text:a red car", "image": File("image", [0.0])}) as stream:
        assert [r.present for r in stream] == [("image", "text")]
    image = File("image", [0.0])
    with pytest.raises(InputError, match="Did you mean radar"):
        pipeline.stream({"image": image, "rader": "x.npz"})
    with pytest.raises(SourceError):
        pipeline.stream({"image": image, "radar": "nowhere.npz"})
    assert image.closed == 2


# --- by the wall clock ---------------------------------------------------------------------------------------------


def test_real_time_takes_as_long_as_the_file(modalities: tuple[Modality, ...]) -> None:
    start = time.monotonic()
    steps = list(snapshots([File("image", _every(30, 0.3))], modalities, realtime=True))
    assert time.monotonic() - start >= 8 / 30
    assert all(s.ages["image"] >= 0 for s in steps)
    assert [s.time_s for s in steps] == sorted(s.time_s for s in steps)


def test_a_late_step_takes_the_newest_and_counts_what_it_passed(modalities: tuple[Modality, ...]) -> None:
    stepper = snapshots([File("image", _every(30, 0.6))], modalities, realtime=True)
    seen = []
    for snapshot in stepper:
        seen.append(snapshot.packets["image"].time_s)
        time.sleep(0.1)
    assert len(seen) + stepper.dropped["image"] == 18
    assert stepper.dropped["image"] > 5
    assert seen == sorted(set(seen))


class Live:
    """A live source without `poll`: a generator that sleeps, as somebody's own class might be."""

    live = True
    dropped = 0

    def __init__(self, modality: str, count: int | None, error: Exception | None = None) -> None:
        self.modality, self.count, self.error = modality, count, error
        self._stop = threading.Event()

    def __iter__(self) -> Iterator[Packet]:
        made = 0
        while not self._stop.is_set() and made != self.count:
            made += 1
            yield Packet(self.modality, DATA[self.modality], time.monotonic())
            self._stop.wait(0.01)
        while self.count is None and not self._stop.is_set():
            self._stop.wait(1)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("chiasm-")}


def test_live_packets_come_through_with_their_own_times(pipeline: Pipeline) -> None:
    source = Live("image", 20)
    before = time.monotonic()
    with pipeline.stream([source]) as stream:
        results = list(stream)
    assert results
    assert before <= results[0].time_s <= results[-1].time_s <= time.monotonic()
    assert all(0 <= r.ages["image"] <= r.time_s - before for r in results)
    assert len({id(r.snapshot.packets["image"]) for r in results if r.snapshot}) + stream.dropped["image"] == 20
    assert source.stopped
    assert _threads() == set()


def test_a_live_source_that_falls_silent_ages_out_and_text_stays(pipeline: Pipeline) -> None:
    class Once(Live):
        def __iter__(self) -> Iterator[Packet]:
            yield Packet("image", DATA["image"], time.monotonic())
            self._stop.wait(30)

    source = Once("image", None)
    with pipeline.stream([source, File("text", [0.0])]) as stream:
        for result in stream:
            if result.present == ("text",):
                break
            assert result.present == ("image", "text")
            assert result.ages["image"] <= 0.5
    assert source.stopped
    assert _threads() == set()


def test_silence_of_everything_is_skipped_steps_until_the_end(pipeline: Pipeline) -> None:
    with pipeline.stream([_Mute("image", None)], seconds=0.3) as stream:
        assert list(stream) == []
    assert stream.skipped > 0


class _Mute(Live):
    def __iter__(self) -> Iterator[Packet]:
        self._stop.wait(30)
        return iter(())


def test_a_live_source_that_dies_leaves_the_others(pipeline: Pipeline) -> None:
    with pipeline.stream([Live("image", 3, SourceError("unplugged")), Live("audio", 40)]) as stream:
        results = list(stream)
    assert str(stream.errors["image"]) == "unplugged"
    assert any("audio" in r.present for r in results)
    with pytest.raises(SourceError, match="unplugged"):
        list(pipeline.stream([Live("image", 3, SourceError("unplugged"))]))


def test_a_slow_consumer_gets_the_newest(modalities: tuple[Modality, ...]) -> None:
    stepper = snapshots([Live("image", 40)], modalities)
    taken = 0
    for _ in stepper:
        taken += 1
        time.sleep(0.08)
    assert taken + stepper.dropped["image"] >= 40
    assert stepper.dropped["image"] > 10


def test_closing_from_another_thread_ends_a_waiting_stream(pipeline: Pipeline) -> None:
    stream = pipeline.stream([_Mute("image", None)])
    timer = threading.Timer(0.1, stream.close)
    timer.start()
    assert list(stream) == []
    timer.join()


def _poller(actions: list[str]) -> Any:
    """A live source with `poll` and `notify`, as those of chiasm have."""

    class Poller:
        modality = "image"
        live = True
        dropped = 3
        closed = False
        notify: Callable[[], None] | None = None

        def __iter__(self) -> Iterator[Packet]:
            raise AssertionError("a source that can be polled is not iterated")

        def poll(self, timeout_s: float = 0.0) -> Packet | None:
            if not actions:
                self.closed = True
                return None
            return Packet("image", DATA["image"], time.monotonic()) if actions.pop(0) == "frame" else None

        def close(self) -> None:
            self.closed = True

    return Poller()


def test_a_source_that_can_be_polled_is_polled(pipeline: Pipeline) -> None:
    source = _poller(["frame", "nothing", "frame"])
    with pipeline.stream([source]) as stream:
        results = list(stream)
    assert sum("image" in r.encoded for r in results) == 2
    assert stream.dropped == {"image": 3}
    assert source.closed
    assert callable(source.notify)


def test_a_file_beside_a_live_source_begins_with_the_stream(modalities: tuple[Modality, ...]) -> None:
    start = time.monotonic()
    for snapshot in snapshots([Live("image", 10), File("text", [0.0])], modalities):
        assert start <= snapshot.packets["text"].time_s <= snapshot.time_s
