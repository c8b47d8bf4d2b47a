"""`load` a bundle, and the `Pipeline` that it gives: the only place where the stages meet.

with load("road.chiasm") as pipeline:
    result = pipeline(image=frame, text="Dispatch: the left exit is blocked.")
    for result in pipeline.stream({"image": "camera:0", "audio": "mic:"}): ...
    for step in pipeline.generate(text="a red bus in the rain", steps=4): ...
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from time import perf_counter
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends import SessionOptions, open_backend
from .bundle import Bundle, open_bundle, resolve_bundle
from .diffuse import Sampler
from .encode import Encoder
from .errors import BackendError, InputError, NoModalityError
from .fuse import Fuser
from .heads import Heads
from .intake import take_in, unknown_modality
from .manifest import Manifest
from .preprocess import Preparer
from .sessions import Sessions
from .sources import Source, open_source
from .stream import Stream
from .values import Generation, Result, Snapshot

__all__ = ["Pipeline", "load"]


def load(
    path: str | Path,
    backend: str = "auto",
    precision: str | Mapping[str, str] = "auto",
    threads: int | None = None,
    *,
    fusion: str | None = None,
    decoder: str | None = None,
    cache: bool = True,
) -> Pipeline:
    """Open a bundle (the word "reference": the one that ships with chiasm) and the sessions of every decision.

    `backend`: "auto", "ort", "null". `precision`: "auto" (each part's own choice, measured at export), "fp32", "fp16",
    "int8", or part → precision. `threads`: of each session; None: by the graph's size. `fusion`, `decoder`: names
    from the manifest, else its defaults. `cache=False` runs every encoder on every step. Raises BundleError,
    BackendError, InputError.
    """
    if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= 256):
        raise InputError(
            "Not a number of threads", found=repr(threads), expected="a whole number from 1 to 256, or None"
        )
    bundle = open_bundle(resolve_bundle(path))
    engine = open_backend(backend, SessionOptions(threads=threads))
    try:
        sessions = Sessions(bundle, engine, precision)
        return Pipeline(bundle, sessions, fusion=fusion, decoder=decoder, cache=cache)
    except BaseException:
        engine.close()
        raise


class Pipeline:
    """An open bundle. Use it in a `with` block, or call `close`. Calls from several threads wait for each other."""

    def __init__(
        self, bundle: Bundle, sessions: Sessions, *, fusion: str | None, decoder: str | None, cache: bool
    ) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.cache = cache
        self.modalities = manifest.fusion.order
        self.fusion = _name(fusion, manifest.fusion.kinds, manifest.fusion.default, "fusion kind")
        if decoder is not None and manifest.decoder is None:
            raise InputError("This bundle cannot generate", found=f"decoder {decoder!r}", expected="no decoder")
        if manifest.decoder is not None:
            self._decoder = _name(decoder, manifest.decoder.pictures, manifest.decoder.default, "picture decoder")
        self._sessions = sessions
        self._lock = threading.Lock()
        self._max_age = {m.name: math.inf if m.max_age_s is None else m.max_age_s for m in manifest.modalities}
        self._preparer = Preparer(manifest, bundle.read)
        self._encoders = self._open_encoders()
        self._answers = [encoder.embedding for encoder in self._encoders.values()]
        ends = np.cumsum([len(answer) for answer in self._answers]).tolist()
        self._places = {name: slice(a, b) for name, a, b in zip(self._encoders, [0, *ends], ends, strict=False)}
        tokens = {name: encoder.tokens for name, encoder in self._encoders.items()}
        self._fuser = Fuser(sessions.get(manifest.fusion.kinds[self.fusion]), self.modalities, tokens)
        self._heads = Heads(manifest.heads, sessions.get)
        self._sampler = None if manifest.decoder is None else Sampler(manifest.decoder, sessions.get)
        self._closed = False

    def _open_encoders(self) -> dict[str, Encoder]:
        encoders = {}
        for name in self.modalities:
            modality = self.bundle.modality(name)
            session = self._sessions.get(modality.part)
            encoders[name] = Encoder(name, session, self._preparer)
        return encoders

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.bundle.manifest

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self._sessions.backend.name

    @property
    def precisions(self) -> Mapping[str, str]:
        """part → the precision that was chosen for it (parts that are not open yet included)."""
        return MappingProxyType(self._sessions.precisions)

    @property
    def runs(self) -> dict[str, int]:
        """part → how often it ran since loading."""
        counts: dict[str, int] = {}
        for encoder in self._encoders.values():
            part = self.bundle.modality(encoder.modality).part
            counts[part] = counts.get(part, 0) + encoder.runs
        counts[self.manifest.fusion.kinds[self.fusion]] = self._fuser.runs
        return counts | self._heads.runs | (self._sampler.runs if self._sampler is not None else {})

    def __call__(self, *, time_s: float | None = None, **packets: Any) -> Result:
        """One decision from any non-empty set of modalities, by name: raw values or Packets; None is absent.

        Raw: image uint8 RGB (H, W, 3); audio float32 (N,), or (array, sample rate); text str; series float32 (T, C).
        `time_s` is the moment of the decision on the packets' clock; None: the newest Packet's capture time. A Packet's
        age is `time_s` minus its capture time, a raw value's is 0; older than the manifest's `max_age_s` is absent.
        Raises InputError for what cannot be used, NoModalityError when nothing is present.
        """
        return self.step(take_in(packets, time_s, self.modalities))

    def step(self, snapshot: Snapshot) -> Result:
        """One decision from a snapshot."""
        start = perf_counter()
        with self._lock:
            timings: dict[str, float] = {}
            ages, encoded = self._encode(snapshot, timings)
            fusing = perf_counter()
            state, weights = self._fuse(ages)
            answering = perf_counter()
            embedding, scores, labels = self._heads.run(state)
            done = perf_counter()
            embeddings = self._embeddings(ages)
        timings["fuse"] = answering - fusing
        timings["heads"] = done - answering
        shares = {name: weight for name, weight in zip(self.modalities, weights, strict=True) if name in ages}
        timings["total"] = perf_counter() - start
        return Result(
            snapshot.time_s, embedding, embeddings, scores, labels, shares, ages, timings, tuple(encoded), snapshot
        )

    def encode(self, *, time_s: float | None = None, **packets: Any) -> dict[str, NDArray[np.float32]]:
        """modality → embedding (D,) of unit norm, by its encoder alone; for retrieval. Takes what a call takes."""
        snapshot = take_in(packets, time_s, self.modalities)
        with self._lock:
            return self._embeddings(self._encode(snapshot, {})[0])

    def stream(
        self,
        sources: Iterable[Source] | Mapping[str, Source | str],
        *,
        rate_hz: float | None = None,
        clock: str | None = None,
        realtime: bool = False,
        seconds: float | None = None,
    ) -> Stream:
        """Results from sources as they come: an iterator with counters, which closes its sources in the end.

        `sources`: opened ones, or modality → source or URI. A step for every packet of the fastest modality (or of
        `clock`; "every": of any modality), or `rate_hz` steps a second. Files run on their own clock and drop nothing;
        with `realtime`, or beside a live source, the wall clock paces them. `seconds` ends it early. See stream.py.
        """
        opened = self._open_sources(sources)
        modalities = self.manifest.modalities
        return Stream(opened, modalities, self.step, rate_hz=rate_hz, clock=clock, realtime=realtime, seconds=seconds)

    def generate(
        self,
        *,
        steps: int = 4,
        seed: int = 0,
        guidance: float | None = None,
        decoder: str | None = None,
        preview: bool = False,
        time_s: float | None = None,
        **packets: Any,
    ) -> Iterator[Generation]:
        """A picture from any non-empty set of modalities: yields every step, the picture with the last (or, with
        `preview`, with each).

        Same seed, same latents. `guidance`: the manifest's by default, within its range; `decoder`: name of a picture
        decoder. Everything is checked, and the packets encoded, before this returns. Raises InputError,
        NoModalityError.
        """
        if self._sampler is None:
            raise InputError("This bundle cannot generate", expected="a bundle with a decoder")
        scale, picture = self._sampler.check(steps, seed, guidance, self._decoder if decoder is None else decoder)
        snapshot = take_in(packets, time_s, self.modalities)
        with self._lock:
            ages, _ = self._encode(snapshot, {})
            state = self._fuse(ages)[0].copy()
        return self._locked(self._sampler.run(state, steps, seed, scale, picture, preview=preview))

    def close(self) -> None:
        """Close every session. A second call does nothing."""
        with self._lock:
            self._closed = True
            self._sessions.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _locked(self, steps: Iterator[Generation]) -> Iterator[Generation]:
        """Hold the lock during each step, not between: decisions go on while a picture is made."""
        while True:
            with self._lock:
                self._must_be_open()
                step = next(steps, None)
            if step is None:
                return
            yield step

    def _encode(self, snapshot: Snapshot, timings: dict[str, float]) -> tuple[dict[str, float], list[str]]:
        """(ages of the present modalities in order, modalities whose encoder ran)."""
        self._must_be_open()
        packets, known, keep, ages, ran = snapshot.packets, snapshot.ages, self.cache, {}, []
        for name, encoder in self._encoders.items():
            packet = packets.get(name)
            if packet is None or (age := known[name]) > self._max_age[name]:
                encoder.silence()
                continue
            ages[name] = age
            if encoder.encode(packet, keep=keep):
                ran.append(name)
                prepared, encoded = encoder.stages
                timings[prepared], timings[encoded] = encoder.prepare_s, encoder.run_s
        if not ages or len(packets) > len(ages):
            self._explain(snapshot, ages)
        return ages, ran

    def _embeddings(self, names: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """modality → embedding (D,) of the last packet, read-only: slices of one copy of all of them."""
        block = np.concatenate(self._answers)
        block.setflags(write=False)
        return {name: block[self._places[name]] for name in names}

    def _fuse(self, ages: Mapping[str, float]) -> tuple[NDArray[np.float32], list[float]]:
        present = [1.0 if name in ages else 0.0 for name in self.modalities]
        return self._fuser.run(present, [ages.get(name, 0.0) for name in self.modalities])

    def _explain(self, snapshot: Snapshot, ages: Mapping[str, float]) -> None:
        """Raise for unknown modalities, and when everything is missing or too old; some being too old is fine."""
        for name in snapshot.packets:
            if name not in self._encoders:
                raise unknown_modality(name, self.modalities)
        if not ages:
            old = [f"{n} is {snapshot.ages[n]:.3g} s old (at most {self._max_age[n]:g} s)" for n in snapshot.packets]
            raise NoModalityError(
                "All modalities are too old to count" if old else "No modality is present",
                found="; ".join(old) or None,
                expected=f"at least one of {', '.join(self.modalities)}",
            )

    def _open_sources(self, sources: Iterable[Source] | Mapping[str, Source | str]) -> list[Source]:
        if not isinstance(sources, Mapping):
            return list(sources)
        opened: list[Source] = []
        try:
            for name, source in sources.items():
                if name not in self._encoders:
                    raise unknown_modality(name, self.modalities)
                opened.append(open_source(self.bundle.modality(name), source) if isinstance(source, str) else source)
        except BaseException:
            for source in opened:
                source.close()
            raise
        return opened

    def _must_be_open(self) -> None:
        if self._closed:
            raise BackendError("The pipeline is closed", fix="Load the bundle again")


def _name(asked: str | None, names: Mapping[str, str], default: str, what: str) -> str:
    if asked is None:
        return default
    if asked not in names:
        raise InputError(f"This bundle has no such {what}", found=asked, expected=f"one of {', '.join(names)}")
    return asked
