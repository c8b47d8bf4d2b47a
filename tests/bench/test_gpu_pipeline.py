"""The measurement on a GPU: refused where there is none; whole, and held to the CPU's answers, on pretended ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the pretended GPUs compute with ONNX Runtime")

import pretended_cuda
import pretended_gpu
from chiasm.bench import gpu_pipeline
from chiasm.bench.gpu_pipeline import main
from chiasm.runtime.backends import _ort_cuda, ort, rtx, trt


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_pipeline, "_WARM", 1)
    monkeypatch.setattr(gpu_pipeline, "_ALONE", 2)
    for backend, name in ((rtx, "rtx"), (trt, "trt")):
        monkeypatch.setattr(backend, "why_not", lambda name=name: f"no {name}")
    monkeypatch.setitem(ort.DEVICES, "cuda", lambda: "no CUDA provider")


def _words(tiny: Path, out: Path) -> list[str]:
    return ["--out", str(out), "--bundle", str(tiny), "--precision", "fp32", "--count", "5"]


def test_without_a_gpu_one_line_says_so(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_words(tiny, tmp_path / "out.json")) == 2
    said = capsys.readouterr()
    assert said.err == "error: nothing runs on a GPU here: ort:cuda: no CUDA provider; rtx: no rtx; trt: no trt\n"
    assert (said.out, list(tmp_path.iterdir())) == ("", [])


def test_a_provider_that_finds_no_gpu_is_none(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretended_cuda.install(monkeypatch, "cpu")
    assert main(_words(tiny, tmp_path / "out.json")) == 2
    err = capsys.readouterr().err
    assert "CUDA provider did not start" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_json_has_every_way_and_what_refuses(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended_cuda.install(monkeypatch)
    pretended_gpu.install(monkeypatch)
    monkeypatch.setattr(trt, "why_not", lambda: "no TensorRT")
    monkeypatch.setenv("CHIASM_ENGINES", str(tmp_path / "engines"))
    pretended_gpu.make(tiny, mark=b"OLD:")  # an engine that the vendor does not take
    out = tmp_path / "out.json"
    assert main(_words(tiny, out)) == 0
    made = json.loads(out.read_text())
    assert made["absent"] == {"trt": "no TensorRT"}
    assert [(row["backend"], row["graphs"], row["overlap"]) for row in made["rows"]] == [
        (name, graphs, overlap) for name in ("ort:cuda", "rtx") for graphs in (True, False) for overlap in (True, False)
    ]
    for row in made["rows"][:4]:
        assert row["agreement"]["worst_cosine"] > 0.999
        assert row["decision_s"]["p50"] > 0
        assert {"encode.image", "preprocess.text", "fuse", "heads"} <= row["stages_p50_s"].keys()
        assert row["alone_s"].keys() == row["precisions"].keys()
        assert row["denoise_s"]["mean"] > 0
    assert all("does not take the engine" in row["refused"] for row in made["rows"][4:])
    assert made["cpu_fp32"]["decision_s"]["p50"] > 0


def test_wrong_answers_are_not_timed(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretended_cuda.install(monkeypatch)
    bring = _ort_cuda.CudaSession.bring

    def mistaken(self: _ort_cuda.CudaSession, names: Sequence[str]) -> None:
        bring(self, names)
        for name in names:
            self._host[name][...] = np.roll(self._host[name], 1)

    monkeypatch.setattr(_ort_cuda.CudaSession, "bring", mistaken)
    assert main(_words(tiny, tmp_path / "out.json")) == 2
    assert "its answers are not the CPU's: {'worst_cosine': " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
