"""Opening a bundle: damaged, incomplete and hostile folders are refused before any of their bytes are used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chiasm.reference
import numpy as np
import pytest
from bundles import tiny_bundle, with_external
from chiasm.runtime import bundle as opening
from chiasm.runtime.backends import open_backend
from chiasm.runtime.bundle import open_bundle, resolve_bundle
from chiasm.runtime.errors import BundleError, HashError, InputError, ManifestError, PrecisionError, UnsafePathError
from chiasm.runtime.values import OnnxGraph

IMAGE = "parts/image.fp32.onnx"


def _variant(manifest: dict[str, Any], part: str = "image") -> dict[str, Any]:
    variant: dict[str, Any] = manifest["parts"][part]["variants"][0]
    return variant


def test_a_good_bundle_opens(tiny: Path) -> None:
    bundle = open_bundle(tiny)
    assert bundle.manifest.model.name == "tiny"
    graph = bundle.graph("image", "fp32")
    assert graph == OnnxGraph((tiny / IMAGE).read_bytes(), origin=graph.origin)
    assert graph.origin is not None
    assert (graph.origin.part, graph.origin.precision) == ("image", "fp32")
    assert graph.origin.digest == bundle.variant("image", "fp32").sha256
    assert bundle.read("tokenizer.json") == (tiny / "tokenizer.json").read_bytes()
    assert set(bundle.files) == {f.relative_to(tiny).as_posix() for f in tiny.rglob("*.*") if f.is_file()} - {
        "manifest.json"
    }
    assert bundle.modality("radar").name == "radar"
    bundle.check_files()


def test_a_path_may_be_text(tiny: Path) -> None:
    assert open_bundle(str(tiny)).path == tiny


def test_the_word_reference_is_the_shipped_bundle() -> None:
    shipped = chiasm.reference.BUNDLE
    if (shipped / "manifest.json").is_file():
        assert resolve_bundle("reference") == shipped
    else:
        with pytest.raises(BundleError, match="not part of this installation"):
            resolve_bundle("reference")
    assert resolve_bundle("./reference") == Path("reference")
    assert resolve_bundle(Path("reference")) == Path("reference")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"No bundle here.*\. Check the path and its spelling"):
        open_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"No bundle here.*\. Did you mean reference\?"):
        open_bundle("referense")
    with pytest.raises(BundleError, match=r"lacks manifest\.json"):
        open_bundle(tmp_path)
    with pytest.raises(BundleError, match="No bundle here"):
        open_bundle("nul\0byte")


@pytest.mark.parametrize("wrong", [None, b"reference", 3])
def test_what_is_no_path(wrong: Any) -> None:
    with pytest.raises(BundleError, match=f"Not a bundle's folder: found {type(wrong).__name__}"):
        open_bundle(resolve_bundle(wrong))


def test_a_file_is_not_a_bundle(tiny: Path) -> None:
    with pytest.raises(BundleError, match="Name the folder"):
        open_bundle(tiny / "manifest.json")


def _truncate(path: Path) -> None:
    (path / IMAGE).write_bytes((path / IMAGE).read_bytes()[:-1])


def _remove(path: Path) -> None:
    (path / IMAGE).unlink()


def _folder(path: Path) -> None:
    _remove(path)
    (path / IMAGE).mkdir()


def _pipe(path: Path) -> None:
    _remove(path)
    os.mkfifo(path / IMAGE)


def _link_out(path: Path) -> None:
    outside = path.parent / "outside.onnx"
    (path / IMAGE).rename(outside)
    (path / IMAGE).symlink_to(outside)


def _link_folder_out(path: Path) -> None:
    (path / "parts").rename(path.parent / "parts")
    (path / "parts").symlink_to(path.parent / "parts")


def _link_loop(path: Path) -> None:
    _remove(path)
    (path / IMAGE).symlink_to(path / IMAGE)


def _manifest_out(path: Path) -> None:
    (path / "manifest.json").rename(path.parent / "manifest.json")
    (path / "manifest.json").symlink_to(path.parent / "manifest.json")


DAMAGE: list[tuple[Callable[[Path], None], type[BundleError], str]] = [
    (_truncate, HashError, "damaged"),
    (_remove, BundleError, "lacks parts/image"),
    (_folder, BundleError, "not a file"),
    (_pipe, BundleError, "not a file"),
    (_link_out, UnsafePathError, "leaves it"),
    (_link_folder_out, UnsafePathError, "leaves it"),
    (_link_loop, BundleError, "lacks parts/image"),
    (_manifest_out, UnsafePathError, "leaves it"),
]


@pytest.mark.parametrize(("damage", "error", "complaint"), DAMAGE, ids=[item[0].__name__ for item in DAMAGE])
def test_damage_is_found_when_opening(
    tmp_path: Path, damage: Callable[[Path], None], error: type[BundleError], complaint: str
) -> None:
    path = tiny_bundle(tmp_path)
    damage(path)
    with pytest.raises(error, match=complaint):
        open_bundle(path)


def test_a_link_that_stays_inside_is_fine(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path)
    (path / IMAGE).rename(path / "parts/real.onnx")
    (path / IMAGE).symlink_to("real.onnx")
    assert open_bundle(path).graph("image", "fp32")


def test_changed_bytes_of_the_same_size_are_found_before_use(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path)
    data = bytearray((path / IMAGE).read_bytes())
    data[len(data) // 2] ^= 1
    (path / IMAGE).write_bytes(data)
    bundle = open_bundle(path)
    with pytest.raises(HashError, match="SHA-256"):
        bundle.graph("image", "fp32")
    with pytest.raises(HashError, match="image"):
        bundle.check_files()


def test_a_changed_tokenizer_is_found(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path)
    (path / "tokenizer.json").write_text("{}")
    with pytest.raises(HashError, match=r"tokenizer\.json"):
        open_bundle(path).read("tokenizer.json")


def test_a_size_the_manifest_lies_about(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, mutate=lambda m: _variant(m).update(bytes=1))
    with pytest.raises(HashError, match="expected 1"):
        open_bundle(path)


def test_a_file_that_the_manifest_does_not_name_is_not_read(tiny: Path) -> None:
    for file in ("manifest.json", "../secret", "/etc/passwd", "parts"):
        with pytest.raises(UnsafePathError):
            open_bundle(tiny).read(file)


def test_unknown_names_list_the_known(tiny: Path) -> None:
    bundle = open_bundle(tiny)
    with pytest.raises(PrecisionError, match="expected one of fp32"):
        bundle.variant("image", "fp16")
    with pytest.raises(InputError, match="denoiser"):
        bundle.variant("nose", "fp32")
    with pytest.raises(InputError, match="image, text, audio, radar"):
        bundle.modality("smell")


def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path)
    with open(path / "manifest.json", "r+b") as stream:
        stream.truncate(2**34)  # sparse: 16 GiB that take no room
    with pytest.raises(ManifestError, match="too large"):
        open_bundle(path)


# --- external data -------------------------------------------------------------------------------------------------


def test_external_data_is_put_inside_and_gives_the_same_answer(tmp_path: Path, tiny: Path) -> None:
    import onnxruntime

    graph = with_external(tmp_path, "radar.weights").graph("radar", "fp32").proto
    feeds = {"series": np.random.default_rng(0).random((1, 32, 32), np.float32)}
    run = [onnxruntime.InferenceSession(g, providers=["CPUExecutionProvider"]).run(None, feeds)
           for g in (graph, (tiny / "parts/radar.fp32.onnx").read_bytes())]  # fmt: skip
    for ours, theirs in zip(*run, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(params=["inside", "mapped"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """External data is put inside a graph, or (were it large) stays in its file."""
    if request.param == "mapped":
        monkeypatch.setattr(opening, "INLINE", 0)
    return str(request.param)


def test_large_external_data_stays_in_its_file_and_gives_the_same_answer(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """References are written anew with nothing but place and size: other keys, a pointer say, never reach a backend."""
    monkeypatch.setattr(opening, "INLINE", 0)
    monkeypatch.setattr(opening, "_SMALL", 64)
    bundle = with_external(tmp_path, "radar.weights", prepacked_0="1|2|3")
    spec = bundle.manifest.parts["radar"]
    graph = bundle.graph("radar", "fp32")
    assert graph.folder == bundle.path / "parts"
    assert graph.outside == (bundle.path / "parts/radar.weights").stat().st_size
    assert b"prepacked" in (bundle.path / "parts/radar.fp32.onnx").read_bytes()
    assert b"prepacked" not in graph.proto
    feeds = {"series": np.random.default_rng(0).random((1, 32, 32), np.float32)}
    ours = open_backend("ort").open(graph, spec.inputs, spec.outputs).run(feeds)
    theirs = open_backend("ort").open(open_bundle(tiny).graph("radar", "fp32"), spec.inputs, spec.outputs).run(feeds)
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])


def test_a_roundabout_way_to_a_listed_file_is_refused_where_a_backend_would_walk_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = with_external(tmp_path, "./radar.weights")
    assert bundle.graph("radar", "fp32").folder is None
    monkeypatch.setattr(opening, "INLINE", 0)
    monkeypatch.setattr(opening, "_SMALL", 0)
    with pytest.raises(UnsafePathError, match="roundabout"):
        bundle.graph("radar", "fp32")


def test_a_checked_file_is_read_again_only_after_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "INLINE", 0)
    bundle = with_external(tmp_path, "radar.weights")
    file = bundle.path / "parts/radar.weights"
    read: list[Path] = []
    real = opening._hash
    monkeypatch.setattr(opening, "_hash", lambda path: (read.append(path), real(path))[1])
    bundle.graph("radar", "fp32")
    bundle.graph("radar", "fp32")
    assert read == [file]
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(HashError, match=r"radar\.weights"):
        bundle.graph("radar", "fp32")


def test_weights_may_be_hashed_later_and_only_those(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = with_external(tmp_path, "radar.weights")
    assert bundle.outside("radar", "fp32") == ()
    monkeypatch.setattr(opening, "INLINE", 0)
    assert bundle.outside("radar", "fp32") == ("parts/radar.weights",)
    file = bundle.path / "parts/radar.weights"
    file.write_bytes(bytes(file.stat().st_size))
    assert bundle.graph("radar", "fp32", check=False).folder == bundle.path / "parts"
    with pytest.raises(HashError, match=r"radar\.weights"):
        bundle.check("parts/radar.weights")
    graph = bundle.path / "parts/radar.fp32.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"?")
    with pytest.raises(HashError, match=r"radar\.fp32"):
        bundle.graph("radar", "fp32", check=False)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("location", ["../tokenizer.json", "/etc/passwd", "other.weights", "../../outside", "", "."])
def test_external_data_outside_the_list_is_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(BundleError, match=r"external|names no file"):
        with_external(tmp_path, location).graph("radar", "fp32")


@pytest.mark.usefixtures("mode")
def test_unlisted_external_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError, match="does not list"):
        with_external(tmp_path, "radar.weights", listed=False).graph("radar", "fp32")


NUMBERS = [("offset", "-1"), ("offset", "99999999"), ("length", "9e9"), ("length", "9" * 12)]


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(("key", "value"), NUMBERS)
def test_external_data_past_its_file_is_refused(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(BundleError, match=r"past the end|unusable"):
        with_external(tmp_path, "radar.weights", **{key: value}).graph("radar", "fp32")


@pytest.mark.usefixtures("mode")
def test_damaged_external_data_is_found(tmp_path: Path) -> None:
    bundle = with_external(tmp_path, "radar.weights")
    data = bytearray((bundle.path / "parts/radar.weights").read_bytes())
    data[0] ^= 1
    (bundle.path / "parts/radar.weights").write_bytes(data)
    with pytest.raises(HashError, match=r"radar\.weights"):
        bundle.graph("radar", "fp32")
