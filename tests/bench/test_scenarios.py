"""The scenarios on a tiny bundle, for a moment each: what they count must be right; how fast they are is not tested."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chiasm.bench.caching import caching, schedule
from chiasm.bench.inputs import Captures
from chiasm.bench.live import Metronome, fixed_rate, overload
from chiasm.bench.overhead import BareGraph, _BareChain, overhead
from chiasm.bench.settings import Settings, silent
from chiasm.bench.single import offline, single_stream, steps_all_new
from chiasm.bench.startup import startup
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import BackendError

NAMES = ("image", "text", "audio", "radar")

pytest.importorskip("onnxruntime", reason="the bench measures the ort backend")


@pytest.fixture
def settings(tiny: Path) -> Settings:
    return Settings(tiny, seconds=0.2, threads=1, warm_up=2, repeats=1)


def test_single_stream_runs_every_encoder_in_every_step(settings: Settings) -> None:
    figures = single_stream(settings, silent)
    stages = {f"{stage}.{name}" for stage in ("preprocess", "encode") for name in NAMES} | {"fuse", "heads"}
    assert set(figures["stages_ms"]) == stages
    assert all(stage["per_step"] == pytest.approx(stage["mean"]) for stage in figures["stages_ms"].values())
    assert figures["steps"] == len(figures["samples_ms"]) >= 1
    assert figures["latency_ms"]["max"] == pytest.approx(max(figures["samples_ms"]), abs=1e-3)
    assert sum(stage["mean"] for stage in figures["stages_ms"].values()) <= figures["latency_ms"]["mean"]


def test_offline_counts_what_it_did(settings: Settings) -> None:
    figures = offline(settings, silent)
    assert figures["samples_per_s"] == pytest.approx(figures["steps"] / figures["seconds"])


def test_the_schedule_changes_each_modality_at_its_own_rate(tiny: Path) -> None:
    modalities = open_bundle(tiny).manifest.modalities
    snapshots = list(schedule(modalities, Captures(modalities, 4), 2.0))
    assert len(snapshots) == 60
    seen = {name: {snapshot.packets[name].time_s for snapshot in snapshots} for name in NAMES}
    assert {name: len(times) for name, times in seen.items()} == {"image": 60, "text": 1, "audio": 20, "radar": 40}
    rates = {modality.name: modality.rate_hz for modality in modalities}
    for snapshot in snapshots:
        for name in ("image", "audio", "radar"):
            assert -1e-9 <= snapshot.ages[name] < 1 / rates[name]


def test_the_schedule_can_step_on_every_capture(tiny: Path) -> None:
    modalities = open_bundle(tiny).manifest.modalities
    times = [snapshot.time_s for snapshot in schedule(modalities, Captures(modalities, 4), 0.1, every=True)]
    assert times == pytest.approx([0.0, 1 / 30, 0.05, 2 / 30])


def test_caching_saves_runs_and_changes_no_answer(settings: Settings) -> None:
    figures = caching(settings, silent)
    kept, everything = figures["encoder_runs"]["kept"], figures["encoder_runs"]["everything"]
    assert everything == dict.fromkeys(NAMES, figures["steps"])
    assert kept["image"] == figures["steps"]
    assert kept["text"] == 1
    assert kept["audio"] <= kept["radar"] <= kept["image"]
    answers = next(criterion for criterion in figures["criteria"] if "answers" in criterion["name"])
    assert answers["value"] == 0
    assert answers["met"] is True
    assert figures["speedups"] == {"1 thread": [figures["speedup"], figures["every"]["speedup"]]}
    assert list(caching(replace(settings, threads=None), silent)["speedups"]) == ["1 thread", "as load runs it"]


def test_caching_would_notice_another_answer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from chiasm.runtime.encode import Encoder
    from chiasm.runtime.values import Packet

    def stale(self: Encoder, packet: Packet) -> bool:
        return self.runs > 0

    monkeypatch.setattr(Encoder, "knows", stale)
    figures = caching(settings, silent)
    assert next(c for c in figures["criteria"] if "answers" in c["name"])["met"] is False


@pytest.mark.parametrize("once", [BareGraph.bound_s, BareGraph.plain_s])
def test_the_bare_chain_computes_what_the_pipeline_computes(
    settings: Settings, once: Callable[[BareGraph], float]
) -> None:
    with settings.open() as pipeline:
        captures = Captures(pipeline.manifest.modalities, 3)
        chain = _BareChain(pipeline, settings)
        for index in range(3):
            _, result = steps_all_new(pipeline, captures, index)
            seconds = chain.run(captures, index, once)
            assert list(seconds) == [*(f"encode.{name}" for name in NAMES), "fuse", "heads"]
            assert min(seconds.values()) > 0
            embedding = chain.graphs["heads"].results["embedding"][0]
            np.testing.assert_allclose(embedding, result.embedding, atol=1e-5)


def test_overhead_is_the_step_less_its_parts(settings: Settings) -> None:
    figures = overhead(settings, silent)
    parts = figures["preprocess_ms"]["mean"] + figures["bare_bound_ms"]["mean"] + figures["overhead_ms"]["mean"]
    assert parts == pytest.approx(figures["latency_ms"]["mean"])
    (criterion,) = figures["criteria"]
    assert criterion["limit"] >= 0.150
    assert criterion["met"] == (figures["overhead_ms"]["p50"] <= criterion["limit"])


def test_overhead_against_another_backend_is_refused(tiny: Path) -> None:
    with pytest.raises(BackendError, match="bare ONNX Runtime"):
        overhead(Settings(tiny, backend="null"), silent)


def test_a_metronome_stamps_the_beat_and_is_never_early(tiny: Path) -> None:
    captures = Captures(open_bundle(tiny).manifest.modalities, 2)
    start = time.monotonic() + 0.02
    device = Metronome("audio", captures, 200.0, start, threading.Event())
    for beat in range(6):
        packet = device.read()
        assert packet is not None
        assert packet.time_s == pytest.approx(start + beat / 200.0, abs=1e-9)
        assert time.monotonic() >= packet.time_s


def test_an_unplugged_metronome_lets_go(tiny: Path) -> None:
    unplugged = threading.Event()
    device = Metronome("audio", Captures(open_bundle(tiny).manifest.modalities, 2), 0.001, 0.0, unplugged)
    waiting = threading.Thread(target=device.read, daemon=True)
    waiting.start()
    unplugged.set()
    waiting.join(30)
    assert not waiting.is_alive()


def test_fixed_rate_notes_age_and_drops(settings: Settings) -> None:
    figures = fixed_rate(settings, silent)
    assert figures["rates_hz"] == {"image": 30.0, "text": 1.0, "audio": 10.0, "radar": 20.0}
    assert set(figures["dropped"]) == set(NAMES)
    assert min(figures["age_samples_ms"]) >= 0
    assert figures["stages_ms"]["encode.text"]["per_step"] <= figures["stages_ms"]["encode.text"]["mean"] + 1e-9


def test_the_rate_asked_for_is_the_fastest_modalitys(tiny: Path) -> None:
    settings = Settings(tiny, "null", seconds=0.2, rate_hz=60.0, warm_up=1)
    assert fixed_rate(settings, silent)["rates_hz"] == {"image": 60.0, "text": 1.0, "audio": 10.0, "radar": 20.0}


def test_overload_is_twice_what_can_be_sustained(settings: Settings) -> None:
    figures = overload(settings, silent)
    assert figures["rate_hz"] == pytest.approx(2 * figures["sustainable_hz"])
    assert figures["service_ms"] == pytest.approx(figures["latency_ms"]["mean"])
    age, memory = figures["criteria"]
    assert age["limit"] == pytest.approx(2 * figures["service_ms"] + 1000 / figures["rate_hz"])
    assert memory["value"] is None
    assert memory["met"] is None
    assert set(figures["stages_ms"]) >= {f"encode.{name}" for name in NAMES}


def test_startup_is_measured_in_fresh_processes(settings: Settings) -> None:
    figures = startup(settings, silent)
    assert figures["heavy_after_import"] == []
    middle = figures["median"]
    assert middle["everything_s"] == pytest.approx(
        middle["import_s"] + middle["load_s"] + middle["first_result_s"], rel=1e-6
    )
    assert middle["peak_rss_mib"] > 10


def test_startup_of_what_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="No bundle here"):
        startup(Settings(tmp_path / "nothing", repeats=1), silent)
