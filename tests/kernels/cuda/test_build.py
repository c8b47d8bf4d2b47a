"""The compilation for GPUs: what is read out of ptxas, and the fatbin itself where there is an nvcc."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chiasm.kernels.cuda import build as building
from chiasm.kernels.cuda.build import ARCHITECTURES, BuildError, Usage, find_nvcc, known, parse_usage, table

WORDS = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'chiasm_b' for 'sm_90'
ptxas info    : Function properties for chiasm_b
    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 34 registers, used 1 barriers, 16 bytes cumulative stack size, 3072 bytes smem, 392 bytes cmem[0]
ptxas info    : Compile time = 12.3 ms
ptxas info    : Compiling entry function 'chiasm_a' for 'sm_100'
ptxas info    : Function properties for chiasm_a
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 20 registers, used 0 barriers
ptxas info    : Compiling entry function 'chiasm_a' for 'sm_75'
ptxas info    : Function properties for chiasm_a
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 24 registers, 400 bytes cmem[0]
"""


def test_what_ptxas_says() -> None:
    assert parse_usage(WORDS) == [
        Usage("chiasm_a", "75", 24, 0, 0, 0, 0),
        Usage("chiasm_a", "100", 20, 0, 0, 0, 0),
        Usage("chiasm_b", "90", 34, 3072, 8, 4, 16),
    ]


def test_the_table() -> None:
    lines = table(parse_usage(WORDS)).splitlines()
    assert lines[0].split() == ["registers/shared/spilled", "sm_75", "sm_90", "sm_100"]
    assert lines[1].split() == ["chiasm_a", "24/0/0", "-", "20/0/0"]
    assert lines[2].split() == ["chiasm_b", "-", "34/3072/12", "-"]


def test_without_nvcc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(building, "find_nvcc", lambda: None)
    out = tmp_path / "kernels.fatbin"
    assert building.main(["--out", str(out)]) == 1
    assert "error: no CUDA kernels: no nvcc" in capsys.readouterr().err
    assert building.main(["--out", str(out), "--optional"]) == 0
    assert "warning: no CUDA kernels: no nvcc" in capsys.readouterr().err
    assert not out.exists()


def pretended_nvcc(folder: Path, architectures: str, *, works: bool = True) -> str:
    path = folder / "nvcc"
    path.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = --list-gpu-arch ]; then for a in {architectures}; do echo compute_$a; done; exit 0; fi\n'
        f'echo "$@" > {folder}/said\n'
        + ('for last; do :; done; echo made > "$last"\n' if works else "echo 'error: no such thing' >&2; exit 1\n")
    )
    path.chmod(0o755)
    return str(path)


def test_an_nvcc_that_lacks_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nvcc = pretended_nvcc(tmp_path, "75 87 90")
    out = tmp_path / "kernels.fatbin"
    building.build(out, architectures=["87", "90", "110"], nvcc=nvcc)
    assert "does not know sm_110: built without" in capsys.readouterr().err
    said = (tmp_path / "said").read_text()
    assert "code=sm_87" in said
    assert "code=sm_90" in said
    assert "code=compute_90" in said
    assert "110" not in said
    assert out.read_text() == "made\n"
    with pytest.raises(BuildError, match="none of the architectures 110"):
        building.build(out, architectures=["110"], nvcc=nvcc)


def test_a_failed_compilation_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "kernels.fatbin"
    out.write_text("old")
    with pytest.raises(BuildError, match="no such thing"):
        building.build(out, nvcc=pretended_nvcc(tmp_path, "90", works=False))
    assert out.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"kernels.fatbin", "nvcc", "said"}


def test_without_sources(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="from a checkout"):
        building.build(tmp_path / "out", sources=tmp_path, nvcc=pretended_nvcc(tmp_path, "90"))


@pytest.mark.slow
@pytest.mark.skipif(find_nvcc() is None, reason="this machine has no nvcc")
def test_all_architectures_without_a_spill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nvcc = find_nvcc()
    assert nvcc is not None
    wanted = known(nvcc)
    if "13." in capsys.readouterr().out or len(wanted) == len(ARCHITECTURES):
        assert wanted == ARCHITECTURES
    out, numbers = tmp_path / "kernels.fatbin", tmp_path / "usage.json"
    assert building.main(["--out", str(out), "--json", str(numbers)]) == 0
    shown = capsys.readouterr().out
    usage = [Usage(**each) for each in json.loads(numbers.read_text())]
    assert {each.architecture for each in usage} == set(wanted)
    assert {each.kernel for each in usage} == {line.split()[0] for line in shown.splitlines()[1:]}
    spilled = [each for each in usage if each.spill_stores or each.spill_loads]
    assert spilled == [], shown
    assert out.stat().st_size > 10_000
