"""Verification: feeds for every part, accuracy for every set of modalities, tolerances, and the report."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bundles import edit_manifest, tiny_bundle, tiny_inputs

pytest.importorskip("onnx", reason="graphs are ONNX (pip install 'chiasm[export]')")

from chiasm.export import fused, report
from chiasm.export.calibrate import Calibration, Sample, _conditions, fuse_feeds, part_feeds, prepare, subsets
from chiasm.export.graphs import Graph, parse, serialise
from chiasm.export.verify import failures, prepare_samples, raise_failures, verify
from chiasm.runtime.bundle import Bundle, open_bundle
from chiasm.runtime.errors import ExportError, InputError, ToleranceError
from chiasm.runtime.values import Packet

PRECISIONS = ("fp32", "fp16", "int8-cpu")
SETS = 15


def _sample(seed: int) -> Sample:
    packets = {
        name: Packet(name, value, sample_rate=16000 if name == "audio" else None)
        for name, value in tiny_inputs(seed).items()
    }
    return Sample(packets, {"hazard": "clear", "weather": "rain", "object": "car"})


@pytest.fixture(scope="module")
def captures() -> Calibration:
    samples = [_sample(seed) for seed in range(20)]
    names = ("image", "text", "audio", "radar")
    return Calibration({name: [sample.packets[name] for sample in samples[:6]] for name in names}, samples[6:])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its random answers sit near their borders, and there are 14 samples: a few may tip."""
    folder = tmp_path_factory.mktemp("verify")
    loose = tiny_bundle(folder, precisions=PRECISIONS, mutate=lambda m: m["tolerances"].update(accuracy_drop=0.3))
    return open_bundle(loose)


def test_there_are_fifteen_sets_of_four_modalities() -> None:
    sets = subsets(("image", "text", "audio", "radar"))
    assert len(sets) == len(set(sets)) == SETS
    assert sets[0] == ("image",)
    assert sets[-1] == ("image", "text", "audio", "radar")


def test_fusion_is_fed_as_the_runtime_feeds_it(bundle: Bundle) -> None:
    shapes = {each.name: (1, *each.tokens) for each in bundle.manifest.modalities}
    tokens = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    feeds = fuse_feeds(bundle.manifest, tokens, ("text", "radar"), {"text": 2.0, "audio": 9.0})
    assert feeds["presence"].tolist() == [[0.0, 1.0, 0.0, 1.0]]
    assert feeds["age"].tolist() == [[0.0, 2.0, 0.0, 0.0]]
    assert not feeds["image"].any()
    assert feeds["text"].all()


def test_every_part_gets_real_feeds(bundle: Bundle, captures: Calibration) -> None:
    manifest = bundle.manifest
    encoders = {name: prepare(manifest, bundle.read, packets) for name, packets in captures.sets.items()}
    graphs = {part: bundle.graph(part, "fp32") for part in manifest.parts}
    feeds = part_feeds(manifest, graphs, encoders, 20)
    assert set(feeds) == set(manifest.parts)
    for part, spec in manifest.parts.items():
        for each in feeds[part]:
            assert {name: (str(value.dtype), value.shape) for name, value in each.items()} == {
                given.name: (given.dtype, given.shape) for given in spec.inputs
            }
            assert all(np.isfinite(value).all() for value in each.values())
    assert len({tuple(each["presence"][0]) for each in feeds["fuse.late"]}) == SETS
    assert {float(each["timestep"][0]) for each in feeds["denoiser"]} == {1.0, 0.75, 0.5, 0.25}
    conditions = list(_conditions(manifest, {name: [np.ones((1, 1, 1))] for name in encoders}, 14))
    assert {each["presence"][0, 0] for each in conditions} == {0.0}, "a picture is not made from itself"
    assert len({tuple(each["presence"][0]) for each in conditions}) == 7
    pixels = [each["pixels"] for each in feeds["image"]]
    assert not any(np.shares_memory(pixels[0], other) for other in pixels[1:])


def test_calibration_needs_every_modality(bundle: Bundle) -> None:
    with pytest.raises(ExportError, match="No calibration captures for 'image'"):
        part_feeds(bundle.manifest, {}, {}, 4)
    with pytest.raises(InputError):
        prepare(bundle.manifest, bundle.read, [Packet("image", np.zeros((4, 4), np.float32))])
    partial = Sample({"image": Packet("image", np.zeros((64, 64, 3), np.uint8))})
    with pytest.raises(ExportError, match="does not have every modality"):
        prepare_samples(bundle.manifest, bundle.read, [partial])


def test_a_sound_bundle_passes_without_torch(bundle: Bundle, captures: Calibration) -> None:
    told: list[float] = []
    found = verify(bundle, captures, progress=lambda words, share: told.append(share))
    assert found.passed
    assert found.reference == "fp32 graph"
    assert failures(found, "adaptive") == []
    assert found.fused is not None
    assert set(found.fused.accuracy) == set(bundle.manifest.fusion.kinds)
    assert set(found.fused.accuracy["adaptive"]) == set(PRECISIONS)
    for table in (each for kind in found.fused.accuracy.values() for each in kind.values()):
        assert len(table) == SETS
    assert told == sorted(told)
    assert 0.0 <= told[0] <= told[-1] <= 1.0


