"""Sessions to judge with: kept while there is room, those of one call together, and closed in the order of use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import tiny_bundle
from chiasm.bench.tune import opener as module
from chiasm.bench.tune.opener import FP32, Kind, Opener
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.tuned import Choice
from pretended_tune import World

INT8: Kind = ("ort", "int8-cpu")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World({"image": 3.0}, {})
    made.patch(monkeypatch)
    return made


@pytest.fixture
def opener(tmp_path: Path, world: World) -> Iterator[Opener]:
    bundle = open_bundle(tiny_bundle(tmp_path, modalities=("image", "text"), kinds=("gated",), decoder=False,
                                     precisions=("fp32", "int8-cpu")))  # fmt: skip
    made = Opener(bundle, world.clock)
    yield made
    made.close()
    assert not any(world.live.values())


def test_the_one_used_longest_ago_is_closed_where_there_is_no_room(opener: Opener, world: World) -> None:
    opener.room = opener.size("image", "fp32") + opener.size("text", "fp32") + opener.size("heads", "fp32") - 1
    opener.judged(("image", FP32))
    opener.judged(("text", FP32))
    opener.judged(("image", FP32))
    opener.judged(("heads", FP32))
    assert (world.live["image"], world.live["text"], world.live["heads"]) == (1, 0, 1)
    assert world.opened["image"] == 1


def test_there_are_never_more_than_a_few(opener: Opener, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 3)
    for kind in (FP32, INT8):
        for part in ("image", "text", "fuse.gated", "heads"):
            opener.judged((part, kind))
            assert sum(world.live.values()) <= 3


def test_those_of_one_call_stay_together_however_little_room_there_is(opener: Opener, world: World) -> None:
    opener.room = 1
    sessions = opener.judged(("image", FP32), ("text", FP32), ("image", INT8))
    assert len(sessions) == 3
    assert sum(world.live.values()) == 3
    opener.judged(("heads", FP32))
    assert sum(world.live.values()) == 1


def test_opening_is_timed(opener: Opener) -> None:
    opener.open("image", Choice("fp32", "ort", threads=1)).close()
    assert opener.opening["image", FP32] == 3.0


def test_room_is_a_third_of_what_is_free_and_bounded(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 4000000 kB\nMemAvailable:    3000000 kB\n")
    assert module._room(file) == 1024 * 1000000
    file.write_text("MemAvailable: 900000000 kB\n")
    assert module._room(file) == 4 * 2**30
    assert module._room(tmp_path / "none") == 2**30


def test_the_references_own_backend_comes_first(opener: Opener) -> None:
    kinds = list(opener.kinds("image"))
    assert kinds[:2] == [FP32, INT8]
    assert opener.unrun("image") == []
