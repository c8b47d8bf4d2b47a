"""One encoder of one modality: packet → tokens and embedding, kept until the packet changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter

from .backends import Session
from .values import Array, Packet

__all__ = ["Encoder"]


class Encoder:
    """Prepares and encodes packets of one modality; `runs` counts how often the encoder ran, `seconds` is
    what it took the last time.

    `embedding` (D,) is the session's own buffer, after `bring` where the session has that. `feed` is what fusion is fed
    with: the tokens where the session keeps them, zeros while the modality is absent.
    """

    __slots__ = ("_encoding", "_feeds", "_next", "_packet", "_prepare", "_preparing", "_results", "_run", "_silent",
                 "bring", "embedding", "feed", "modality", "runs", "seconds")  # fmt: skip

    def __init__(self, modality: str, session: Session, prepare: Callable[[Packet], Mapping[str, Array]]) -> None:
        self.modality = modality
        self.feed = session.values["tokens"]
        self.embedding = session.results["embedding"].reshape(-1)
        self.bring = session.bring
        self.runs = 0
        self.seconds = 0.0
        self._preparing, self._encoding = "preprocess." + modality, "encode." + modality
        self._run, self._results = session.run, session.results
        self._prepare = prepare
        self._packet: Packet | None = None
        self._silent = True

    @property
    def tokens(self) -> Array:
        """(1, N, D), which the next run overwrites."""
        return self._results["tokens"]

    def knows(self, packet: Packet) -> bool:
        """Whether it is what was encoded last: this very packet, or the same text."""
        if self._silent:
            return False
        last = self._packet
        if last is packet or last is None:
            return last is packet
        return isinstance(packet.data, str) and isinstance(last.data, str) and packet.data == last.data

    def prepare(self, packet: Packet, timings: dict[str, float]) -> None:
        """Make a packet ready for `run`."""
        start = perf_counter()
        self._feeds = self._prepare(packet)
        timings[self._preparing] = perf_counter() - start
        self._next = packet

    def prepared(self, packet: Packet, feeds: Mapping[str, Array]) -> None:
        """Take what was made ready elsewhere, of a picture that several encoders see."""
        self._feeds, self._next = feeds, packet

    def run(self, timings: dict[str, float]) -> None:
        """Encode what is ready. `timings` gets the seconds of both stages."""
        start = perf_counter()
        self._run(self._feeds)
        self.seconds = timings[self._encoding] = perf_counter() - start
        self.runs += 1
        self._packet, self._silent = self._next, False

    def silence(self) -> None:
        """The modality is absent: zero tokens, and whatever comes next is encoded anew."""
        if not self._silent:
            self.feed.fill(0.0)
            self._silent = True
