"""Encoders side by side: tried, chosen by what they took, the same answers, and errors after all have ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from chiasm.runtime import overlap as overlap_module
from chiasm.runtime.encode import Encoder
from chiasm.runtime.overlap import TRIES, Overlap
from chiasm.runtime.values import Packet


class Pretended:
    """A session that takes `seconds` and notes in which thread it ran, and who ran at the same time."""

    bring = note = None

    def __init__(self, seconds: float, running: set[str], name: str) -> None:
        tokens, embedding = np.zeros((1, 2, 3), np.float32), np.zeros((1, 4), np.float32)
        self.values = self.results = {"tokens": tokens, "embedding": embedding}
        self.seconds, self.running, self.name = seconds, running, name
        self.threads: list[str] = []
        self.beside: list[frozenset[str]] = []
        self.begun: list[str] = []
        self.error: Exception | None = None

    def run(self, feeds: Mapping[str, Any]) -> Any:
        self.running.add(self.name)
        self.begun.append(self.name)
        self.threads.append(threading.current_thread().name)
        if self.seconds:
            time.sleep(self.seconds)
        self.beside.append(frozenset(self.running))
        self.running.discard(self.name)
        if self.error is not None:
            raise self.error
        return self.results


def encoders(**seconds: float) -> tuple[list[Encoder], list[Pretended]]:
    running: set[str] = set()
    sessions = [Pretended(each, running, name) for name, each in seconds.items()]
    made = [Encoder(each.name, each, lambda packet: {}) for each in sessions]  # type: ignore[arg-type]
    return made, sessions


def step(overlap: Overlap, ready: list[Encoder]) -> dict[str, float]:
    timings: dict[str, float] = {}
    for encoder in ready:
        encoder.prepare(Packet(encoder.modality, None), timings)
    overlap.run(ready, timings)
    return timings


def met(session: Pretended) -> list[bool]:
    """For each run, whether another encoder ran when it ended or was ending."""
    return [len(names) > 1 for names in session.beside]


def test_tries_both_ways_and_keeps_the_faster() -> None:
    """Sleeping takes no core, so two at a time is faster."""
    ready, sessions = encoders(image=0.02, audio=0.03)
    overlap = Overlap()
    for _ in range(1 + 2 * TRIES + 3):
        timings = step(overlap, ready)
        assert timings["encode.image"] >= 0.02
        assert timings["encode.audio"] >= 0.03
    overlap.close()
    apart, tried, kept = met(sessions[0])[0], met(sessions[0])[1:-3], met(sessions[0])[-3:]
    assert not apart  # nothing is known of the first
    assert tried == [False, True] * TRIES
    assert kept == [True] * 3
    assert [encoder.runs for encoder in ready] == [1 + 2 * TRIES + 3] * 2


def test_what_gains_nothing_stays_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, sessions = encoders(image=0.02, audio=0.02)
    only = threading.Lock()  # as if there were one core

    def alone(session: Pretended) -> Any:
        run = session.run

        def locked(feeds: Mapping[str, Any]) -> Any:
            with only:
                return run(feeds)

        return locked

    for encoder, session in zip(ready, sessions, strict=True):
        monkeypatch.setattr(encoder, "_run", alone(session))
    overlap = Overlap()
    for _ in range(1 + 2 * TRIES):
        step(overlap, ready)
    before = [len(session.threads) for session in sessions]
    for _ in range(5):
        step(overlap, ready)
    overlap.close()
    mine = threading.current_thread().name
    assert [session.threads[start:] for session, start in zip(sessions, before, strict=True)] == [[mine] * 5] * 2


@pytest.mark.parametrize(("allowed", "audio"), [(False, 0.01), (True, 0.0)])
def test_no_second_thread_without_need(allowed: bool, audio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not allowed, and where only one encoder takes long."""
    monkeypatch.setattr(overlap_module, "WORTH_S", 0.005)
    ready, sessions = encoders(image=0.01, audio=audio)
    overlap = Overlap(allowed=allowed)
    for _ in range(2 + 2 * TRIES):
        step(overlap, ready)
    overlap.close()
    assert {name for session in sessions for name in session.threads} == {threading.current_thread().name}


def test_the_longest_begins_and_three_share_two_threads() -> None:
    ready, sessions = encoders(text=0.005, image=0.01, audio=0.04)
    overlap = Overlap()
    for _ in range(1 + 2 * TRIES):
        step(overlap, ready)
    begun: list[str] = []
    for session in sessions:
        session.begun = begun
    step(overlap, ready)
    overlap.close()
    assert sorted(begun) == ["audio", "image", "text"]
    assert begun[-1] == "text"
    assert len({session.threads[-1] for session in sessions}) == 2


@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_comes_after_all_have_ended(broken: int) -> None:
    ready, sessions = encoders(image=0.01, audio=0.02)
    overlap = Overlap()
    for _ in range(1 + 2 * TRIES):
        step(overlap, ready)
    sessions[broken].error = ValueError("no more")
    with pytest.raises(ValueError, match="no more"):
        step(overlap, ready)
    assert sessions[0].running == set()
    sessions[broken].error = None
    step(overlap, ready)  # and it goes on
    overlap.close()
    overlap.close()
