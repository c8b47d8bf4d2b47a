"""What a caller hands to a pipeline → a Snapshot: raw values become packets captured now, ages are checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import InputError
from .hints import unknown_modality
from .values import Packet, Snapshot

__all__ = ["take_in"]


def take_in(values: Mapping[str, Any], time_s: float | None, names: Sequence[str]) -> Snapshot:
    """Snapshot of raw values, (array, sample rate) pairs and Packets by modality; None is absent.

    `time_s` None: the newest Packet's capture time, or 0. Raises InputError for an unknown modality, a packet of
    another modality, and one captured after `time_s`.
    """
    packets: dict[str, Any] = {}
    raw: list[str] = []
    newest: float | None = None
    for name, value in values.items():
        if value is None:
            continue
        if name not in names:
            raise unknown_modality(name, names)
        packets[name] = value
        if not isinstance(value, Packet):
            raw.append(name)
        elif value.modality != name:
            raise InputError(f"Given as {name}", found=f"a packet of {value.modality}", expected=f"a packet of {name}")
        elif newest is None or value.time_s > newest:
            newest = value.time_s
    if time_s is not None and not isinstance(time_s, int | float | np.number):
        raise InputError("time_s is not a time", found=type(time_s).__name__, expected="seconds, or None")
    now = (newest or 0.0) if time_s is None else time_s
    for name in raw:
        packets[name] = _stamped(name, packets[name], now)
    ages: dict[str, float] = {}
    for name, packet in packets.items():
        age = ages[name] = now - packet.time_s
        if not 0 <= age < math.inf:
            raise InputError(
                f"The {name} packet comes from the future",
                found=f"captured at {packet.time_s} s",
                expected=f"at or before time_s = {now}",
                fix="Use one clock for both",
            )
    return Snapshot(now, packets, ages)


def _stamped(name: str, value: Any, now: float) -> Packet:
    pair = isinstance(value, tuple) and len(value) == 2
    return Packet(name, value[0], now, value[1]) if pair else Packet(name, value, now)
