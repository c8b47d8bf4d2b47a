"""Sound: the log-mel front end of audio encoders, for a whole waveform or as it comes in."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import described, float_array, no_overlap, output, thread_count
from ._select import kernels
from .errors import KernelError
from .mel import MelSpec, mel_tables

__all__ = ["LogMel", "MelSpec", "level_mel", "log_mel", "mel_plan", "waveform_frames"]

Floats = NDArray[np.float32]


def log_mel(waveform: Floats, spec: MelSpec, *, out: Floats | None = None, threads: int = 1) -> Floats:
    """float32 (N,) at the spec's rate → its log-mel, float32 of `spec.shape(N)`.

    In double precision up to the logarithm, which is rounded to float32; the range, mean and std after it are
    float32. `out`: where to write, C-contiguous. `threads`: how many share the frames; it does not change a bit.

    Raises:
        KernelError: wrong dtype or shape, fewer than `spec.least_samples`, NaN or infinite samples.
    """
    frames = waveform_frames(waveform, spec)
    out = output(out, spec.arranged(frames), np.float32)
    no_overlap(out, waveform=waveform)
    _frames(waveform, spec, spec.start, thread_count(threads), out)
    _level(out, spec, spec.range)
    return out


def waveform_frames(waveform: Any, spec: MelSpec) -> int:
    """Checks a whole waveform, for every backend; gives the number of its frames."""
    float_array("waveform", waveform, None)
    frames = spec.frames(waveform.size)
    if waveform.ndim != 1 or frames < 1:
        expected = f"float32 of shape (N,), N at least {spec.least_samples}"
        raise KernelError("waveform", found=described(waveform), expected=expected)
    return frames


def level_mel(frames: Floats, spec: MelSpec, *, out: Floats | None = None) -> Floats:
    """The end of a front end whose `range` is set: (max(value, greatest − range) − mean) / std over all of `frames`.

    `frames`: what a `LogMel` gave, put together: those that are to be taken as the whole. `out` may be `frames`.

    Raises:
        KernelError: wrong dtype or shape, no frame, a spec without a range (its `LogMel` has done all there is).
    """
    float_array("frames", frames, None)
    if frames.ndim != 2 or frames.shape != spec.arranged(frames.size // spec.n_mels) or not frames.size:
        expected = f"float32 of shape {'(mels, frames)' if spec.layout == 'mels-first' else '(frames, mels)'}"
        raise KernelError("frames", found=described(frames), expected=f"{expected}, mels = {spec.n_mels}")
    if spec.range is None:
        raise KernelError("spec", found="no range", expected="a range: without one, frames need no levelling")
    out = output(out, frames.shape, np.float32)
    if out is not frames:
        no_overlap(out, frames=frames)
        np.copyto(out, frames)
    _level(out, spec, spec.range)
    return out


class LogMel:
    """The log-mel of a stream: keeps the overlap between chunks and gives the new frames.

    Chunks of any size give the frames that the whole waveform would give, bit for bit. Two things need the end of the
    stream, or all of it:

    - A centred front end mirrors the waveform about its last sample. `push` gives the frames that lie before the end;
      `finish` gives the last ones, mirrored, and begins anew.
    - A `range` counts from the greatest value of the whole. With one, `push` and `finish` give the logarithms, without
      range, mean and std, and `level_mel` ends the work on any run of frames: `log_mel` of a whole waveform is
      `level_mel` of all its frames.
    """

    def __init__(self, spec: MelSpec, *, threads: int = 1) -> None:
        self.spec = spec
        self._threads = thread_count(threads)
        self._buffer = np.empty(0, np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._kept = 0  # samples in the buffer
        self._first = 0  # which sample of the stream the buffer begins with
        self._done = 0  # frames given

    def push(self, chunk: Floats) -> Floats:
        """float32 (N,), N ≥ 0 → the new frames, float32 in the spec's layout; often none.

        Raises:
            KernelError: wrong dtype or shape; NaN or infinite samples, after which the stream begins anew.
        """
        float_array("chunk", chunk, None)
        if chunk.ndim != 1:
            raise KernelError("chunk", found=described(chunk), expected="float32 of shape (N,)")
        self._append(chunk)
        spec = self.spec
        heard = self._first + self._kept
        inside = 1 + (heard - spec.frame_length - spec.start) // spec.hop
        frames = self._next(min(inside, spec.frames(heard)))
        self._forget(heard)
        return frames

    def finish(self) -> Floats:
        """The frames at the end, for which a centred front end mirrors the waveform; none where it is not centred."""
        frames = self._next(self.spec.frames(self._first + self._kept))
        self.reset()
        return frames

    def _append(self, chunk: Floats) -> None:
        needed = self._kept + chunk.size
        if needed > self._buffer.size:
            grown = np.empty(needed, np.float32)
            grown[: self._kept] = self._buffer[: self._kept]
            self._buffer = grown
        self._buffer[self._kept : needed] = chunk
        self._kept = needed

    def _next(self, end: int) -> Floats:
        """The frames from the next one to `end`."""
        spec = self.spec
        out = np.empty(spec.arranged(max(end - self._done, 0)), np.float32)
        if not out.size:
            return out
        start = self._done * spec.hop + spec.start - self._first
        try:
            _frames(self._buffer[: self._kept], spec, start, self._threads, out)
        except KernelError:
            self.reset()
            raise
        self._done = end
        if spec.range is None:
            _level(out, spec, None)
        return out

    def _forget(self, heard: int) -> None:
        """Drop the samples that neither the next frame nor the mirror at the end will ask for."""
        spec = self.spec
        needed = min(self._done * spec.hop + spec.start, heard - 1 + spec.start)
        drop = min(max(needed - self._first, 0), self._kept)
        if drop:
            self._buffer[: self._kept - drop] = self._buffer[drop : self._kept]
            self._first += drop
            self._kept -= drop


def mel_plan(spec: MelSpec, implementation: Any) -> Any:
    """What `implementation` (the compiled kernels, or the reference) makes of a spec before it sees a waveform."""
    tables = mel_tables(spec)
    return implementation.Mel(
        spec.fft_size, spec.hop, tables.window, tables.first, tables.count, tables.weight, spec.gain, spec.remove_dc,
        spec.preemphasis, spec.power == 1, spec.floor, spec.log_factor,
    )  # fmt: skip


@lru_cache(maxsize=16)
def _plan(spec: MelSpec) -> Any:
    return mel_plan(spec, kernels)


def _frames(samples: Floats, spec: MelSpec, start: int, threads: int, out: Floats) -> None:
    if not kernels.mel_frames(_plan(spec), samples, start, spec.layout == "mels-first", threads, out):
        raise KernelError("waveform", found="NaN or an infinite sample", expected="finite samples")


def _level(values: Floats, spec: MelSpec, reach: float | None) -> None:
    if reach is not None or spec.mean != 0.0 or spec.std != 1.0:
        kernels.mel_level(values, np.inf if reach is None else reach, spec.mean, spec.std)
