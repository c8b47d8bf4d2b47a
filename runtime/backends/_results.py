"""Outputs of a session whose tensors are elsewhere: looking one up brings it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from ..values import Array

__all__ = ["Results"]


class _Session(Protocol):
    def fetch(self, name: str) -> Array: ...


class Results(Mapping[str, Array]):
    """Outputs by name; each lookup asks `session.fetch(name)`."""

    def __init__(self, session: _Session, names: Iterable[str]) -> None:
        self._session, self._names = session, dict.fromkeys(names)

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._session.fetch(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
