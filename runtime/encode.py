"""One encoder of one modality: packet → tokens and embedding, kept until the packet changes."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from .backends import Session
from .errors import BackendError
from .values import Array, Packet

__all__ = ["Encoder"]


class Encoder:
    """Prepares and encodes packets of one modality; `runs` counts how often the encoder ran.

    `tokens` (1, N, D) is one buffer for good, so that fusion can be fed with it once and for all; zeros when cleared.
    """

    def __init__(
        self, modality: str, session: Session, prepare: Callable[[Packet], dict[str, Array]], shape: tuple[int, ...]
    ) -> None:
        self.modality = modality
        self.tokens = np.zeros(shape, np.float32)
        self.runs = 0
        self.prepare_s = 0.0
        self.run_s = 0.0
        self._session = session
        self._prepare = prepare
        self._packet: Packet | None = None
        self._embedding: Array | None = None
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
        answer = self._session.run(feeds)
        self.run_s = perf_counter() - ready
        self.prepare_s = ready - start
        self.runs += 1
        self.tokens[...] = answer["tokens"]
        embedding = answer["embedding"][0].copy()
        embedding.flags.writeable = False
        self._packet, self._embedding, self._silent = packet, embedding, False
        return True

    def silence(self) -> None:
        """The modality is absent: zero tokens, and whatever comes next is encoded anew."""
        if not self._silent:
            self.tokens.fill(0.0)
            self._silent = True

    @property
    def embedding(self) -> Array:
        """(D,) float32 of unit norm, read-only; of the packet that was encoded last."""
        if self._embedding is None:
            raise BackendError(f"The encoder of {self.modality} has not run yet")
        return self._embedding
