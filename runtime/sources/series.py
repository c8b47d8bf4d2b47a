"""Sensor series from `.npz` files: `series` (N, C) with `times` (N,) in seconds, or with one `sample_rate` in Hz."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..errors import SourceError
from ..manifest import SeriesModality
from ..values import Array, Packet
from .base import FileSource, existing_file

__all__ = ["NpzSeries"]

RATE_TOLERANCE = 0.1
"""A file may be this much faster or slower than the model's rate; we do not resample silently."""

GAP_PERIODS = 2.5
"""A pause between two rows of more than this many sample periods is a gap."""


class NpzSeries(FileSource):
    """Windows of the last `frames` rows, one every 1/`rate_hz` seconds, stamped with the time of the last row.

    After a gap in `times` the window starts anew: rows from before it are not joined to rows from after it.
    """

    def __init__(self, modality: SeriesModality, path: str, rate_hz: float) -> None:
        super().__init__(modality.name)
        self._spec, self._rate_hz = modality, rate_hz
        arrays = _load(path)
        self._rows = _rows(arrays, modality.channels, path)
        self._times = _times(arrays, len(self._rows), path)
        _check_rate(self._times, modality.sample_rate, path)

    def packets(self) -> Iterator[Packet]:
        """One window a hop; the last row always ends one."""
        period = 1.0 / self._spec.sample_rate
        first, due, last = 0, float(self._times[0]), len(self._rows) - 1
        for index, time_s in enumerate(self._times.tolist()):
            if index and time_s - self._times[index - 1] > GAP_PERIODS * period:
                first = index
            # Half a period of slack: a row that comes a little early still belongs to its hop.
            if time_s < due - period / 2 and index < last:
                continue
            due = max(due, time_s - period) + 1.0 / self._rate_hz
            window = self._rows[max(first, index + 1 - self._spec.frames) : index + 1]
            yield Packet(self.modality, window.copy(), time_s)


def _load(path: str) -> Mapping[str, Array]:
    file = existing_file(path, "the series")
    try:
        # Opened here, because numpy leaves a file that it cannot read open.
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return {name: archive[name] for name in ("series", "times", "sample_rate") if name in archive.files}
    except Exception as error:  # a damaged archive raises nearly anything: zip, zlib, header, memory
        raise SourceError(
            f"the series {path} cannot be read",
            found="pickled objects, or no archive" if "pickle" in str(error) else str(error) or type(error).__name__,
            expected="an .npz archive of plain arrays",
            fix="Write it with numpy.savez(path, series=…, times=…).",
        ) from error


def _rows(arrays: Mapping[str, Array], channels: int, path: str) -> Array:
    rows = arrays.get("series")
    if rows is None or rows.ndim != 2 or rows.shape[1] != channels or not len(rows) or rows.dtype.kind not in "fiu":
        found = "no such array" if rows is None else f"shape {rows.shape}, {rows.dtype}"
        raise SourceError(
            f"the array `series` of {path} does not fit",
            found=found,
            expected=f"numbers of shape (N, {channels}), N ≥ 1",
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is reported below
        rows = rows.astype(np.float32)
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).argmax())
        raise SourceError(
            f"the array `series` of {path} has NaN or infinity",
            found=f"row {bad}",
            expected="finite numbers that float32 can hold",
        )
    return rows


def _times(arrays: Mapping[str, Array], count: int, path: str) -> Array:
    if "times" in arrays:
        times = arrays["times"]
        good = times.shape == (count,) and times.dtype.kind in "fiu"
        if not good or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise SourceError(
                f"the array `times` of {path} does not fit",
                found=f"shape {times.shape}, {times.dtype}",
                expected=f"{count} rising times in seconds, one for each row of `series`",
            )
        return times.astype(np.float64)
    rate = arrays.get("sample_rate")
    if rate is None or rate.size != 1 or rate.dtype.kind not in "fiu" or not 0 < float(rate.reshape(())) < np.inf:
        raise SourceError(
            f"{path} does not say when its rows were taken",
            found=", ".join(f"`{name}`" for name in arrays),
            expected="an array `times` (N,) in seconds, or a number `sample_rate` in Hz",
        )
    return np.arange(1, count + 1) / float(rate.reshape(()))


def _check_rate(times: Array, expected: float, path: str) -> None:
    if len(times) < 2:
        return
    rate = 1.0 / float(np.median(np.diff(times)))
    if abs(rate / expected - 1.0) > RATE_TOLERANCE:
        raise SourceError(
            f"the series {path} has the wrong rate",
            found=f"{rate:.3g} rows a second",
            expected=f"{expected:g} rows a second",
            fix="Resample it; the model reads time from the number of rows.",
        )