def test_a_device_without_onnx_verifies_all_but_fp16(
    bundle: Bundle, captures: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("chiasm.export.verify"), "find_spec", lambda name: None)
    for name in ("onnx", "chiasm.export.graphs", "chiasm.export.rounding", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    found = verify(bundle, captures)
    assert found.passed
    assert "FP16 was not verified" in found.notes[0]
    assert set(found.parts["image"].variants) == {"fp32", "int8-cpu"}


def test_accuracy_counts_right_labels(bundle: Bundle, captures: Calibration) -> None:
    """Labelled with the model's own answers on one set, that set scores 1; labelled with another word, 0."""
    manifest = bundle.manifest
    graphs = {part: bundle.graph(part, "fp32") for part in manifest.parts}
    prepared = prepare_samples(manifest, bundle.read, captures.samples)
    tokens = fused.encode(manifest, graphs, prepared)
    labels = manifest.heads["weather"].labels
    shares = [
        fused.accuracy(manifest, graphs, "late", tokens, [{"weather": label}] * len(tokens))["text+audio"]["weather"]
        for label in labels
    ]
    assert sum(shares) == pytest.approx(1.0)
    own = []
    for sample in tokens:
        one = [
            fused.accuracy(manifest, graphs, "late", [sample], [{"weather": label}])["text+audio"]["weather"]
            for label in labels
        ]
        own.append({"weather": labels[int(np.argmax(one))]})
    assert fused.accuracy(manifest, graphs, "late", tokens, own)["text+audio"]["weather"] == 1.0


def test_a_wrong_variant_fails_with_its_part_and_tensor_named(tmp_path: Path, captures: Calibration) -> None:
    """The INT8 weights of the radar encoder are in another order."""
    path = tiny_bundle(tmp_path, precisions=PRECISIONS)
    file = path / "parts" / "radar.int8-cpu.onnx"
    graph = Graph(parse(file.read_bytes()))
    for name, value in graph.constants.items():
        if value.dtype == np.int8:
            graph.constants[name] = np.ascontiguousarray(value[::-1])
    data = serialise(graph.save())
    file.write_bytes(data)

    def swap(manifest: dict[str, Any]) -> None:
        for variant in manifest["parts"]["radar"]["variants"]:
            if variant["precision"] == "int8-cpu":
                variant |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    edit_manifest(path, swap)
    found = verify(open_bundle(path), captures)
    assert not found.passed
    bad = failures(found, "adaptive")
    assert ("radar", "int8-cpu") in {(each.part, each.precision) for each in bad}
    with pytest.raises(ToleranceError, match=r"radar int8-cpu is outside its tolerance at '(tokens|embedding)': found"):
        raise_failures([each for each in bad if each.part == "radar"])


def test_a_fused_drop_is_a_failure(bundle: Bundle, captures: Calibration) -> None:
    found = verify(bundle, captures)
    assert found.fused is not None
    worse = msgspec.to_builtins(found.fused.accuracy)
    worse["adaptive"]["fp32"]["image"]["hazard"] = 0.9
    worse["adaptive"]["int8-cpu"]["image"]["hazard"] = 0.4
    spoilt = msgspec.structs.replace(found, fused=report.FusedReport(samples=14, accuracy=worse))
    drops = [each for each in failures(spoilt, "adaptive") if each.precision == "int8-cpu"]
    assert [(each.part, each.tensor) for each in drops] == [("fused (adaptive)", "hazard with image")]
    assert drops[0].figure == pytest.approx(0.5)


def test_the_report_is_json_and_comes_back(bundle: Bundle, captures: Calibration) -> None:
    found = verify(bundle, Calibration(captures.sets))
    assert found.fused is None
    raw = report.encode(found)
    again = report.decode(raw)
    assert report.encode(again) == raw
    assert set(again.parts) == set(bundle.manifest.parts)
    with pytest.raises(msgspec.MsgspecError):
        report.decode(raw.replace(b'"passed"', b'"past"'))


def test_a_new_report_keeps_what_only_the_export_knew(bundle: Bundle, captures: Calibration) -> None:
    new = verify(bundle, Calibration(captures.sets))
    refused = report.Refused(part="heads", precision="fp16", tensor="hazard", figure=0.5, limit=0.999)
    radar = new.parts["radar"].variants
    assert radar["int8-cpu"].method is None
    made = msgspec.structs.replace(radar["int8-cpu"], method="static", kept=("conv_1",))
    parts = {**new.parts, "radar": msgspec.structs.replace(new.parts["radar"], variants={**radar, "int8-cpu": made})}
    old = msgspec.structs.replace(new, parts=parts, refused=(refused,))
    kept = report.carry(old, new)
    assert kept.parts["radar"].variants["int8-cpu"].kept == ("conv_1",)
    assert kept.refused == (refused,)
    other = msgspec.structs.replace(made, bytes=made.bytes + 1)
    parts["radar"] = msgspec.structs.replace(new.parts["radar"], variants={"int8-cpu": other})
    again = report.carry(msgspec.structs.replace(old, parts=parts), new)
    assert again.parts["radar"].variants["int8-cpu"].method is None
