"""The manifest: what is right is kept exactly, and every broken promise is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from bundles import MODALITIES, tiny_manifest
from chiasm.runtime.errors import ManifestError, SchemaVersionError, UnsafePathError
from chiasm.runtime.manifest import MAX_BYTES, SCHEMA, DiffusionDecoder, ImageModality, SeriesModality, encode, parse


def _bytes(mutate: Callable[[dict[str, Any]], object] = lambda m: None) -> bytes:
    manifest, _ = tiny_manifest()
    mutate(manifest)
    return json.dumps(manifest).encode()


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """`a/b/0/c` → value; a step that is a number indexes a list."""

    def mutate(manifest: dict[str, Any]) -> None:
        at: Any = manifest
        *steps, last = path.split("/")
        for step in steps:
            at = at[int(step)] if isinstance(at, list) else at[step]
        at[int(last) if isinstance(at, list) else last] = value

    return mutate


def test_a_right_manifest_is_parsed() -> None:
    manifest = parse(_bytes())
    assert tuple(modality.name for modality in manifest.modalities) == MODALITIES
    assert isinstance(manifest.modalities[0], ImageModality)
    assert isinstance(manifest.modalities[3], SeriesModality)
    assert isinstance(manifest.decoder, DiffusionDecoder)
    assert manifest.decoder.schedule.times[-1] == (1.0, 0.75, 0.5, 0.25)


def test_encode_and_parse_are_inverse_and_readable() -> None:
    manifest = parse(_bytes())
    data = encode(manifest)
    assert parse(data) == manifest
    assert encode(parse(data)) == data
    assert data.count(b"\n") > 100
    assert data.endswith(b"}\n")


def test_a_bundle_needs_no_decoder() -> None:
    assert parse(json.dumps(tiny_manifest(decoder=False)[0]).encode()).decoder is None


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "does not follow schema"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"schema": NaN}', "not valid JSON"),
        (b'{"schema": 1e999}', "does not follow schema"),
        (b'{"schema": "1"}', "does not follow schema"),
        (b"{}", "schema"),
        (b'{"schema": 1}', "missing required field"),
        (b'{"schema": 1, "model":' + b"[" * 200_000, "manifest.json"),
        (b" " * (MAX_BYTES + 1), "too large"),
    ],
    ids=["empty", "cut", "list", "bytes", "nan", "huge", "text", "nothing", "bare", "deep", "large"],
)
def test_what_is_not_a_manifest_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        parse(data)


@pytest.mark.parametrize("version", [0, SCHEMA + 1, -1, 10**30])
def test_another_schema_version_is_its_own_error(version: int) -> None:
    with pytest.raises((SchemaVersionError, ManifestError)) as caught:
        parse(_bytes(_set("schema", version)))
    assert str(version)[:10] in str(caught.value) or "schema" in str(caught.value)


def test_a_newer_version_is_told_before_its_unknown_fields() -> None:
    with pytest.raises(SchemaVersionError, match=f"found 7, expected {SCHEMA}"):
        parse(b'{"schema": 7, "something": "new"}')


MEL = {"frame_length": 400, "hop": 160, "fft_size": 400, "n_mels": 64}
"""A front end that a second at 16 kHz could have."""

BROKEN: list[tuple[str, Any, str]] = [
    ("unknown", 1, "unknown field"),
    ("model/author", "me", "unknown field"),
    ("modalities/0/kind", "smell", "smell"),
    ("modalities/0/height", 0, "height"),
    ("modalities/0/height", -64, "height"),
    ("modalities/0/height", 32, "input 'pixels'"),
    ("modalities/0/height", 64.5, "Expected `int`"),
    ("modalities/0/std", [0.5, 0.0, 0.5], "std"),
    ("modalities/0/scale", 0.0, "scale"),
    ("modalities/0/filter", "sharpest", "Invalid enum"),
    ("modalities/0/mean", [0.5, 0.5], "mean: found .*, expected 3 numbers"),
    ("modalities/0/std", [0.5], "std: found .*, expected 3 numbers"),
    ("modalities/0/channels", 1, "mean: found .*, expected 1 numbers"),
    ("modalities/0/channels", 2, "Invalid enum"),
    ("modalities/0/edge", 0, "edge"),
    ("modalities/0/resized", [64, 64], "none without exact or fit"),
    ("modalities/0/pad", "end", "no pad with a crop"),
    ("modalities/0/rate_hz", 0, "rate_hz"),
    ("modalities/0/max_age_s", -1, "max_age_s"),
    ("modalities/0/part", "nose", "part"),
    ("modalities/0/name", "text", "twice"),
    ("modalities/0/name", "time_s", "other than"),
    ("modalities/0/name", "two words", "argument"),
    ("modalities/0/tokens", [16, 99], "tokens"),
    ("modalities/1/tokenizer", "words.json", "tokenizer"),
    ("modalities/1/pad_id", -1, "pad_id"),
    ("modalities/1/length", 31, "input 'ids'"),
    ("modalities/2/samples", 0, "samples"),
    ("modalities/2/sample_rate", -16000, "sample_rate"),
    ("modalities/2/length", 8000, "samples: found 16000, expected at most the length, 8000"),
    ("modalities/2/length", 32000, "input 'waveform'"),
    ("modalities/2/pad", "reflect", "Invalid enum"),
    ("modalities/2/pad", "frames", "another padding without mel"),
    ("modalities/2/mask", True, "a mask beside a waveform with its padding after it only"),
    ("modalities/2/crops", 1, "crops: found 1, expected 0 without mel"),
    ("modalities/2/mel", MEL, r"input 'waveform': found 'float32 \(1, 16000\)', expected float32 \(1, 101, 64\)"),
    ("modalities/2/mel", MEL | {"hop": 0}, "mel.hop: found 0"),
    ("modalities/2/mel", MEL | {"fmax": 9000.0}, "mel.fmax: found 9000"),
    ("modalities/2/mel", MEL | {"fft_size": 2**20, "n_mels": 2**20}, r"fft_size · n_mels: found 1099511627776"),
    (
        "modalities/2/mel",
        MEL | {"frame_length": 40000, "fft_size": 40000, "centre": False},
        "no frame in 16000 samples",
    ),
    ("modalities/2/mel", MEL | {"gain": 1e999}, "not valid JSON|Infinity|inf|out of range"),
    ("modalities/2/mel", MEL | {"colour": "pink"}, "unknown field"),
    ("modalities/3/frames", 31, "input 'series'"),
    ("modalities/3/std", 0, "std"),
    ("modalities", [], "modalities"),
    ("parts/image/inputs/0/shape", [1, 3, 0, 64], "positive"),
    ("parts/image/inputs/0/shape", [2**40, 3, 64, 64], "positive"),
    ("parts/image/inputs/0/shape", [2**20, 2**20, 64, 64], "elements"),
    ("parts/image/inputs/0/shape", [], "1 to 8 axes"),
    ("parts/image/inputs/0/dtype", "float128", "dtype"),
    ("parts/image/inputs", [], "1 to 128"),
    ("parts/image/outputs/1/name", "tokens", "twice"),
    ("parts/image/variants", [], "at least one variant"),
    ("parts/image/preferred", "fp16", "preferred"),
    ("parts/image/variants/0/precision", "fp8", "Invalid enum"),
    ("parts/image/variants/0/sha256", "00", "hexadecimal"),
    ("parts/image/variants/0/sha256", "A" * 64, "hexadecimal"),
    ("parts/image/variants/0/bytes", 0, "positive size"),
    ("parts/image/variants/0/opset", 0, "opset"),
    ("parts/image/variants/0/cosine", 2.0, "cosine"),
    ("parts/image/variants/0/max_relative_error", -1e-3, "max_relative_error"),
    ("parts/image/variants/0/file", "parts/text.fp32.onnx", "twice"),
    ("parts/image/variants/0/file", "Manifest.JSON", "twice"),
    ("fusion/default", "brilliant", "fusion.default"),
    ("fusion/kinds/early", "fuse.nowhere", "fusion.kinds.early"),
    ("fusion/kinds/early", "image", "fusion early, inputs"),
    ("fusion/order", ["image", "text", "audio"], "fusion.order"),
    ("fusion/order", ["image", "text", "audio", "audio"], "fusion.order"),
    ("fusion/state", 25, "state"),
    ("heads/hazard/part", "feet", "part"),
    ("heads/hazard/part", "image", "inputs"),
    ("heads/hazard/output", "nothing", "output"),
    ("heads/hazard/labels", ["a", "b"], "labels"),
    ("heads/hazard/labels", ["a"] * 7, "twice"),
    ("heads/embedding/kind", "classes", "labels"),
    ("heads", {}, "exactly one"),
    ("fusion", None, "no fusion"),
    ("spaces", {"clip": {"modalities": ["image"], "scale": 100.0}}, "at least two"),
    ("spaces", {"clip": {"modalities": ["image", "text"], "scale": 0.0}}, "scale"),
    ("spaces", {"clip": {"modalities": ["image", "image"], "scale": 1.0}}, "twice"),
    ("spaces", {"clip": {"modalities": ["image", "nose"], "scale": 1.0}}, "nose"),
    ("spaces", {"clip": {"modalities": ["image", "text"], "scale": 1.0, "link": "max"}}, "Invalid enum"),
    ("tolerances/int8_cosine", -1, "tolerances"),
    ("files/tokenizer.json", "no hash", "hexadecimal"),
]


@pytest.mark.parametrize(("path", "value", "complaint"), BROKEN, ids=[f"{p}={str(v)[:20]}" for p, v, _ in BROKEN])
def test_a_broken_promise_is_named(path: str, value: Any, complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        parse(_bytes(_set(path, value)))


HOSTILE = ["../secret", "/etc/passwd", "parts/../../x", "a\\b", "C:/x", "a//b", "./a", "a/.", "", "a\0b", "a\nb", "x/"]
HOSTILE.append("é" * 200)


@pytest.mark.parametrize("file", HOSTILE, ids=ascii)
def test_a_hostile_path_is_refused(file: str) -> None:
    with pytest.raises(UnsafePathError, match="outside the bundle"):
        parse(_bytes(_set("parts/image/variants/0/file", file)))
    with pytest.raises(UnsafePathError):
        parse(_bytes(lambda m: m["files"].update({file: "0" * 64})))
    external = [{"file": file, "sha256": "0" * 64, "bytes": 1}]
    with pytest.raises(UnsafePathError):
        parse(_bytes(_set("parts/image/variants/0/external", external)))


def test_external_data_that_two_graphs_share_must_be_described_alike() -> None:
    def share(manifest: dict[str, Any], size: int) -> None:
        for part, count in (("image", 8), ("text", size)):
            entry = {"file": "parts/w.bin", "sha256": "0" * 64, "bytes": count}
            manifest["parts"][part]["variants"][0]["external"] = [entry]

    assert parse(_bytes(lambda m: share(m, 8))).parts["text"].variants[0].external[0].file == "parts/w.bin"
    with pytest.raises(ManifestError, match="the same facts"):
        parse(_bytes(lambda m: share(m, 9)))


def _ear(inputs: list[dict[str, Any]], **fields: Any) -> Callable[[dict[str, Any]], None]:
    """The audio modality with other fields, and an encoder that takes other tensors."""

    def mutate(manifest: dict[str, Any]) -> None:
        manifest["modalities"][2].update(fields)
        manifest["parts"]["audio"]["inputs"] = inputs

    return mutate


def _spec(name: str, dtype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def test_sound_may_come_as_features_or_with_a_mask() -> None:
    wave, mask = _spec("waveform", "float32", 1, 16000), _spec("mask", "int64", 1, 16000)
    for inputs, fields in [
        ([_spec("features", "float32", 1, 101, 64)], {"mel": MEL}),
        ([_spec("features", "float32", 1, 64, 101)], {"mel": MEL | {"layout": "mels-first"}}),
        ([_spec("features", "float32", 1, 1, 101, 64)], {"mel": MEL, "crops": 1}),
        ([_spec("features", "float32", 1, 4, 51, 64)], {"mel": MEL, "crops": 4, "length": 8000}),
        ([_spec("features", "float32", 1, 201, 64)], {"mel": MEL, "pad": "frames", "length": 32000}),
        ([wave, mask], {"mask": True, "pad": "after"}),
        ([wave], {"mask": True, "pad": "after"}),
    ]:
        manifest = parse(_bytes(_ear(inputs, **fields)))
        assert parse(encode(manifest)) == manifest
    for inputs, fields, complaint in [
        ([wave, mask], {}, "inputs: found 2, expected at most 1"),
        (
            [wave, _spec("mask", "int64", 1, 99)],
            {"mask": True, "pad": "after"},
            r"input 'mask'.*expected int64 \(1, 16000\)",
        ),
        ([wave, mask], {"mask": True, "pad": "after", "mel": MEL}, "a mask beside a waveform"),
        ([wave], {"mel": MEL | {"range": 8.0}, "crops": 4}, "no range"),
        ([wave], {"mel": MEL, "crops": 4, "pad": "frames"}, "samples as padding"),
    ]:
        with pytest.raises(ManifestError, match=complaint):
            parse(_bytes(_ear(inputs, **fields)))


def test_a_modality_of_plain_sound_is_written_as_before() -> None:
    audio = json.loads(encode(parse(_bytes())))["modalities"][2]
    assert sorted(audio) == ["kind", "max_age_s", "name", "part", "rate_hz", "sample_rate", "samples", "tokens"]


def test_encode_refuses_what_parse_would() -> None:
    import msgspec

    manifest = parse(_bytes())
    broken = msgspec.structs.replace(manifest, fusion=msgspec.structs.replace(manifest.fusion, default="none"))
    with pytest.raises(ManifestError, match=r"fusion\.default"):
        encode(broken)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_not_written(number: float) -> None:
    import msgspec

    manifest = parse(_bytes())
    assert manifest.decoder is not None
    broken = msgspec.structs.replace(manifest, decoder=msgspec.structs.replace(manifest.decoder, guidance=number))
    with pytest.raises(ManifestError, match="finite"):
        encode(broken)
