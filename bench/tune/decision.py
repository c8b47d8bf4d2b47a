"""Whole decisions of several plans beside each other: sessions that plans have in common are opened once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...runtime.backends import Session
from ...runtime.tuned import Choice
from .budget import Budget
from .judge import Judge
from .opener import Opener
from .plans import Plan
from .race import Lane, Rules, race

__all__ = ["Decision", "Ring"]

Key = tuple[str, Choice]


class Decision:
    """Sessions of one plan, run one after the other as a decision with everything new does; preprocessing left out."""

    def __init__(self, judge: Judge, sessions: Mapping[str, Session]) -> None:
        self._judge, manifest = judge, judge.manifest
        self._encoders = [(each.name, sessions[each.part]) for each in manifest.modalities]
        self._fuse: Session | None = None
        if manifest.fusion is not None:
            self._fuse = sessions[manifest.fusion.kinds[manifest.fusion.default]]
            order = manifest.fusion.order
            tokens = dict(self._encoders)
            self._fused = {name: tokens[name].values["tokens"] for name in order}
            self._fused |= {
                "presence": np.ones((1, len(order)), np.float32),
                "age": np.zeros((1, len(order)), np.float32),
            }
        self._heads = [sessions[part] for part in dict.fromkeys(each.part for each in manifest.heads.values())]

    def run(self, index: int) -> None:
        """One decision on capture number `index`."""
        for name, session in self._encoders:
            session.run(self._judge.capture(name, index))
        if self._fuse is not None:
            state = self._fuse.run(self._fused)["state"]
            for head in self._heads:
                head.run({"state": state})


class Ring:
    """Races plans. Sessions stay open from one race to the next for as long as a plan of the next one has them."""

    def __init__(self, opener: Opener, judge: Judge, budget: Budget, clock: Callable[[], float]) -> None:
        self._opener, self._judge, self._budget, self._clock = opener, judge, budget, clock
        self.room = opener.room
        self._open: dict[Key, Session] = {}

    def keys(self, plans: Iterable[Plan]) -> set[Key]:
        """The sessions that these plans need."""
        return {(part, plan[part]) for plan in plans for part in self._judge.parts}

    def size(self, plans: Iterable[Plan]) -> int:
        """Bytes of their graphs."""
        return sum(self._opener.size(part, choice.precision) for part, choice in self.keys(plans))

    def opening(self, plans: Iterable[Plan]) -> float:
        """Seconds that opening what is not open yet takes, as far as it is known."""
        missing = self.keys(plans) - self._open.keys()
        return sum(self._opener.opening.get((part, (c.backend, c.precision)), 0.0) for part, c in missing)

    def race(self, plans: Sequence[Plan], rules: Rules, end: float) -> list[Lane]:
        """Race plans until `end`, on the budget's clock. Raises BackendError."""
        wanted = self.keys(plans)
        for key in [key for key in self._open if key not in wanted]:
            self._open.pop(key).close()
        for key in sorted(wanted - self._open.keys(), key=lambda key: key[0]):
            self._open[key] = self._opener.open(*key)
        decisions = [
            Decision(self._judge, {part: self._open[part, plan[part]] for part in self._judge.parts}) for plan in plans
        ]
        rules = replace(rules, seconds=max(end - self._budget.wall(), 1e-3))
        return race([each.run for each in decisions], rules, self._clock, self._budget.wall)

    def close(self) -> None:
        """Close every session."""
        while self._open:
            self._open.popitem()[1].close()
