"""Sessions of a real bundle whose time is pretended: what they answer is true, what they take is on a clock of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chiasm
import pytest
from bundles import tiny_inputs
from chiasm.bench.tune.opener import Opener
from chiasm.export.calibrate import Calibration, Sample
from chiasm.runtime.tuned import Choice
from chiasm.runtime.values import Packet


def labelled(path: Path, count: int = 24) -> Calibration:
    """Moments whose right labels are what FP32 says, so that FP32 is always right when everything is there."""
    packets = []
    for seed in range(count):
        raw = tiny_inputs(seed)
        packets.append({name: Packet(name, raw[name]) for name in ("image", "text")})
    with chiasm.load(path, precision="fp32", backend="ort") as pipeline:
        samples = [Sample(each, dict(pipeline(**each).labels)) for each in packets]
    return Calibration({name: [each[name] for each in packets] for name in ("image", "text")}, samples)


class World:
    """`opening` and `running`: part → seconds in FP32; INT8 runs in half. Counts runs, and what is open at a time."""

    def __init__(self, opening: Mapping[str, float], running: Mapping[str, float]) -> None:
        self.now = 1000.0
        self.opening, self.running = opening, running
        self.runs: Counter[tuple[str, str]] = Counter()
        self.opened: Counter[str] = Counter()
        self.live: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def clock(self) -> float:
        return self.now

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every session that a tuning opens is one of this world from now on."""
        real = Opener.open

        def opened(opener: Opener, part: str, choice: Choice) -> Any:
            session = real(opener, part, choice)
            self.now += self.opening.get(part, 0.0)
            opener.opening[part, (choice.backend, choice.precision)] = self.opening.get(part, 0.0)
            return _Session(self, part, choice, session)

        monkeypatch.setattr(Opener, "open", opened)


class _Session:
    def __init__(self, world: World, part: str, choice: Choice, real: Any) -> None:
        self._world, self._part, self._choice, self._real = world, part, choice, real
        self.inputs, self.values = real.inputs, real.values
        world.opened[part] += 1
        world.live[part] += 1
        world.most[part] = max(world.most[part], world.live[part])

    def run(self, feeds: Any) -> Any:
        share = 1.0 if self._choice.precision == "fp32" else 0.5
        self._world.now += share * self._world.running.get(self._part, 1e-5)
        self._world.runs[self._part, self._choice.precision] += 1
        return self._real.run(feeds)

    def close(self) -> None:
        self._world.live[self._part] -= 1
        self._real.close()
