"""Sound on a GPU: the log-mel of a whole waveform. A stream's chunks are small: `chiasm.kernels.LogMel` serves them."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from .._checks import no_overlap
from ..errors import KernelError
from ..mel import MelSpec
from ..sound import mel_plan, waveform_frames
from .arrays import address
from .launching import BLOCK, Call, grid_for, opened
from .tiling import SHARED

__all__ = ["log_mel"]

_i64, _u64, _u32, _f64, _f32, _ptr = (
    ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_double, ctypes.c_float, ctypes.c_void_p,
)  # fmt: skip
MOST_PASSES = 20
SMALL = 8 * BLOCK // 32
"""Bytes of shared memory that a block takes beside the transform."""
MOST_WORK = 1 << 28
FLAGS = 32
"""Bytes at the beginning of the scratch memory: whether a sample was bad, and the greatest value."""


class MelArguments(ctypes.Structure):
    """mel.cu."""

    _fields_ = [
        *(
            (name, _ptr)
            for name in ("samples", "window", "twiddles", "first", "count", "offset", "weight", "out", "bad", "work")
        ),
        *((name, _i64) for name in ("size", "start")),
        *((name, _f64) for name in ("gain", "preemphasis", "floor", "factor")),
        *((name, _u32) for name in ("frames", "hop", "length", "fft_size", "mels")),
        *((name, _u32) for name in ("remove_dc", "amplitude", "mels_first", "passes")),
        ("radix", _u32 * MOST_PASSES),
    ]


class LevelArguments(ctypes.Structure):
    """mel.cu."""

    _fields_ = [
        ("values", _ptr),
        ("greatest", _ptr),
        ("size", _u64),
        *((name, _f32) for name in ("range", "mean", "std")),
        ("limited", _u32),
    ]


def log_mel(waveform: Any, spec: MelSpec, *, out: Any = None, check: bool = True, stream: Any = None) -> Any:
    """float32 (N,) at the spec's rate → its log-mel, float32 of `spec.shape(N)`, as `chiasm.kernels.log_mel`.

    In float64 up to the logarithm too; sums run in another order, so that a value may differ in its last bits.
    `check` waits for the stream to say whether there was NaN or an infinite sample.

    Raises:
        KernelError: as there, or no array on the GPU.
        CudaError: no GPU that can be used, or the driver refuses.
    """
    with opened(stream) as call:
        samples = call.view("waveform", waveform)
        frames = waveform_frames(samples, spec)
        answer, made = call.output("out", out, spec.arranged(frames), np.float32)
        no_overlap(made, waveform=samples)
        shared, blocks, work = _room(call, spec, frames)
        base = call.scratch(FLAGS + work)
        call.driver.clear(base, FLAGS, call.stream)
        arguments = _arguments(call, spec, samples, made, frames)
        arguments.bad, arguments.work = base, (base + FLAGS if work else None)
        call.launch("chiasm_log_mel", (blocks, 1, 1), arguments, shared=shared)
        _level(call, spec, made, base + 16)
        if check:
            flag = np.zeros(1, np.uint32)
            call.driver.read(base, flag, call.stream)
            if flag[0]:
                raise KernelError("waveform", found="NaN or an infinite sample", expected="finite samples")
        return answer


def _room(call: Call, spec: MelSpec, frames: int) -> tuple[int, int, int]:
    """Shared memory of a block, blocks, and bytes of other memory where the transform does not fit into the shared."""
    both = 4 * 8 * spec.fft_size
    pairs = (frames + 1) // 2
    if SMALL + both <= SHARED:
        return SMALL + both, pairs, 0
    blocks = min(pairs, 2 * call.driver.multiprocessors, max(1, MOST_WORK // both))
    return SMALL, blocks, blocks * both


def _arguments(call: Call, spec: MelSpec, samples: NDArray[Any], made: NDArray[Any], frames: int) -> MelArguments:
    plan = mel_plan(spec, reference)

    def tables() -> list[NDArray[Any]]:
        offset = np.concatenate([[0], np.cumsum(plan.count)[:-1]]).astype(np.int32)
        weight = plan.weight if plan.weight.size else np.zeros(1)
        return [plan.window, twiddles(spec.fft_size), plan.first, plan.count, offset, weight]

    radices = radices_of(spec.fft_size)
    return MelArguments(
        address(samples), *call.driver.kept(("mel", spec), tables), address(made), None, None, samples.size, spec.start,
        plan.gain, plan.preemphasis, plan.floor, plan.log_factor, frames, spec.hop, spec.frame_length, spec.fft_size,
        spec.n_mels, plan.remove_dc, plan.amplitude, spec.layout == "mels-first", len(radices),
        (_u32 * MOST_PASSES)(*radices),
    )  # fmt: skip


def _level(call: Call, spec: MelSpec, made: NDArray[Any], greatest: int) -> None:
    limited = spec.range is not None
    if not limited and spec.mean == 0.0 and spec.std == 1.0:
        return
    arguments = LevelArguments(address(made), greatest, made.size, spec.range or 0.0, spec.mean, spec.std, limited)
    blocks = min(-(-made.size // BLOCK), 4 * call.driver.multiprocessors)
    if limited:
        call.launch("chiasm_mel_greatest", (blocks, 1, 1), arguments)
    call.launch("chiasm_mel_level", grid_for(made.size, BLOCK), arguments)


def radices_of(size: int) -> tuple[int, ...]:
    """The factors of a transform, of the primes 2, 3 and 5: fours before twos."""
    found = []
    for radix in (4, 2, 3, 5):
        while size % radix == 0:
            found.append(radix)
            size //= radix
    return tuple(found)


def twiddles(size: int) -> NDArray[np.float64]:
    """cos and sin of −2πi/size: (2, size)."""
    turns = np.arange(size) * (-2.0 * math.pi / size)
    return np.stack([np.cos(turns), np.sin(turns)])
