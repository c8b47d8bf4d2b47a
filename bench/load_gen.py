"""MLPerf's LoadGen as the clock: it issues the queries, times them, judges the run, and writes its own log files.

A query's samples are synthetic captures of every modality, all new. One thread takes them one after another, as the
graphs have a batch of one. How a run is judged is LoadGen's business: the report repeats what its summary says. What is
short here, and therefore not compliant: the length, the number of queries, the models, and nobody audits it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..runtime.errors import BackendError, InputError, MissingExtraError
from ..targets import machine, packages
from .inputs import Captures
from .settings import Progress, Settings, silent
from .single import RING, steps_all_new, warm_up

if TYPE_CHECKING:
    from ..runtime.pipeline import Pipeline

__all__ = ["NOTE", "SCENARIOS", "read_summary", "run_load_gen"]

SCENARIOS = ("single-stream", "multi-stream", "offline", "server")
NOTE = "A quick run of MLPerf's LoadGen on synthetic captures: NOT MLPerf compliant, whatever its log says of validity."
SAMPLES_PER_QUERY = 8
"""Of multi-stream, as MLPerf Inference has it since v2.0."""
QUERIES: Mapping[str, int] = MappingProxyType({"single-stream": 64, "multi-stream": 662, "offline": 1, "server": 662})
"""The fewest queries from which LoadGen's early stopping can estimate the 90th, or the 99th, percentile: fewer are
INVALID in its eyes, so that a run goes on until so many are done, even beyond the seconds that were asked for.
"""
_SHARE = 0.5
"""Of the rate that the pipeline sustains, the rate at which the server scenario's queries arrive."""
_PATIENCE = 10.0
"""Service times within which 99 % of the server's answers have to come."""


def run_load_gen(settings: Settings, scenario: str, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Run LoadGen for `settings.seconds`, with its logs in `out`; the report repeats its summary.

    Raises `InputError` for an unknown scenario, `MissingExtraError`, and `BackendError` when a step failed on the way.
    """
    if scenario not in SCENARIOS:
        raise InputError("LoadGen has no such scenario", found=scenario, expected=", ".join(SCENARIOS))
    try:
        import mlperf_loadgen
    except ImportError as error:
        raise MissingExtraError("mlcommons-loadgen", "loadgen", "bench --loadgen") from error
    advance = progress or silent
    out.mkdir(parents=True, exist_ok=True)
    with settings.open(cache=False) as pipeline:
        captures = Captures(pipeline.manifest.modalities, RING, settings.seed)
        warm_up(pipeline, captures, settings.warm_up)
        service = [steps_all_new(pipeline, captures, index)[0] for index in range(max(1, settings.warm_up))]
        advance(f"loadgen: {scenario}", 0.1)
        asked = _test_settings(mlperf_loadgen, scenario, settings.seconds, service)
        worker = _Worker(mlperf_loadgen, pipeline, captures)
        _drive(mlperf_loadgen, worker, asked, out)
    if worker.error is not None:
        raise BackendError("A step failed under LoadGen", found=str(worker.error)) from worker.error
    summary = read_summary(out / "mlperf_log_summary.txt")
    return {
        "format": "chiasm-loadgen",
        "version": 1,
        "note": NOTE,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "scenario": scenario,
        "valid": summary.get("Result is") == "VALID",
        "asked": {
            "seconds": settings.seconds, "fewest_queries": QUERIES[scenario],
            "service_ms": 1000.0 * sum(service) / len(service),
            **({"qps": asked.server_target_qps, "latency_ms": asked.server_target_latency_ns / 1e6}
               if scenario == "server" else {}),
        },
        "samples": worker.done,
        "summary": summary,
        "logs": out.name,
        "machine": machine().to_dict(),
        "packages": packages(),
        "settings": settings.to_dict(),
    }  # fmt: skip


def _test_settings(lg: Any, scenario: str, seconds: float, service: Sequence[float]) -> Any:
    """LoadGen's settings for a run of `seconds`, where a sample takes as long as those in `service`.

    What a server sustains is said by their mean, so that a slow moment counts. Offline hands over all samples at once,
    enough to fill the length even if each goes as fast as the fastest here; it then runs longer than was asked.
    """
    service_s = sum(service) / len(service)
    asked = lg.TestSettings()
    asked.mode = lg.TestMode.PerformanceOnly
    names = {"single-stream": "SingleStream", "multi-stream": "MultiStream", "offline": "Offline", "server": "Server"}
    asked.scenario = getattr(lg.TestScenario, names[scenario])
    asked.min_duration_ms = max(1, round(1000 * seconds))
    asked.min_query_count = QUERIES[scenario]
    asked.single_stream_expected_latency_ns = round(1e9 * service_s)
    asked.multi_stream_samples_per_query = SAMPLES_PER_QUERY
    asked.multi_stream_expected_latency_ns = round(1e9 * service_s * SAMPLES_PER_QUERY)
    asked.offline_expected_qps = 1.2 / min(service)
    asked.server_target_qps = _SHARE / service_s
    asked.server_target_latency_ns = round(1e9 * max(0.1, _PATIENCE * service_s))
    asked.server_target_latency_percentile = 0.99
    return asked


class _Worker:
    """Takes samples in the order of their arrival, so that LoadGen's own thread never waits for a step."""

    def __init__(self, lg: Any, pipeline: Pipeline, captures: Captures) -> None:
        self._lg, self._pipeline, self._captures = lg, pipeline, captures
        self._queue: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="loadgen samples", daemon=True)
        self.done = 0
        self.error: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def issue(self, samples: list[Any]) -> None:
        """What LoadGen calls: (id, index) of every sample; the objects themselves do not outlive the call."""
        for sample in samples:
            self._queue.put((sample.id, sample.index))

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (sample := self._queue.get()) is not None:
            number, index = sample
            if self.error is None:  # after a failure LoadGen still waits for every answer
                try:
                    time_s = 0.1 * (self.done + 1)
                    self._pipeline(time_s=time_s, **self._captures.all(index, time_s))
                    self.done += 1
                except Exception as error:
                    self.error = error
            self._lg.QuerySamplesComplete([self._lg.QuerySampleResponse(number, 0, 0)])


def _drive(lg: Any, worker: _Worker, asked: Any, out: Path) -> None:
    """One test, with its logs in `out`."""
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731 (the captures are in memory already)
    logs = lg.LogSettings()
    logs.enable_trace = False
    logs.log_output.outdir = str(out)
    logs.log_output.copy_summary_to_stdout = False
    system, samples = lg.ConstructSUT(worker.issue, nothing), lg.ConstructQSL(RING, RING, nothing, nothing)
    worker.start()
    try:
        lg.StartTestWithLogSettings(system, samples, asked, logs)
    finally:
        worker.stop()
        lg.DestroyQSL(samples)
        lg.DestroySUT(system)


def read_summary(path: Path) -> dict[str, str]:
    """The `name : value` lines of LoadGen's summary. Raises `BackendError` when it wrote none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BackendError("LoadGen left no summary", found=str(error), expected=str(path)) from error
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}
