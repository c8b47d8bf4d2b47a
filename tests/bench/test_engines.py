"""The table of engines: bundles by name and by path, one part after the other, reasons among the figures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="the tiny bundles are made with it")
pytest.importorskip("tensorrt_rtx", reason="engines are built by TensorRT-RTX (pip install tensorrt-rtx)")

from chiasm.bench.engines import BUNDLES, main
from drawing_bundles import prompt_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Whose text encoder `t5` is no graph, though its hash is right."""
    path = prompt_bundle(tmp_path)
    (path / "parts/t5.fp32.onnx").write_bytes(b"no graph")
    manifest = json.loads((path / "manifest.json").read_text())
    variant = manifest["parts"]["t5"]["variants"][0]
    variant |= {"sha256": hashlib.sha256(b"no graph").hexdigest(), "bytes": 8}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def test_a_part_that_fails_is_a_row_and_the_next_is_built(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, work = tmp_path / "engines.json", tmp_path / "work"
    words = [f"words and pictures={bundle}", "--part", "t5", "--part", "clip", "--work", str(work), "--out", str(out)]
    assert main(words) == 0
    refused, made = json.loads(out.read_text())["bundles"]["words and pictures"]["engines"]
    assert (refused["part"], refused["precision"]) == ("t5", "fp16")
    assert refused["error"].startswith("Part t5")
    assert (made["part"], made["precision"], made["capabilities"]) == ("clip", "fp32", ["8.6", "8.9", "12.0"])
    assert made["bytes"] > 1000
    assert 50 < made["peak_mib"] < 2000
    assert list((work / "engines").iterdir()) == []
    capsys.readouterr()
    assert main(["--page", "--out", str(out)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "| t5 |" in line or "| clip |" in line]
    assert rows[0].startswith("| words and pictures | t5 | fp16 | none: Part t5")
    assert rows[1].startswith("|  | clip | fp32 | 0.0 |")
    assert [row.count("|") for row in rows] == [9, 9]


def test_what_is_no_bundle_and_no_part(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "engines.json"
    more = ["--work", str(tmp_path / "work"), "--out", str(out)]
    assert main([f"one={tmp_path / 'nowhere'}", f"two={bundle}", "--part", "unet", *more]) == 0
    found = json.loads(out.read_text())["bundles"]
    assert "nowhere" in found["one"]["error"]
    assert "No such part: found unet, expected some of clip, t5" in found["two"]["error"]
    with pytest.raises(SystemExit):
        main(["Stable Diffusion 2", *more])
    assert "no such bundle: Stable Diffusion 2; there are reference" in capsys.readouterr().err


def test_the_full_size_pipeline_is_among_them_by_its_denoiser_and_its_tiny_decoder(tmp_path: Path) -> None:
    subject = BUNDLES["Stable Diffusion 1.5"]
    assert subject.parts == ("denoiser", "picture.tiny")
    (tmp_path / "sd15.chiasm").mkdir()
    assert subject.make(tmp_path) == tmp_path / "sd15.chiasm"
