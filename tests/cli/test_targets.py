from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chiasm.targets import detect as detection
from chiasm.targets.catalogue import targets
from chiasm.targets.detect import Detected, detect

BOARDS = Path(__file__).parents[1] / "targets" / "boards"


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Detected]:
    """Be on another board: `on("orin-nx-16gb")`."""

    def be(board: str) -> Detected:
        found = detect(BOARDS / board)
        monkeypatch.setattr(detection, "detect", lambda root=None: found)
        return found

    return be


def test_all_are_listed_and_this_one_is_marked(chiasm: Callable, on: Callable) -> None:
    on("orin-nx-16gb")
    outcome = chiasm("targets")
    assert (outcome.code, outcome.err) == (0, "")
    assert all(name in outcome.out for name in targets())
    assert [line.split()[1] for line in outcome.out.splitlines() if line.startswith("* j")] == ["jetson-orin-nx-16gb"]
    assert "the device tree says nvidia,p3767-0000" in outcome.out


def test_for_a_program(chiasm: Callable, on: Callable) -> None:
    on("agx-thor")
    report = json.loads(chiasm("targets", "--json").out)
    assert report["here"] == "jetson-thor"
    assert len(report["targets"]) == len(targets())
    nano = next(each for each in report["targets"] if each["name"] == "jetson-orin-nano-4gb")
    assert nano["memory"]["bandwidth_gbs"] == {"value": 34.0, "source": "nano"}
    assert nano["usable_mib"] == 1873.0
    assert nano["releases"][0]["jetpack"] == "5.1.1"


def test_one_is_shown_with_its_sources(chiasm: Callable) -> None:
    outcome = chiasm("targets", "show", "jetson-agx-orin-64gb")
    words = " ".join(outcome.out.split())
    assert "DS-10662-001" in words
    assert "204.8 GB/s" in words
    assert "the source gives the sparse figure, 170; halved" in words
    assert "missing: reserved and system memory" in words
    assert "36.4.3" in words
    assert json.loads(chiasm("targets", "show", "l4", "--json").out)["compute_capability"]["value"] == "8.9"


def test_this_machine_by_a_word(chiasm: Callable, on: Callable) -> None:
    on("raspberry-pi-5")
    assert "arm-cpu" in chiasm("targets", "show", "here").out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("show", "jetson-orin-nano"), "No target is called 'jetson-orin-nano'. Did you mean jetson-orin-nano-"),
        (("show",), "show needs a target"),
        (("list",), "Invalid value"),
    ],
)
def test_mistakes_are_one_line(chiasm: Callable, words: tuple[str, ...], complaint: str) -> None:
    outcome = chiasm("targets", *words)
    assert outcome.code == 2
    assert complaint in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("width", ["80", "120"])
def test_no_table_is_cut(chiasm: Callable, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    from chiasm.cli import common

    monkeypatch.setenv("COLUMNS", width)
    common.stdout.cache_clear()
    for words in (("targets",), ("targets", "show", "jetson-orin-nano-4gb-super")):
        out = chiasm(*words).out
        assert "…" not in out
        assert all(len(line) <= int(width) for line in out.splitlines() if not line.startswith(("missing", "*")))
    common.stdout.cache_clear()


def test_a_machine_that_is_none_of_them(chiasm: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from chiasm.targets.host import Host

    none = detection.match_host(Host("riscv64", None, (), None, (), False, None, None))
    monkeypatch.setattr(detection, "detect", lambda root=None: none)
    assert "none of them: no target is for riscv64" in chiasm("targets").out
    assert "No target describes this machine" in chiasm("targets", "show", "here").err
    assert "No target describes this machine" in chiasm("plan", "reference").err
