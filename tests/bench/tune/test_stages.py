"""The budget is kept whatever it is: what does not fit is left out, and said. Time is pretended, answers are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bundles import tiny_bundle
from chiasm.bench.tune import decision, field, opener, plans, whole
from chiasm.bench.tune.budget import Budget
from chiasm.bench.tune.search import Finding, default_out, tune
from chiasm.bench.tune.state import Wish
from chiasm.runtime.backends.base import SessionOptions
from chiasm.runtime.bundle import open_bundle
from pretended_tune import World, labelled

ORT = {"ort": ((SessionOptions(threads=1), SessionOptions(threads=1, spinning=True)), ({"arena": False},))}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Two encoders of one and two seconds to open, 100 and 200 ms to run: a fused step takes 300 ms in FP32."""
    made = World({"image": 1.0, "text": 2.0}, {"image": 0.1, "text": 0.2})
    made.patch(monkeypatch)
    for module in (field, opener, plans):
        monkeypatch.setattr(module, "candidates", lambda cores: ORT)
    for user in (field, whole):
        monkeypatch.setattr(user, "clock_of", lambda objective: made.clock)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, modalities=("image", "text"), kinds=("gated",), precisions=("fp32", "int8-cpu"),
                       decoder=False)  # fmt: skip


def _tune(path: Path, world: World, seconds: float) -> Finding:
    bundle = open_bundle(path)
    budget = Budget(seconds, world.clock)
    wish = Wish(budget_s=seconds, samples=24, max_drop=0.3)
    return tune(bundle, labelled(path), wish, default_out(bundle), budget=budget)


@pytest.mark.parametrize("seconds", [30.0, 45.0, 60.0, 90.0, 200.0])
def test_it_ends_near_its_budget_and_says_what_it_left_out(path: Path, world: World, seconds: float) -> None:
    """At most one opening and two rounds of a race beyond it."""
    found = _tune(path, world, seconds)
    assert found.seconds <= seconds + 5.0
    untried = [row for result in found.parts.values() for row in result.rows if row.verdict == "untried"]
    assert all("no time was left" in row.why for row in untried)
    assert (found.short is not None) or not untried
    assert found.drop <= 0.3
    assert set(found.tuned.choices) == {"image", "text", "fuse.gated", "heads"}
    assert not any(world.live.values())


def test_with_time_enough_nothing_is_left_out_and_the_faster_variant_wins(path: Path, world: World) -> None:
    found = _tune(path, world, 900.0)
    assert found.short is None
    assert found.seconds <= 900.0
    assert {found.tuned.choices[part].precision for part in ("image", "text")} == {"int8-cpu"}
    assert found.parts["image"].rows[0].ratio == pytest.approx(0.5)
    assert found.whole is not None
    assert found.whole.taken or found.whole.ratio <= 1.03


def test_what_it_says_would_do_does(path: Path, world: World) -> None:
    short = _tune(path, world, 45.0).short
    assert short is not None
    minutes = float(short.rsplit("--budget ", 1)[1].rstrip("."))
    assert _tune(path, world, 60 * minutes).short is None


def test_no_time_at_all_gives_fp32_plainly_marked(path: Path, world: World) -> None:
    """What takes no choice is done all the same: every part is opened, and FP32 judged, once."""
    found = _tune(path, world, 1.0)
    assert {each.precision for each in found.tuned.choices.values()} == {"fp32"}
    assert found.drop == 0.0
    assert found.short is not None
    assert "not judged: image ort int8-cpu, text ort int8-cpu" in found.short
    assert found.seconds < 25.0


def test_a_machine_that_gets_slower_is_noticed(path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the first large part is raced everything takes four times as long: the others race fewer, for longer."""
    real = field.Field.measure

    def slower(self: field.Field, *given: Any) -> None:
        world.running = {"image": 0.4, "text": 0.8}
        real(self, *given)

    monkeypatch.setattr(field.Field, "measure", slower)
    found = _tune(path, world, 120.0)
    assert found.seconds <= 130.0
    last = [row for row in found.parts["text"].rows if row.rounds]
    assert max(row.rounds for row in last) > 2
    assert any(row.verdict == "untried" for row in found.parts["text"].rows)


def test_few_sessions_are_open_at_a_time_where_memory_is_short(
    path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for hardly more than one: the reference, who leads, one rival; in whole decisions two plans."""
    monkeypatch.setattr(opener, "_room", lambda: 1)
    found = _tune(path, world, 900.0)
    assert found.parts["image"].raced
    assert max(world.most.values()) <= 3


def test_whole_decisions_open_what_plans_share_once(path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before: dict[str, int] = {}
    real = decision.Ring.race

    def raced(ring: decision.Ring, plans: list[plans.Plan], *rest: object) -> object:
        count = len(ring.keys(plans))
        made = real(ring, plans, *rest)  # type: ignore[arg-type]
        before["open"] = max(before.get("open", 0), sum(world.live.values()))
        before["keys"] = max(before.get("keys", 0), count)
        return made

    monkeypatch.setattr(decision.Ring, "race", raced)
    _tune(path, world, 900.0)
    assert before["open"] == before["keys"]
