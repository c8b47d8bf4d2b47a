"""Results to write."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from chiasm.runtime.values import Packet, Result, Snapshot

HAZARD = {"clear": 0.1, "siren_unseen": 0.85, "closing_fast": 0.05}


def make(time_s: float = 0.0, *, absent: tuple[str, ...] = (), weight: float = 0.5, grey: int = 128) -> Result:
    """A result of three modalities at a time; the image weighs `weight` before the absent ones go."""
    packets = {
        "image": Packet("image", np.full((36, 64, 3), grey, np.uint8), time_s),
        "audio": Packet("audio", np.sin(np.arange(1600) / 9).astype(np.float32), time_s - 0.02, 16000),
        "text": Packet("text", "exit left is blocked by a lorry, take the next one", 0.0),
    }
    packets = {name: packet for name, packet in packets.items() if name not in absent}
    weights = {"image": weight, "audio": (1 - weight) * 0.75, "text": (1 - weight) * 0.25}
    total = sum(weights[name] for name in packets) or 1.0
    ages = {name: time_s - packet.time_s for name, packet in packets.items()}
    return Result(
        time_s=time_s,
        embedding=np.array([0.6, 0.8], np.float32),
        embeddings={},
        scores={"hazard": HAZARD, "weather": {"rain": 0.75, "fog": 0.25}},
        labels={"hazard": "siren_unseen", "weather": "rain"},
        weights={name: weights[name] / total for name in packets},
        ages=ages,
        timings={"total": 0.0031},
        encoded=tuple(packets),
        snapshot=Snapshot(time_s, packets, ages),
    )


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Small pictures gain nothing from OpenCV's threads."""
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(1)


@pytest.fixture
def result() -> Callable[..., Result]:
    return make
