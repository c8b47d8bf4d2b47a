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

    def __init__(self, modality: str, session: Session, prepare: Callable[[Packet], dict[str, Array]]) -> None:
        self.modality = modality
        self.stages = ("preprocess." + modality, "encode." + modality)
        self.tokens = session.results["tokens"]
        self.runs = 0
        self.prepare_s = 0.0
        self.run_s = 0.0
        self._run = session.run
        self.embedding = session.results["embedding"].reshape(-1)
        self._prepare = prepare
        self._packet: Packet | None = None
        self._silent = True

    def holds(self, packet: Packet) -> bool:
        """Whether this very packet, or the same text, is what was encoded last."""
        last = self._packet
        if last is None:
            return False
        return last is packet or (isinstance(packet.data, str) and packet.data == last.data)

    def encode(self, packet: Packet, *, keep: bool) -> bool:
        """Encode, unless `keep` and unchanged. True when the encoder ran; `embedding` and `tokens` hold its answer."""
        if keep and not self._silent and self.holds(packet):
            return False
        start = perf_counter()
        feeds = self._prepare(packet)
        ready = perf_counter()
        self._run(feeds)
        self.run_s = perf_counter() - ready
        self.prepare_s = ready - start
        self.runs += 1
        self._packet, self._silent = packet, False
        return True

    def silence(self) -> None:
        """The modality is absent: zero tokens, and whatever comes next is encoded anew."""
        if not self._silent:
            self.tokens.fill(0.0)
            self._silent = True
