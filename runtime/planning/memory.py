"""The sum of a device's memory: what is ours, what a set of variants needs, line by line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ...targets import Target
from .count import Count

__all__ = ["MIB", "SESSION_MIB", "Line", "Verdict", "needed", "ours", "spare_mib", "total", "verdict"]

MIB = 2.0**20
PROCESS_MIB = 58.0
"""Python, NumPy, chiasm and ONNX Runtime without a model: resident memory, 58.2 to 58.4 MiB on an x86 server."""
SESSION_MIB = 1.4
"""What ONNX Runtime holds for an open graph besides its weights: 1.3 to 2.0 MiB for the reference's parts there."""
SCRATCH = 0.35
"""Work buffers, as a share of the activations: ONNX Runtime took 1.34 times what was counted of a decoder of real width
(tests/runtime/planning/test_measured.py), its share for graphs of kilobytes is greater. TensorRT's was not measured."""
Verdict = Literal["fits", "tight", "does not fit", "not known"]


@dataclass(frozen=True)
class Line:
    """A line of a sum: MiB, negative where they are taken away; `source`: where it comes from; `note`: in short."""

    what: str
    mib: float
    source: str
    note: str = ""


def ours(target: Target, available_mib: float | None = None) -> list[Line] | None:
    """What a model may take. `available_mib`: measured, in the place of the target's figures. None where unknown."""
    if available_mib is not None:
        return [Line("memory that is free for us", available_mib, "given, or read on this machine")]
    memory = target.memory
    if memory.size_mib is None:
        return None
    lines = [Line("memory, shared by CPU and GPU" if memory.shared else "memory of the card", memory.size_mib.value,
                  target.sources[memory.size_mib.source])]  # fmt: skip
    taken = {"firmware and kernel": memory.reserved_mib, "system without desktop": memory.system_mib}
    for what, figure in taken.items():
        if figure is not None:
            lines.append(Line(what, -figure.value, target.sources[figure.source], figure.note))
    return lines


def needed(
    target: Target, parts: Sequence[tuple[str, str, Count]], encoders: Collection[str] = ()
) -> list[Line]:  # fmt: skip
    """What (part, precision, count) take together: weights of all, inputs and outputs of all, one block of scratch.

    On a card with memory of its own `encoders` run beside each other, so each has a block, and the rest have one.
    """
    lines = [Line(f"weights of {name}, {precision}", count.weights / MIB, "counted on its graph")
             for name, precision, count in parts]  # fmt: skip
    io = sum(count.io for _, _, count in parts)
    lines.append(Line("inputs and outputs", io / MIB, "of all parts, bound for good"))
    beside = [part for part in parts if part[0] in encoders] if target.kind == "gpu" else []
    rest = [part for part in parts if part not in beside]
    most = sum(count.activations for _, _, count in beside)
    if beside:
        names = ", ".join(name for name, _, _ in beside)
        lines.append(Line("activations of encoders", most / MIB, f"of {names}: they run beside each other"))
    if rest:
        largest = max(rest, key=lambda part: part[2].activations)
        words = f"of {largest[0]}, the largest: one block serves all {'other ' if beside else ''}parts"
        lines.append(Line("activations", largest[2].activations / MIB, words))
        most += largest[2].activations
    lines.append(Line("scratch", SCRATCH * most / MIB, "a third of that and some, measured"))
    if target.kind == "cpu":
        lines.append(Line("ONNX Runtime's graphs", SESSION_MIB * len(parts), "1.4 MiB each, measured"))
    elif target.runtime_mib is not None:
        figure = target.runtime_mib
        lines.append(Line("CUDA and TensorRT", figure.value, target.sources[figure.source], "their libraries"))
    if target.memory.shared:
        lines.append(Line("Python and chiasm", PROCESS_MIB, "measured without a model on an x86 server"))
    return lines


def total(lines: Iterable[Line]) -> float:
    """The sum, MiB."""
    return sum(line.mib for line in lines)


def spare_mib(target: Target) -> float:
    """What trimming the system would free: desktop and services off, as far as a reading was found."""
    memory = target.memory
    if memory.system_mib is None or memory.trimmed_mib is None:
        return 0.0
    return memory.system_mib.value - memory.trimmed_mib.value


def verdict(target: Target, need_mib: float, available_mib: float | None = None) -> Verdict:
    """`tight`: only once the system is trimmed."""
    lines = ours(target, available_mib)
    if lines is None:
        return "not known"
    left = total(lines) - need_mib
    if left >= 0:
        return "fits"
    return "tight" if available_mib is None and left + spare_mib(target) >= 0 else "does not fit"
