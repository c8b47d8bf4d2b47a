from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chiasm.targets import detect as detection
from chiasm.targets.detect import detect
from sd15 import sd15_bundle

BOARDS = Path(__file__).parents[1] / "targets" / "boards"


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sd15_bundle(tmp_path_factory.mktemp("plan"))


def test_sd15_on_four_gigabytes(chiasm: Callable, sd15: Path) -> None:
    """FP32 does not fit, what does is said, and the sum is shown."""
    outcome = chiasm("plan", sd15, "--target", "jetson-orin-nano-4gb")
    assert (outcome.code, outcome.err) == (1, "")
    lines = [line.split() for line in outcome.out.splitlines()]
    assert "does not fit as installed, and fits once services are off" in outcome.out
    assert ["ours", "1,873"] in lines
    assert ["fp32", "5,635", "does", "not", "fit", "jetson-orin-nano-8gb"] in lines
    assert ["int8-trt", "2,202", "fits", "trimmed", "jetson-orin-nano-8gb"] in lines
    assert ["weights", "of", "denoiser,", "int8-trt", "821"] in lines
    assert ["needed", "2,202"] in lines
    assert ["lacking", "329"] in lines
    assert "Bounds, not measurements" in outcome.out


def test_the_readme_has_these_figures(chiasm: Callable, sd15: Path, root: Path) -> None:
    report = json.loads(chiasm("plan", sd15, "--target", "jetson-orin-nano-4gb", "--json").out)
    words = " ".join((root / "README.md").read_text("utf-8").split())
    need = {each["precision"]: f"{each['need_mib']:,.0f}" for each in report["alternatives"]}
    assert f"leaves {report['have_mib']:,.0f} MiB, needs {need['fp32']} MiB in FP32 and {need['fp16']} in FP16" in words
    assert f"in INT8 {need['int8-trt']}, which fits once services are off" in words


def test_the_sum_adds_up_for_a_program(chiasm: Callable, sd15: Path) -> None:
    outcome = chiasm("plan", sd15, "--target", "jetson-orin-nano-4gb", "--precision", "fp32", "--json")
    report = json.loads(outcome.out)
    assert outcome.code == 1
    assert report["verdict"] == "does not fit"
    assert sum(line["mib"] for line in report["need"]) == pytest.approx(report["need_mib"])
    assert sum(line["mib"] for line in report["have"]) == pytest.approx(report["have_mib"])
    denoiser = next(part for part in report["parts"] if part["part"] == "denoiser")
    assert denoiser["weights"] == pytest.approx(859_520_964 * 4, rel=1e-5)
    assert denoiser["runs"] == {"draw": 8}
    assert denoiser["bound_s"] > 0
    assert report["tasks"]["draw"]["bound_s"] > 8 * denoiser["bound_s"]


def test_where_it_fits_the_code_is_0(chiasm: Callable, sd15: Path) -> None:
    assert chiasm("plan", sd15, "--target", "rtx-3060").code == 0
    assert chiasm("plan", sd15, "--target", "jetson-orin-nano-4gb", "--memory", "3500").code == 0


def test_the_board_that_this_is(chiasm: Callable, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own free memory counts: 12,484.5 MiB on that Orin NX."""
    found = detect(BOARDS / "orin-nx-16gb")
    monkeypatch.setattr(detection, "detect", lambda root=None: found)
    report = json.loads(chiasm("plan", tiny, "--json").out)
    assert report["target"] == "jetson-orin-nx-16gb"
    assert report["have_mib"] == pytest.approx(12484.5, abs=0.1)
    assert json.loads(chiasm("plan", tiny, "--target", "l4", "--json").out)["have_mib"] == 23034


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--target", "jetson-orin"), "Did you mean jetson-orin-nano-4gb or"),
        (("--steps", "3"), "no such number of steps"),
        (("--fusion", "tardy"), "No such fusion"),
        (("--precision", "int4"), "No part has a variant of this precision"),
        (("--memory", "0"), "Invalid value"),
    ],
)
def test_mistakes_are_one_line(chiasm: Callable, tiny: Path, words: tuple[str, ...], complaint: str) -> None:
    outcome = chiasm("plan", tiny, *words)
    assert outcome.code == 2
    assert complaint in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("width", ["80", "120"])
def test_no_table_is_cut(chiasm: Callable, sd15: Path, root: Path, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    from chiasm.cli import common

    monkeypatch.setenv("COLUMNS", width)
    common.stdout.cache_clear()
    for words in ((sd15, "--target", "jetson-orin-nano-4gb"), (root / "reference" / "bundle", "--target", "arm-cpu")):
        out = chiasm("plan", *words).out
        assert "…" not in out
        tables = out.split("Bounds,")[0].split("\nint8")[0]
        assert all(len(line) <= int(width) for line in tables.splitlines()[1:])
    common.stdout.cache_clear()
