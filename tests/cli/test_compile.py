"""`chiasm compile`: what it says before it builds, what it builds, and what it answers to what cannot be."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from chiasm.cli import main

pytest.importorskip("tensorrt_rtx", reason="engines are built by TensorRT-RTX (pip install tensorrt-rtx)")

REFERENCE = Path(__file__).parents[2] / "reference" / "bundle"


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    return str(shutil.copytree(REFERENCE, tmp_path / "street"))


def _run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_built_then_cached(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compile", bundle, "--target", "rtx-3060", "--target", "rtx-5090", "--part", "heads", "--part", "radar")
    assert _run(*words) == 0
    said = capsys.readouterr()
    assert "2 of 2 engines to build: about" in said.err
    assert len(re.findall(r"built *\n", said.out)) == 2
    assert str(Path(bundle) / "engines") in said.out.replace("\n", "")
    assert _run(*words) == 0
    said = capsys.readouterr()
    assert "All 2 engines are there." in said.err
    assert len(re.findall(r"cached *\n", said.out)) == 2


def test_dry_run_builds_nothing(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("compile", bundle, "--capability", "8.9", "--dry-run", "--json") == 0
    jobs = json.loads(capsys.readouterr().out)["engines"]
    assert len(jobs) == 14
    assert not any(job["there"] for job in jobs)
    assert not (Path(bundle) / "engines").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "This machine takes no engines"),
        (("--target", "rtx-4900"), "No target is called 'rtx-4900'. Did you mean rtx-4090"),
        (("--target", "arm-cpu"), "Engines are for NVIDIA GPUs: found the target arm-cpu, which has none"),
        (("--capability", "8.7", "--vendor", "tensorrt_rtx"), "builds no engines for compute capability 8.7"),
        (("--capability", "8.9", "--vendor", "tenssort"), "No such vendor of engines: found tenssort"),
        (("--capability", "8.9", "--part", "hands"), "No such part: found hands"),
        (("--capability", "8.9", "--engines", "/dev/null/engines"), "An engine cannot be kept: found Not a directory"),
    ],
)
def test_what_cannot_be(bundle: str, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("compile", bundle, *words) == 2
    answer = capsys.readouterr()
    assert said in answer.err.replace("\n", " ")
    assert answer.out == ""
    folder = Path(bundle) / "engines"
    assert not folder.exists() or not [each for each in folder.iterdir() if each.is_dir()]
