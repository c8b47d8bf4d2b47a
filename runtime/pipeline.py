"""`load` a bundle, and the `Pipeline` that it gives: the only place where the stages meet.

Stages that a bundle, or a caller, does without are not imported.

with load("road.chiasm") as pipeline:
    result = pipeline(image=frame, text="Dispatch: the left exit is blocked.")
    for result in pipeline.stream({"image": "camera:0", "audio": "mic:"}): ...
    for step in pipeline.generate(text="a red bus in the rain", steps=4): ...
    print(pipeline.caption(image=frame, beams=3).text)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .backends import SessionOptions
from .bundle import Bundle, open_bundle, resolve_bundle
from .errors import InputError
from .fuse import fusion_kind
from .intake import take_in
from .manifest import Manifest
from .one_process import OneProcess
from .senses import Senses
from .sessions import Sessions, check_threads, open_sessions
from .stream import Stream
from .values import Asked, Caption, Generation, Result, Snapshot

if TYPE_CHECKING:
    from .caption import Captions
    from .painter import Painter
    from .sources import Source

__all__ = ["Pipeline", "load"]

_Step = TypeVar("_Step")


def load(
    path: str | Path,
    backend: str = "auto",
    precision: str | Mapping[str, str] = "auto",
    threads: int | None = None,
    *,
    fusion: str | None = None,
    decoder: str | None = None,
    cache: bool = True,
    build: Literal["never", "missing"] = "never",
    strict: bool = False,
) -> Pipeline:
    """Open a bundle (the word "reference": the one that ships with chiasm) and the sessions of every decision.

    `backend`: "auto", "ort", "openvino", "null", or on a GPU "ort:cuda", "rtx", "trt". `precision`: "auto" (measured at
    export; or, where all is left to us, on this host by `chiasm tune`), "fp32", "fp16", "int8", or part → precision.
    `threads`: of each session, and for preparing a large picture; None: by their sizes. Encoders run two at a time
    where that takes less time, unless `threads` is 1. `fusion`, `decoder`: names from the manifest. `cache=False` runs
    every encoder on every step. An engine that is missing, or made for something else, is never loaded: the part's
    graph runs on ONNX Runtime's CPU, as all that a GPU refuses, and `pipeline.notes` says why; with `strict` it is an
    EngineError. `build` "missing" builds engines while loading. Raises BundleError, BackendError, InputError.
    """
    check_threads(threads)
    bundle = open_bundle(resolve_bundle(path))
    sessions = open_sessions(bundle, backend, precision, SessionOptions(threads=threads, build=build), strict=strict)
    try:
        return Pipeline(bundle, sessions, fusion=fusion, decoder=decoder, cache=cache, threads=threads)
    except BaseException:
        sessions.close()
        raise


class Pipeline(OneProcess):
    """An open bundle. Use it in a `with` block, or call `close`. Calls from several threads wait for each other.

    It serves the process that loaded it: a forked child, or one that it would be sent to, loads the bundle itself.
    """

    def __init__(
        self, bundle: Bundle, sessions: Sessions, *, fusion: str | None, decoder: str | None, cache: bool,
        threads: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        manifest = bundle.manifest
        self.bundle = bundle
        self.cache = cache
        self.fusion = fusion_kind(fusion, manifest)
        self._sessions = sessions
        self._senses = Senses(bundle, sessions, self.fusion, cache=cache, threads=threads)
        self.modalities = self._senses.names
        self._painter: Painter | None = None
        if manifest.decoder is not None:
            from .painter import Painter

            self._painter = Painter(manifest, sessions.get, bundle.read, decoder)
        elif decoder is not None:
            raise InputError("This bundle cannot generate", found=f"decoder {decoder!r}", expected="no decoder")
        self._captions: Captions | None = None
        if manifest.captioner is not None:
            from .caption import Captions

            self._captions = Captions(manifest.captioner, sessions.get, bundle.read)

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.bundle.manifest

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self._sessions.backend.name

    @property
    def notes(self) -> Mapping[str, str]:
        """part → why it runs otherwise than asked for; under "tuned", why what `chiasm tune` chose is not used."""
        return MappingProxyType(self._sessions.notes)

    @property
    def backends(self) -> Mapping[str, str]:
        """part → the backend that runs it, or will once it is opened."""
        return MappingProxyType(self._sessions.backends)

    @property
    def precisions(self) -> Mapping[str, str]:
        """part → the precision that was chosen for it (parts that are not open yet included)."""
        return MappingProxyType(self._sessions.precisions)

    @property
    def runs(self) -> dict[str, int]:
        """part → how often it ran since loading."""
        counts = dict(self._senses.runs)
        for stage in (self._painter, self._captions):
            counts |= stage.runs if stage is not None else {}
        return counts

    def __call__(self, *, time_s: float | None = None, **packets: Any) -> Result:
        """One decision from any non-empty set of modalities, by name: raw values or Packets; None is absent.

        Raw: image uint8 RGB (H, W, 3), or a VideoFrame; audio float32 (N,) at the manifest's sample rate, or (array,
        sample rate), which is checked; text str; series float32 (T, C).
        `time_s` is the moment of the decision on the packets' clock; None: the newest Packet's capture time. A Packet's
        age is `time_s` minus its capture time, a raw value's is 0; older than the manifest's `max_age_s` is absent.
        Raises InputError for what cannot be used and in a bundle that does not decide, NoModalityError when nothing is
        present.
        """
        if self.fusion is None:
            self._must_decide()
        return self.step(take_in(packets, time_s, self.modalities))

    def step(self, snapshot: Snapshot) -> Result:
        """One decision from a snapshot."""
        with self._lock:
            if self._closed or self.fusion is None:
                self._must_decide()
            return self._senses.decide(snapshot)

    def encode(self, *, time_s: float | None = None, **packets: Any) -> dict[str, NDArray[np.float32]]:
        """modality → embedding (D,) of unit norm, by its encoder alone; for retrieval. Takes what a call takes."""
        snapshot = take_in(packets, time_s, self.modalities)
        with self._lock:
            self._must_be_open()
            return dict(self._senses.embeddings(self._senses.encode(snapshot, {})[0]))

    def stream(
        self,
        sources: Iterable[Source] | Mapping[str, Source | str | Path],
        *,
        rate_hz: float | None = None,
        clock: str | None = None,
        realtime: bool = False,
        seconds: float | None = None,
        shared: Mapping[str, str] | None = None,
    ) -> Stream:
        """Results from sources as they come: an iterator with counters, which closes its sources in the end.

        `sources`: opened ones, or modality → source, URI or path. `shared`: image modality → another one, whose
        pictures it sees as well; a URI that several name is opened once. A step for every packet of the fastest
        modality (or of `clock`; "every": of any modality), or `rate_hz` steps a second. Files run on their own clock
        and drop nothing; with `realtime`, or beside a live source, the wall clock paces them. `seconds` ends it early.
        """
        from .sources import open_sources

        known = self.manifest.modalities
        opened, same = open_sources(sources, {modality.name: modality for modality in known})
        return Stream(
            opened, known, self.step, rate_hz=rate_hz, clock=clock, realtime=realtime, seconds=seconds,
            shared={**same, **(shared or {})},
        )  # fmt: skip

    def generate(
        self,
        *,
        steps: int | None = None,
        seed: int = 0,
        guidance: float | None = None,
        decoder: str | None = None,
        preview: bool = False,
        negative: str | None = None,
        mask: Any = None,
        strength: float | None = None,
        noise: Any = None,
        time_s: float | None = None,
        **given: Any,
    ) -> Iterator[Generation]:
        """A picture, step by step: yields every step, the picture with the last (or, with `preview`, with each).

        From any non-empty set of modalities, as a call takes them; in a bundle with prompts from `text`, guided away
        from `negative`, started from `image` if there is one (uint8 RGB), which may change as much as `strength` says
        (0.8; with a mask 1), and only where `mask` (H, W) is white; in a one-pass bundle from `image` alone.

        Same seed, same latents. `steps`, `guidance`: the manifest's by default, and within what it offers; `decoder`:
        name of a picture decoder; `noise`: that of the start, float (C, h, w), in place of the seed's. Everything is
        checked, and what is given is encoded, before this returns. Raises InputError, NoModalityError.
        """
        painter = self._painter
        if painter is None:
            raise InputError("This bundle cannot generate", expected="a bundle with a decoder")
        asked = Asked(steps, seed, guidance, decoder, preview, negative, mask, strength, noise)
        if not painter.fused:
            if time_s is not None:
                raise InputError("This bundle draws from what it is handed", found="time_s", expected="no time_s")
            with self._lock:
                self._must_be_open()
                made = painter.start(given, asked)
            return self._locked(made)
        settings = painter.check(asked)
        snapshot = take_in(given, time_s, self.modalities)
        with self._lock:
            self._must_be_open()
            ages, _ = self._senses.encode(snapshot, {})
            state = self._senses.state(ages).copy()
        return self._locked(painter.from_state(state, settings))

    def caption(
        self,
        *,
        beams: int | None = None,
        max_tokens: int | None = None,
        prompt: str | None = None,
        length_penalty: float | None = None,
        early_stopping: bool | str | None = None,
        time_s: float | None = None,
        **packets: Any,
    ) -> Caption:
        """What the picture shows, in words that begin with `prompt`: the likeliest token each time, or by `beams`.

        Takes the one modality that the captioner describes, as a call takes it; None: what the manifest says. The token
        numbers are those of transformers' `generate`. Decisions go on meanwhile. Raises InputError.
        """
        stage, start, timings = self._captions, perf_counter(), dict[str, float]()
        if stage is None:
            raise InputError("This bundle does not describe pictures", expected="a bundle with a captioner")
        words, limits = stage.check(beams, max_tokens, prompt, length_penalty, early_stopping)
        snapshot = take_in(packets, time_s, (stage.modality,))
        with stage.busy:
            with self._lock:
                self._must_be_open()
                self._senses.encode(snapshot, timings)
                seen = self._senses.tokens(stage.modality).copy()
            made = deque(self._locked(stage.run(seen, words, limits)), maxlen=1).pop()
        assert made is not None
        return Caption(made.text, made.score, made.tokens, {**timings, **made.timings, "total": perf_counter() - start})

    def close(self) -> None:
        """Close every session. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = "The pipeline is closed"
            self._senses.close()
            self._sessions.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _locked(self, steps: Iterator[_Step]) -> Iterator[_Step]:
        """Hold the lock during each step, not between: decisions go on while a picture or a text is made."""
        end = object()
        while True:
            with self._lock:
                self._must_be_open()
                step = next(steps, end)
            if step is end:
                return
            yield cast(_Step, step)

    def _must_decide(self) -> None:
        """Raise InputError, which says what the bundle does instead, when it has no fusion; and see below."""
        _ = self.manifest.fused
        self._must_be_open()
