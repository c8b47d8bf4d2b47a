"""A whole export of a small checkpoint: torch → bundle → runtime."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bundles import tiny_inputs

pytest.importorskip("torch", reason="exporting starts from torch modules (pip install 'chiasm[export]')")

import chiasm
import torch
from chiasm.export import Calibration, Sample, Settings, export, mend, workshop
from chiasm.export.checkpoints import assemble_checkpoint, load_checkpoint
from chiasm.export.graphs import parse, serialise, specs
from chiasm.export.interfaces import Interface, example
from chiasm.export.precision import compress
from chiasm.export.report import Report, decode
from chiasm.export.to_onnx import run_torch, to_onnx
from chiasm.export.tune import Refusal
from chiasm.export.verify import verify
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import ExportError, ToleranceError
from chiasm.runtime.values import Packet, TensorSpec
from small_checkpoint import small_checkpoint

NAMES = ("image", "text", "audio", "radar")
LOOSE = Settings(
    tolerances=msgspec.structs.replace(Settings().tolerances, accuracy_drop=0.5), samples=16, checks=16, rounds=4
)
"""Random answers tip easily; the tensors are held to the usual tolerances."""


def _captures(count: int = 16) -> Calibration:
    samples = []
    for seed in range(count):
        values = tiny_inputs(seed).items()
        packets = {name: Packet(name, value, sample_rate=16000 if name == "audio" else None) for name, value in values}
        samples.append(Sample(packets, {"hazard": "clear", "weather": "rain", "object": "car"}))
    half = count // 2
    return Calibration({name: [each.packets[name] for each in samples[:half]] for name in NAMES}, samples[half:])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def traced(checkpoint: Path) -> Iterator[None]:
    """Trace each part of the checkpoint once: tracing takes seconds, and all exports here start from the same."""
    cache: dict[str, Any] = {}

    def once(module: Any, interface: Interface, part: str, opset: int) -> Any:
        if part not in cache:
            cache[part] = to_onnx(module, interface, part, opset)
        return cache[part]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workshop, "to_onnx", once)
        yield


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, traced: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("out") / "small.chiasm", calibration=_captures(), settings=LOOSE)


@pytest.fixture(scope="module")
def report(bundle: Path) -> Report:
    return decode((bundle / "verify.json").read_bytes())


def test_every_part_has_its_variants_inside_tolerance(bundle: Path, report: Report) -> None:
    manifest = open_bundle(bundle).manifest
    assert report.passed
    assert report.reference == "torch"
    assert report.refused == ()
    for part, spec in manifest.parts.items():
        made = {each.precision: each for each in spec.variants}
        assert {"fp32", "fp16"} <= set(made)
        assert made["fp32"].max_relative_error <= 1e-4
        assert made["fp16"].cosine >= 0.999
        assert made["int8-cpu"].cosine >= 0.99
        assert set(report.parts[part].variants) == set(made)
        assert all(each.milliseconds is not None for each in report.parts[part].variants.values())
    assert all(len(spec.variants) == 3 for spec in manifest.parts.values())
    assert report.fused is not None
    assert {kind: set(each) for kind, each in report.fused.accuracy.items()} == {
        "late": {"fp32", "fp16", "int8-cpu"},
        "gated": {"fp32"},
    }


def test_the_runtime_runs_it_and_agrees_with_torch(bundle: Path, checkpoint: Path) -> None:
    modules = load_checkpoint(checkpoint).modules
    with chiasm.load(bundle, precision="fp32") as pipeline:
        inputs = tiny_inputs(3)
        result = pipeline(**{name: inputs[name] for name in ("image", "radar")})
        embeddings = pipeline.encode(radar=inputs["radar"])
    with torch.inference_mode():
        expected = modules["radar"](torch.from_numpy(inputs["radar"])[None])[1][0].numpy()
    np.testing.assert_allclose(embeddings["radar"], expected, atol=1e-5)
    assert set(result.weights) >= {"image", "radar"}
    assert sum(result.weights.values()) == pytest.approx(1.0, abs=1e-3)
    for precision in ("fp16", "int8", "auto"):
        with chiasm.load(bundle, precision=precision) as pipeline:
            other = pipeline(image=inputs["image"], radar=inputs["radar"])
            assert float(other.embedding @ result.embedding) > 0.98


def test_it_generates(bundle: Path) -> None:
    with chiasm.load(bundle) as pipeline:
        last = list(pipeline.generate(steps=2, text="a red car ahead"))[-1]
    assert last.picture is not None
    assert last.picture.shape == (64, 64, 3)


def test_verify_with_the_checkpoint_finds_the_same(bundle: Path, checkpoint: Path, report: Report) -> None:
    found = verify(open_bundle(bundle), _captures(), assembly=assemble_checkpoint(load_checkpoint(checkpoint)))
    assert found.passed
    assert found.reference == "torch"
    assert found.fused == report.fused


def test_graphs_carry_nothing_of_the_machine_that_made_them(bundle: Path) -> None:
    for path in sorted((bundle / "parts").iterdir()):
        data = path.read_bytes()
        assert not re.search(rb"site-packages|/home/|/root/|/tmp/|torch\.|\.py\b", data), path.name
        model = parse(data).proto
        assert [each.version for each in model.opset_import if each.domain == ""] == [20]
        assert len(model.opset_import) == 1
        assert not model.functions


def test_tracing_is_deterministic_and_static(checkpoint: Path) -> None:
    radar = assemble_checkpoint(load_checkpoint(checkpoint)).parts["radar"]
    first, second = (serialise(compress(to_onnx(radar.load(), radar.interface, "radar"))) for _ in range(2))
    assert first == second
    inputs, outputs = specs(parse(first))
    assert [(each.name, each.dtype, each.shape) for each in inputs] == [("series", "float32", (1, 32, 32))]
    assert [(each.name, each.shape) for each in outputs] == [("tokens", (1, 8, 128)), ("embedding", (1, 128))]


def test_a_module_with_the_wrong_outputs_or_an_untraceable_one() -> None:
    interface = Interface("encoder", (TensorSpec("x", "float32", (1, 4)),), ("tokens", "embedding"))
    with pytest.raises(ExportError, match=r"found 1, expected 2 \(tokens, embedding\)"):
        to_onnx(torch.nn.Linear(4, 4), interface, "part")

    class Branchy(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(ExportError, match="torch could not export 'part'"):
        to_onnx(Branchy(), Interface("encoder", interface.inputs, ("y",)), "part")
    feeds = example(interface.inputs)
    assert run_torch(torch.nn.Identity(), Interface("encoder", interface.inputs, ("y",)), feeds)["y"].shape == (1, 4)


def test_fp32_that_is_not_torchs_equal_stops_the_export(checkpoint: Path, traced: None, tmp_path: Path) -> None:
    tolerances = msgspec.structs.replace(LOOSE.tolerances, fp32_max_relative_error=0.0)
    settings = Settings(precisions=("fp32",), tolerances=tolerances, samples=4, checks=4, rounds=2)
    with pytest.raises(ToleranceError, match=r"\w+ fp32 is outside its tolerance at '\w+'.*expected at most 0"):
        export(checkpoint, tmp_path / "out", calibration=_captures(8), settings=settings)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_variant_is_left_out_and_named(
    checkpoint: Path, traced: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for INT8 gives up on the radar encoder."""
    real = workshop.quantise

    def picky(model: Any, *rest: Any, **more: Any) -> Any:
        return Refusal("static", "embedding", 0.5) if model.graph.name == "radar" else real(model, *rest, **more)

    monkeypatch.setattr(workshop, "quantise", picky)
    settings = Settings(("fp32", "int8-cpu"), LOOSE.tolerances, samples=8, checks=8, rounds=2)
    out = export(checkpoint, tmp_path / "out", calibration=_captures(), settings=settings)
    made = {each.precision for each in open_bundle(out).manifest.parts["radar"].variants}
    assert made == {"fp32"}
    refused = json.loads((out / "verify.json").read_text("utf-8"))["refused"]
    assert refused == [{"part": "radar", "precision": "int8-cpu", "tensor": "embedding", "figure": 0.5, "limit": 0.99}]


