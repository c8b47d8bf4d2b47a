"""`chiasm export` and `chiasm verify`: what they print, write and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import MODALITIES, tiny_bundle

pytest.importorskip("onnx", reason="exporting needs the extra: pip install 'chiasm[export]'")

from chiasm.cli import calibration
from chiasm.export.calibrate import Calibration, Sample
from chiasm.reference import calibration as street
from chiasm.runtime.bundle import open_bundle

Call = Callable[..., Any]


def _loose(manifest: dict[str, Any]) -> None:
    """Random answers tip easily; see the tests of verify."""
    manifest["tolerances"]["accuracy_drop"] = 0.9


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, precisions=("fp32", "int8-cpu"), mutate=_loose)


def test_verify_prints_tables_and_writes_the_report(bundle: Path, chiasm: Call) -> None:
    done = chiasm("verify", bundle, "--samples", 20)
    assert done.code == 0, done.err
    for words in ("image+text+audio+radar", "fuse.adaptive", "int8-cpu", "Verification passed", "FP32 graphs"):
        assert words in done.out
    report = json.loads((bundle / "verify.json").read_text("utf-8"))
    assert report["passed"] is True
    assert report["fused"]["samples"] == 20
    assert len(report["fused"]["accuracy"]["adaptive"]["int8-cpu"]) == 15


def test_verify_as_json_without_writing(bundle: Path, chiasm: Call) -> None:
    done = chiasm("verify", bundle, "--samples", 20, "--json", "--no-write")
    assert done.code == 0
    assert json.loads(done.out)["reference"] == "fp32 graph"
    assert not (bundle / "verify.json").exists()


def test_a_failed_verification_ends_with_one_line(tmp_path: Path, chiasm: Call) -> None:
    strict = tiny_bundle(
        tmp_path, precisions=("fp32", "int8-cpu"), mutate=lambda m: m["tolerances"].update(int8_cosine=1.1)
    )
    done = chiasm("verify", strict, "--samples", 20)
    assert done.code == 2
    assert done.err.count("error: ") == 1
    assert "int8-cpu is outside its tolerance" in done.err
    assert "FAILED" in done.out
    assert json.loads((strict / "verify.json").read_text("utf-8"))["passed"] is False


def test_verify_with_captures_of_ones_own(bundle: Path, chiasm: Call, media: Path, tmp_path: Path) -> None:
    words = tmp_path / "notes.txt"
    words.write_text("rain ahead\ntruck on the left\n", encoding="utf-8")
    places = {"image": media / "pictures", "audio": media / "sound.wav", "radar": media / "radar.npz", "text": words}
    options = [word for name, place in places.items() for word in ("--calibration", f"{name}={place}")]
    done = chiasm("verify", bundle, *options)
    assert done.code == 0, done.err
    assert "the fused answers are not verified" in done.out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["image"], "is not understood"),
        (["image=/nowhere"], "found none for text, audio, radar"),
        (["image=a", "image=b"], "given twice"),
        (["smell=a"], "No such modality: found smell"),
    ],
)
def test_verify_refuses_bad_calibration(bundle: Path, chiasm: Call, words: list[str], complaint: str) -> None:
    done = chiasm("verify", bundle, *(each for word in words for each in ("--calibration", word)))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert complaint in done.err


def test_export_refuses_before_it_works(tmp_path: Path, chiasm: Call) -> None:
    done = chiasm("export", tmp_path, "--out", tmp_path / "out")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is not a checkpoint" in done.err
    assert not (tmp_path / "out").exists()
    done = chiasm("export", tmp_path, "--out", tmp_path / "out", "--precision", "int4")
    assert "cannot make that precision" in done.err


def test_export_writes_a_bundle_and_says_so(tmp_path: Path, chiasm: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """From arguments to printed tables; the exporter is the real one, with a settings that takes less time."""
    pytest.importorskip("torch", reason="a checkpoint holds torch modules")
    from chiasm import export as exporting
    from chiasm.export.exporter import export as real
    from chiasm.export.settings import Settings
    from small_checkpoint import small_checkpoint

    quick = Settings(("fp32",), samples=4, checks=4, rounds=2)
    seen: list[Calibration] = []

    def smaller(folder: Path, out: Path, *, calibration: Calibration, settings: Settings, progress: Any) -> Path:
        assert settings.precisions == ("fp32", "fp16")
        seen.append(calibration)
        return real(folder, out, calibration=calibration, settings=quick, progress=progress)

    monkeypatch.setattr(exporting, "export", smaller, raising=False)
    monkeypatch.setattr(street, "calibration", lambda ranges, samples, progress: _scenes(4, samples))
    checkpoint = small_checkpoint(tmp_path / "checkpoint", decoder=False)
    out = tmp_path / "small.chiasm"
    done = chiasm("export", checkpoint, "--out", out, "--precision", "fp16", "--samples", 20)
    assert done.code == 0, done.err
    assert "Verification passed; compared with torch." in done.out
    assert str(out) in done.out.replace("\n", "")
    assert [each.precision for each in open_bundle(out).manifest.parts["radar"].variants] == ["fp32"]
    assert len(seen[0].samples) == 20


def _scenes(ranges: int, count: int) -> Calibration:
    found = street.samples(ranges)
    sets = {name: [sample.packets[name] for sample in found] for name in MODALITIES}
    return Calibration(sets, street.samples(count))


def test_the_street_serves_only_the_model_it_was_made_for() -> None:
    labels = dict(street._LABELS)
    assert street.fits(("image", "text", "audio", "radar"), labels)
    assert not street.fits(("image", "text"), labels)
    assert not street.fits(("image", "text", "audio", "radar"), {**labels, "hazard": ("clear",)})
    made = calibration.find([], {}, None, ranges=4, samples=20, progress=lambda words, share: None)
    assert made.notes, "a model without captures is compared on made-up ones, and the report says so"
    assert not made.samples


def test_the_streets_scenes_are_labelled_seeded_and_apart() -> None:
    first, again = street.packets(street.VERIFICATION_SEED), street.packets(street.VERIFICATION_SEED)
    assert first[1] == again[1]
    assert (first[0]["image"].data == again[0]["image"].data).all()
    assert (first[0]["audio"].data == again[0]["audio"].data).all()
    told: list[float] = []
    made = street.calibration(3, 4, lambda words, share: told.append(share))
    assert {name: len(packets) for name, packets in made.sets.items()} == dict.fromkeys(MODALITIES, 3)
    assert len(made.samples) == 4
    assert told[-1] == 1.0
    assert all(isinstance(sample, Sample) and sample.labels for sample in made.samples)
