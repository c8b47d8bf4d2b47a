"""Judging computes nothing twice, keeps no large session open, and gives what running everything anew gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import tiny_bundle
from chiasm.bench.tune.judge import Judge
from chiasm.bench.tune.opener import FP32, Kind, Opener
from chiasm.runtime.bundle import open_bundle
from pretended_tune import World, labelled

INT8: Kind = ("ort", "int8-cpu")
COUNT = 24
FUSE = "fuse.gated"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World({}, {})
    made.patch(monkeypatch)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, modalities=("image", "text"), kinds=("gated",), precisions=("fp32", "int8-cpu"),
                       decoder=False)  # fmt: skip


@pytest.fixture
def judge(world: World, path: Path) -> Iterator[Judge]:
    opener = Opener(open_bundle(path), world.clock)
    yield Judge(open_bundle(path), labelled(path, COUNT), opener)
    opener.close()
    assert not any(world.live.values())


def test_an_encoder_runs_once_on_each_capture_in_each_kind(judge: Judge, world: World) -> None:
    plans = [{}, {"image": INT8}, {"text": INT8}, {"image": INT8, "text": INT8}, {"image": INT8, "heads": INT8}]
    for plan in [*plans, *plans]:
        judge.cost(plan)
    for part in ("image", "text"):
        assert world.runs[part, "fp32"] == world.runs[part, "int8-cpu"] == COUNT
        assert world.opened[part] == 2
        assert world.live[part] == 0


def test_a_set_of_modalities_is_decided_once_for_what_is_present_in_it(judge: Judge, world: World) -> None:
    judge.cost({})
    assert world.runs[FUSE, "fp32"] == 3 * COUNT  # image, text, both
    judge.cost({"image": INT8})
    assert world.runs[FUSE, "fp32"] == 5 * COUNT  # text alone is what it was
    judge.cost({"heads": INT8})
    assert world.runs[FUSE, "fp32"] == 5 * COUNT  # the states are those of FP32
    assert world.runs["heads", "int8-cpu"] == 3 * COUNT


def test_what_is_kept_gives_what_running_anew_gives(judge: Judge, world: World, path: Path) -> None:
    plan = {"image": INT8, FUSE: INT8, "heads": INT8}
    judge.cost({"image": INT8})
    judge.cost({FUSE: INT8})
    found = judge.cost(plan)
    opener = Opener(open_bundle(path), world.clock)
    fresh = Judge(open_bundle(path), labelled(path, COUNT), opener).cost(plan)
    opener.close()
    assert found == fresh
    assert judge.cost({}).drop == 0.0


def test_a_part_alone_is_timed(judge: Judge, world: World) -> None:
    world.running = {"image": 2.0, FUSE: 0.5}
    judge.alone("image", INT8, [])
    assert judge._opener.running["image", INT8] == 1.0
    assert judge._opener.running["image", FP32] == 2.0
    assert judge._opener.running[FUSE, FP32] == 0.5


def test_fewer_captures_are_said(judge: Judge, world: World) -> None:
    assert judge.limit(1)
    assert judge.count == 20
    judge.cost({"image": INT8})
    assert world.runs["image", "int8-cpu"] == 20
    assert "on 20 of 24 labelled samples" in judge.basis
    assert not judge.limit(1000)
    assert judge.count == COUNT
