"""One encoder of one modality: packet → tokens and embedding, kept until the packet changes."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from .backends import Session
from .values import Array, Packet

__all__ = ["Encoder"]


class Encoder:
    """Prepares and encodes packets of one modality; `runs` counts how often the encoder ran.

    `tokens` (1, N, D) and `embedding` (D,) are the session's own buffers: fusion reads the tokens where they lie. Zeros
    stand in the tokens while the modality is absent.
    """

    __slots__ = ("_encoding", "_packet", "_prepare", "_preparing", "_run", "_silent", "embedding", "modality", "runs",
                 "tokens")  # fmt: skip

    def __init__(self, modality: str, session: Session, prepare: Callable[[Packet], dict[str, Array]]) -> None:
        self.modality = modality
        self.tokens = session.results["tokens"]
        self.embedding = session.results["embedding"].reshape(-1)
        self.runs = 0
        self._preparing, self._encoding = "preprocess." + modality, "encode." + modality
        self._run = session.run
        self._prepare = prepare
        self._packet: Packet | None = None
        self._silent = True

    def holds(self, packet: Packet) -> bool:
        """Whether this very packet, or the same text, is what was encoded last."""
        last = self._packet
        if last is None:
            return False
        return last is packet or (isinstance(packet.data, str) and packet.data == last.data)

    def encode(self, packet: Packet, timings: dict[str, float], *, keep: bool) -> bool:
        """Encode, unless `keep` and unchanged. True when the encoder ran: `embedding` and `tokens` hold its answer, and
        `timings` has the seconds of both stages."""
        if keep and not self._silent and self.holds(packet):
            return False
        start = perf_counter()
        feeds = self._prepare(packet)
        ready = perf_counter()
        self._run(feeds)
        timings[self._encoding] = perf_counter() - ready
        timings[self._preparing] = ready - start
        self.runs += 1
        self._packet, self._silent = packet, False
        return True

    def silence(self) -> None:
        """The modality is absent: zero tokens, and whatever comes next is encoded anew."""
        if not self._silent:
            self.tokens.fill(0.0)
            self._silent = True
