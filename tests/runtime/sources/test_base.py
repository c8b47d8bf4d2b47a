from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from chiasm.runtime.errors import InputError
from chiasm.runtime.sources import Outage, WindowCutter
from chiasm.runtime.sources.base import FileSource
from chiasm.runtime.values import Packet
from hypothesis import given
from hypothesis import strategies as st


class Ramp(FileSource):
    """Ten packets, one a second."""

    def packets(self) -> Iterator[Packet]:
        for second in range(10):
            yield Packet(self.modality, second, float(second))


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=12), st.integers(1, 300), st.sampled_from([2.0, 5.0, 10.0, 7.0])
)
def test_windows_do_not_depend_on_how_the_samples_arrive(blocks: list[int], length: int, rate_hz: float) -> None:
    samples = np.arange(sum(blocks), dtype=np.float32)
    cutter, whole = WindowCutter(length, 100.0, rate_hz), WindowCutter(length, 100.0, rate_hz)
    pieces = np.split(samples, np.cumsum(blocks)[:-1])
    got = [window for piece in pieces for window in cutter.push(piece)] + list(cutter.flush())
    want = list(whole.push(samples)) + list(whole.flush())
    assert [end for end, _ in got] == pytest.approx([end for end, _ in want])
    for (_, one), (_, other) in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


def test_each_window_holds_the_samples_before_its_end() -> None:
    cutter = WindowCutter(30, 100.0, 10.0)
    got = list(cutter.push(np.arange(95, dtype=np.float32), 2.0)) + list(cutter.flush())
    assert [end for end, _ in got] == pytest.approx([2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 2.95])
    assert [len(window) for _, window in got] == [10, 20] + [30] * 8
    for end, window in got:
        last = round((end - 2.0) * 100) - 1
        np.testing.assert_array_equal(window, np.arange(last - len(window) + 1, last + 1))


def test_a_hop_that_is_no_whole_number_of_samples_does_not_drift() -> None:
    cutter = WindowCutter(10, 16000.0, 30.0)
    ends = [end for end, _ in cutter.push(np.zeros(160000, np.float32))]
    assert len(ends) == 300
    assert ends == pytest.approx([k / 30 for k in range(1, 301)], abs=1 / 16000)


def test_a_gap_begins_a_new_window() -> None:
    cutter = WindowCutter(100, 100.0, 10.0)
    list(cutter.push(np.zeros(50, np.float32), 0.0))
    end, window = next(iter(cutter.push(np.ones(10, np.float32), 3.0)))
    assert end == pytest.approx(3.1)
    assert window.tolist() == [1.0] * 10


def test_drift_moves_the_clock_without_cutting() -> None:
    cutter = WindowCutter(100, 100.0, 10.0)
    ends = []
    for block in range(50):  # each block of 0.1 s takes 0.101 s on the clock
        ends += [end for end, window in cutter.push(np.zeros(10, np.float32), block * 0.101) if len(window) == 100]
    assert len(ends) == 41
    assert ends[-1] == pytest.approx(49 * 0.101 + 0.1, abs=1e-6)


def test_windows_are_not_shared() -> None:
    cutter = WindowCutter(4, 10.0, 10.0)
    windows = [window for _, window in cutter.push(np.arange(8, dtype=np.float32))]
    windows[-2][:] = -1
    assert windows[-1].tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("numbers", [(0, 1.0, 1.0), (1, 0.0, 1.0), (1, 1.0, -1.0)])
def test_impossible_windows(numbers: tuple[int, float, float]) -> None:
    with pytest.raises(InputError, match="above zero"):
        WindowCutter(*numbers)


def test_an_outage_loses_the_packets_of_its_windows() -> None:
    source = Outage(Ramp("image"), [(2.0, 4.0), (7.5, 8.5)])
    assert [packet.data for packet in source] == [0, 1, 4, 5, 6, 7, 9]
    assert source.lost == 3
    assert source.dropped == 0
    assert not source.live
    assert source.modality == "image"


def test_an_outage_must_start_before_it_ends() -> None:
    with pytest.raises(InputError, match="from 4"):
        Outage(Ramp("image"), [(4.0, 2.0)])


def test_a_file_cannot_be_polled_through_an_outage() -> None:
    with pytest.raises(InputError, match="live source"):
        Outage(Ramp("image"), []).poll()


def test_closing_ends_the_iteration() -> None:
    source = Ramp("image")
    packets = iter(source)
    next(packets)
    source.close()
    assert list(packets) == []