def test_a_part_that_tips_decisions_is_made_closer_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drop on one set of modalities: the culprit is quantised closer twice without success, then refused."""
    shares = iter([0.80, 0.85, 0.97])
    log: list[str] = []

    class Work:
        settings = Settings()

        def __init__(self) -> None:
            self.variants = {"image": {"int8-cpu": object()}}

        def graphs(self) -> dict[str, Any]:
            return {}

        def refuse(self, part: str, precision: str, tensor: str, figure: float, limit: float) -> None:
            log.append(f"refused {part} {precision} {tensor} {figure:.2f}")

    mender = mend._Mender(Work(), [], [], {"image": {"hazard": 0.97}})  # type: ignore[arg-type]
    closer = iter([True, False])
    monkeypatch.setattr(mend._Mender, "_culprit", lambda self, *rest: "image")
    monkeypatch.setattr(mend._Mender, "_closer", lambda self, part, precision: log.append("closer") or next(closer))
    monkeypatch.setattr(mend._Mender, "_accuracy", lambda self, *rest: {"image": {"hazard": next(shares)}})
    assert mender.mend("int8-cpu", {"image": {"hazard": next(shares)}}) == {"image": {"hazard": 0.97}}
    assert log == ["closer", "closer", "refused image int8-cpu hazard with image 0.12"]


def test_an_export_without_captures(checkpoint: Path, traced: None, tmp_path: Path) -> None:
    """Variants are compared on made-up captures; INT8 that needs ranges is left out, and the report says both."""
    out = export(checkpoint, tmp_path / "out", settings=LOOSE)
    report = decode((out / "verify.json").read_bytes())
    assert report.passed
    assert report.fused is None
    assert [note.split(":")[0] for note in report.notes] == [
        "No captures were given",
        "INT8 that needs ranges of captures (static) was not made",
    ]
    assert {each.feeds for part, each in report.parts.items() if part in NAMES} == {3}
    made = {part: each.variants for part, each in report.parts.items()}
    assert all({"fp32", "fp16"} <= set(own) for own in made.values())
    assert {own["int8-cpu"].method for own in made.values() if "int8-cpu" in own} == {"dynamic"}
    assert "int8-cpu" in made["text"]


def test_refusals_before_any_work(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    with pytest.raises(ExportError, match="is not a bundle"):
        export(checkpoint, tmp_path / "photos", calibration=_captures(4))
    with pytest.raises(ExportError, match="needs calibration captures"):
        export(checkpoint, tmp_path / "out", calibration=Calibration({}))
    with pytest.raises(ExportError, match="cannot make that precision"):
        Settings(precisions=("fp32", "int4"))
    with pytest.raises(ExportError, match="FP32 is missing"):
        Settings(precisions=("fp16",))
