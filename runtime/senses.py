"""Modalities → a decision: encoders, fusion and heads of one bundle, as far as it has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ..kernels.readout import readout
from .backends import usable_threads
from .bundle import Bundle
from .encode import Encoder
from .errors import NoModalityError
from .fuse import Fuser
from .heads import Heads
from .hints import unknown_modality
from .overlap import Overlap
from .preprocess import Preparer
from .sessions import Sessions
from .values import Embeddings, Packet, Result, Snapshot

__all__ = ["Senses"]

PREPARING = 4
"""Threads that prepare a large picture where nobody says how many: it is soon done, and more would only be woken."""


class Senses:
    """Opens the session of every encoder, of one fusion kind (None: the bundle has no fusion) and of the heads."""

    def __init__(
        self, bundle: Bundle, sessions: Sessions, fusion: str | None, *, cache: bool, threads: int | None = None
    ) -> None:
        manifest = bundle.manifest
        self.cache = cache
        self.names = tuple(m.name for m in manifest.modalities) if manifest.fusion is None else manifest.fusion.order
        self._bundle = bundle
        self._max_age = {m.name: math.inf if m.max_age_s is None else m.max_age_s for m in manifest.modalities}
        self._preparer = preparer = Preparer(manifest, bundle.read, threads or min(usable_threads(), PREPARING))
        cameras = preparer.cameras.intersection(self.names)
        self._cameras = cameras if len(cameras) > 1 else frozenset[str]()
        sessions.open(self._parts(fusion))
        self._encoders: dict[str, Encoder] = {}
        parts = [bundle.modality(name).part for name in self.names]
        for index, (name, part) in enumerate(zip(self.names, parts, strict=True)):
            session = sessions.get(part, parts[:index].count(part))  # two modalities of one part: results of their own
            self._encoders[name] = Encoder(name, session, preparer)
        self._order = tuple((name, encoder, self._max_age[name]) for name, encoder in self._encoders.items())
        self._embeddings = {name: encoder.embedding.data for name, encoder in self._encoders.items()}
        self._far = [encoder.bring for encoder in self._encoders.values() if encoder.bring is not None]
        self._overlap = Overlap(allowed=threads != 1)
        tokens = {name: encoder.feed for name, encoder in self._encoders.items()}
        self._fusion = None if fusion is None else manifest.fused.kinds[fusion]
        self._fuser = None if self._fusion is None else Fuser(sessions.get(self._fusion), self.names, tokens)
        self._heads = Heads(manifest.heads, sessions.get)
        if self._fuser is not None:
            embeddings = [encoder.embedding for encoder in self._encoders.values()]
            self._read = readout(self._heads.choices, self.names, self._fuser.weights, embeddings).read

    def _parts(self, fusion: str | None) -> list[str]:
        """What decisions need: the parts of the encoders, of the fusion, of the heads."""
        manifest = self._bundle.manifest
        fuser = [] if fusion is None else [manifest.fused.kinds[fusion]]
        heads = [head.part for head in manifest.heads.values()]
        return [*(self._bundle.modality(name).part for name in self.names), *fuser, *heads]

    @property
    def runs(self) -> dict[str, int]:
        """part → how often it ran."""
        counts: dict[str, int] = {}
        for encoder in self._encoders.values():
            part = self._bundle.modality(encoder.modality).part
            counts[part] = counts.get(part, 0) + encoder.runs
        if self._fusion is not None and self._fuser is not None:
            counts[self._fusion] = self._fuser.runs
        return counts | self._heads.runs

    def decide(self, snapshot: Snapshot) -> Result:
        """One decision. Raises InputError, NoModalityError, and InputError in a bundle without fusion."""
        start = perf_counter()
        timings: dict[str, float] = {}
        ages, encoded = self.encode(snapshot, timings)
        fusing = perf_counter()
        fuser = self._fuse(ages)
        answering = perf_counter()
        heads = self._heads
        heads.run(fuser.state)
        if fuser.bring is not None:
            fuser.bring(("weights",))
        for bring in self._far:
            bring(("embedding",))
        try:
            scores, labels, weights, embeddings = self._read(ages)
        except ValueError as error:
            raise heads.unusable(str(error)) from error
        done = perf_counter()
        timings["fuse"] = answering - fusing
        timings["heads"] = done - answering
        timings["total"] = done - start
        return Result(
            snapshot.time_s, heads.embedding.copy(), Embeddings(embeddings), scores, labels, weights, ages, timings,
            tuple(encoded), snapshot,
        )  # fmt: skip

    def embeddings(self, names: Iterable[str]) -> Embeddings:
        """modality → embedding (D,) of the packet that it saw last: a copy."""
        for bring in self._far:
            bring(("embedding",))
        return Embeddings({name: bytes(self._embeddings[name]) for name in names})

    def encode(self, snapshot: Snapshot, timings: dict[str, float]) -> tuple[dict[str, float], list[str]]:
        """(ages of the present modalities in order, modalities whose encoder ran)."""
        packets, known, keep, ages = snapshot.packets, snapshot.ages, self.cache, {}
        new: dict[Encoder, Packet] = {}
        for name, encoder, oldest in self._order:
            packet = packets.get(name)
            if packet is None or (age := known[name]) > oldest:
                encoder.silence()
                continue
            ages[name] = age
            if not (keep and encoder.knows(packet)):
                new[encoder] = packet
        done = self._prepare_shared(new, timings) if self._cameras else ()
        for encoder, packet in new.items():
            if encoder not in done:
                encoder.prepare(packet, timings)
            if self._far:  # elsewhere it works while the next is prepared
                encoder.run(timings)
        if not self._far:
            self._overlap.run(list(new), timings)
        if not ages or len(packets) > len(ages):
            self._explain(snapshot, ages)
        return ages, [encoder.modality for encoder in new]

    def _prepare_shared(self, new: Mapping[Encoder, Packet], timings: dict[str, float]) -> set[Encoder]:
        """Prepare at once what several encoders make of one picture; of those together, each is said to take its
        share of the time. Gives the encoders that are ready."""
        seeing: dict[int, list[Encoder]] = {}
        for encoder, packet in new.items():
            if encoder.modality in self._cameras:
                seeing.setdefault(id(packet.data), []).append(encoder)
        done: set[Encoder] = set()
        for encoders in seeing.values():
            if len(encoders) < 2:
                continue
            start = perf_counter()
            feeds = self._preparer.together([encoder.modality for encoder in encoders], new[encoders[0]].data)
            share = (perf_counter() - start) / len(encoders)
            for encoder, feed in zip(encoders, feeds, strict=True):
                encoder.prepared(new[encoder], feed)
                timings["preprocess." + encoder.modality] = share
            done.update(encoders)
        return done

    def tokens(self, name: str) -> NDArray[np.float32]:
        """(1, N, D) of the packet that a modality's encoder saw last; the next one overwrites it."""
        return self._encoders[name].tokens

    def state(self, ages: Mapping[str, float]) -> NDArray[np.float32]:
        """The fused state (1, S) of what was encoded, which the next call overwrites."""
        return self._fuse(ages).results["state"]

    def close(self) -> None:
        """End the threads of its own; sessions belong to whoever opened them."""
        self._overlap.close()

    def _fuse(self, ages: Mapping[str, float]) -> Fuser:
        assert self._fuser is not None  # the pipeline asks first whether there is a fusion
        self._fuser.run(ages)
        return self._fuser

    def _explain(self, snapshot: Snapshot, ages: Mapping[str, float]) -> None:
        """Raise for unknown modalities, and when everything is missing or too old; some being too old is fine."""
        for name in snapshot.packets:
            if name not in self._encoders:
                raise unknown_modality(name, self.names)
        if not ages:
            old = [f"{n} is {snapshot.ages[n]:.3g} s old (at most {self._max_age[n]:g} s)" for n in snapshot.packets]
            raise NoModalityError(
                "All modalities are too old to count" if old else "No modality is present",
                found="; ".join(old) or None,
                expected=f"at least one of {', '.join(self.names)}",
            )
