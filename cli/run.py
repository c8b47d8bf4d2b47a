"""`chiasm run`: a bundle on live streams or files."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import (
    BackendOption,
    BundleArgument,
    FusionOption,
    JsonOption,
    PrecisionOption,
    ThreadsOption,
    bundle_path,
    keep_inputs,
    known_modalities,
    option_names,
    progress,
    source_uri,
    split_modalities,
    stderr,
)

if TYPE_CHECKING:
    from ..runtime.pipeline import Pipeline
    from ..runtime.sinks import Sink
    from ..runtime.stream import Stream
    from ..runtime.values import Result

OPEN = True


def command(
    ctx: typer.Context,
    bundle: BundleArgument,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URI",
            help="Where results go: FILE.jsonl, FILE.mp4, window, print, or - for JSON lines. Repeatable.",
        ),
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play files at their own pace and drop what comes too late.")
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Decisions per second; default: the fastest source's.", min=0.01, max=1000),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Stop after this much stream time.", min=0.01)
    ] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    fusion: FusionOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End where an engine cannot serve, instead of running its graph.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a bundle on cameras, microphones, files and text.

    Give each modality of the bundle as --NAME SOURCE. The reference has --image, --audio, --text and --radar. A source
    is a picture, a folder of pictures, a video, camera:0, an rtsp:// or http:// address, a WAV file, the sound track of
    a video, mic:, words, a .txt file, or an .npz series.

    Example: chiasm run reference --image drive.mp4 --audio drive.mp4 --radar drive.npz --sink annotated.mp4
    """
    from ..runtime.pipeline import load
    from ..runtime.sources import open_sources

    options = option_names(ctx)
    word, values = split_modalities([bundle, *ctx.args], options)
    names = _sink_names(sink or [], as_json)
    keep_inputs(names, values.values())
    with ExitStack() as stack:
        loaded = load(bundle_path(word), backend, precision, threads, fusion=fusion, strict=strict)
        pipeline = stack.enter_context(loaded)
        for part, why in pipeline.notes.items():
            stderr().print(f"{part} {why}", markup=False)
        chosen = known_modalities(values, pipeline.manifest.modalities, options)
        uris = {modality.name: source_uri(modality, values[modality.name]) for modality in chosen}
        sources, shared = open_sources(uris, {modality.name: modality for modality in chosen})
        for source in sources:
            stack.callback(source.close)
        live = any(source.live for source in sources)
        sound = None if realtime or live else _sound_track(uris.values())
        sinks = _open_sinks(stack, names, pipeline, rate, sound, live=live)
        stream = stack.enter_context(
            pipeline.stream(sources, rate_hz=rate, realtime=realtime, seconds=seconds, shared=shared)
        )
        tally = Tally()
        _pump(stream, sinks, tally, seconds, quiet=not {"print", "-"}.isdisjoint(names))
        summary = tally.summary(stream, pipeline)
    _report(summary, as_json)
    files = [name for name in names if name not in ("print", "-", "window")]
    if files and not as_json:
        stderr().print("Written: " + ", ".join(files), markup=False, soft_wrap=True)
    if tally.interrupted:
        raise typer.Exit(130)
    _raise_what_ended(stream)


def _sink_names(asked: Sequence[str], as_json: bool) -> list[str]:
    """What was asked for; lines for a person when nothing was."""
    names = list(dict.fromkeys([*asked, "-"] if as_json else asked))
    return names or ["print"]


def _raise_what_ended(stream: Stream) -> None:
    """The others went on and what they gave is written; that one source broke must not pass unnoticed."""
    from ..runtime.errors import SourceError

    for name, error in stream.errors.items():
        raise SourceError(f"{name} ended early, the others went on: {error}") from error


class Tally:
    """What the summary is made of."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.encoded: Counter[str] = Counter()
        self.present: Counter[str] = Counter()
        self.interrupted = False

    def add(self, result: Result) -> None:
        self.latencies.append(result.timings["total"])
        self.encoded.update(result.encoded)
        self.present.update(result.present)

    def summary(self, stream: Stream, pipeline: Pipeline) -> dict[str, Any]:
        """Plain types; latencies in milliseconds."""
        from ..bench.percentiles import spread

        return {
            "steps": len(self.latencies),
            "skipped": stream.skipped,
            "dropped": dict(stream.dropped),
            "latency_ms": spread([1000 * value for value in self.latencies]) if self.latencies else None,
            "present": dict(self.present),
            "encoded": dict(self.encoded),
            "precisions": {part: pipeline.precisions[part] for part, runs in pipeline.runs.items() if runs},
            "errors": {name: str(error) for name, error in stream.errors.items()},
            "interrupted": self.interrupted,
        }


def _sound_track(uris: Iterable[str]) -> str | None:
    """A film with sound among the sources: an annotated film can carry it on."""
    from ..runtime.errors import ChiasmError
    from ..runtime.sinks.film import FORMATS
    from ..runtime.sources.containers import open_container, stream_of

    for uri in uris:
        if Path(uri).suffix.lower() in FORMATS and os.path.isfile(uri):
            with suppress(ChiasmError):
                container = open_container(uri)
                stream_of(container, "audio", uri)
                container.close()
                return uri
    return None


def _open_sinks(
    stack: ExitStack, names: Sequence[str], pipeline: Pipeline, rate: float | None, sound: str | None, *, live: bool
) -> list[Sink]:
    from ..runtime.sinks import open_sink

    fps = rate or max(modality.rate_hz for modality in pipeline.manifest.modalities)
    title = pipeline.manifest.model.name
    sinks: list[Sink] = []
    for name in names:
        sink = open_sink(name, modalities=pipeline.modalities, title=title, fps=fps, sound=sound, live=live)
        stack.push(partial(_finish, sink))
        sinks.append(sink)
    return sinks


def _finish(sink: Sink, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
    """A run that ends well leaves its files; one that fails leaves nothing half written."""
    if kind is None:
        sink.close()
    else:
        sink.abort()


def _pump(stream: Stream, sinks: Sequence[Sink], tally: Tally, seconds: float | None, *, quiet: bool) -> None:
    """Pull until the stream ends, or until Ctrl-C, which ends a run in good order."""
    started: float | None = None
    with progress("running", quiet=quiet) as advance:
        try:
            for result in stream:
                tally.add(result)
                for sink in sinks:
                    sink.write(result)
                if any(sink.stopped for sink in sinks):
                    return
                started = result.time_s if started is None else started
                advance(f"step {len(tally.latencies)}", (result.time_s - started) / seconds if seconds else 0.0)
        except KeyboardInterrupt:
            tally.interrupted = True


def _report(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        import json

        sys.stdout.write(json.dumps({"summary": summary}) + "\n")
        return
    latency = summary["latency_ms"]
    words = [f"{summary['steps']} step{'' if summary['steps'] == 1 else 's'}"]
    if latency:
        words.append(f"p50 {latency['p50']:.2f} ms")
        words.append(f"p99 {latency['p99']:.2f} ms" if latency["p99"] else f"max {latency['max']:.2f} ms")
    words += [f"{name} encoded {count}x" for name, count in summary["encoded"].items()]
    words += [f"{name} dropped {count}" for name, count in summary["dropped"].items() if count]
    words += [f"{summary['skipped']} skipped with nothing present"] if summary["skipped"] else []
    stderr().print(", ".join(words) + (" (interrupted)" if summary["interrupted"] else ""), soft_wrap=True)
