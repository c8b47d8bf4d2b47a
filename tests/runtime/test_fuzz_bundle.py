"""Fuzzing: whatever is done to a manifest or a bundle, opening it works or raises a ChiasmError, in one line."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from bundles import tiny_bundle, tiny_manifest
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import BundleError, ChiasmError
from chiasm.runtime.manifest import Manifest, parse
from drawing_bundles import one_pass_bundle, prompt_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GOOD = json.dumps(tiny_manifest()[0], separators=(",", ":")).encode()
CASES: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}

NAMES = ["", ".", "..", "../x", "/etc/passwd", "a\\b", "C:\\x", "\0", "parts/../../x", "x" * 5000, "ü/ö", "\u202e"]
NAMES += ["NaN", "manifest.json", "parts/image.fp32.onnx", "fp32", "image", "tokens", "a" * 64]
NUMBERS = [0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, -0.0, 1e-320, float("nan"), float("inf")]
hostile_text = st.one_of(st.text(max_size=40), st.sampled_from(NAMES))
hostile_number = st.one_of(st.integers(), st.floats(), st.sampled_from(NUMBERS))
hostile = st.recursive(
    st.one_of(st.none(), st.booleans(), hostile_number, hostile_text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(hostile_text, inner, max_size=4)),
    max_leaves=8,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*path, key))
    return found


PLACES = _places(json.loads(GOOD))


def _only_our_errors(data: bytes) -> Manifest | None:
    try:
        return parse(data)
    except ChiasmError as error:
        text = str(error)
        assert len(text.splitlines()) == 1, text
        assert len(text) < 2000
        return None


def _mutate(document: Any, place: tuple[Any, ...], value: Any, action: str) -> None:
    at = document
    for key in place[:-1]:
        at = at[key]
    if action == "delete":
        del at[place[-1]]
    elif action == "add" and isinstance(at, dict):
        at[value if isinstance(value, str) else "extra"] = value
    elif action == "swap" and isinstance(at, dict):
        at[place[-1]] = next(iter(at.values()))
    else:
        at[place[-1]] = value


@settings(max_examples=1500, **CASES)
@given(st.sampled_from(PLACES), hostile, st.sampled_from(["set", "set", "delete", "add", "swap"]))
def test_one_field_changed(place: tuple[Any, ...], value: Any, action: str) -> None:
    document = json.loads(GOOD)
    _mutate(document, place, value, action)
    _only_our_errors(json.dumps(document).encode())


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The manifests of bundles that only generate."""
    folder = tmp_path_factory.mktemp("drawing")
    paths = (prompt_bundle(folder), prompt_bundle(folder, name="fills", told=True, fills=True), one_pass_bundle(folder))
    return [json.loads((path / "manifest.json").read_text()) for path in paths]


@settings(max_examples=1000, **CASES)
@given(data=st.data())
def test_one_field_of_a_decoder_changed(drawing: list[dict[str, Any]], data: st.DataObject) -> None:
    document = json.loads(json.dumps(data.draw(st.sampled_from(drawing))))
    places = [place for place in _places(document) if place[0] == "decoder"]
    place, value = data.draw(st.sampled_from(places)), data.draw(hostile)
    _mutate(document, place, value, data.draw(st.sampled_from(["set", "set", "delete", "add", "swap"])))
    _only_our_errors(json.dumps(document).encode())


@settings(max_examples=700, **CASES)
@given(st.lists(st.tuples(st.sampled_from(PLACES), hostile), min_size=2, max_size=6))
def test_several_fields_changed(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    document = json.loads(GOOD)
    for place, value in changes:
        with contextlib.suppress(KeyError, IndexError, TypeError):  # an earlier change took the place away
            _mutate(document, place, value, "set")
    _only_our_errors(json.dumps(document).encode())


@settings(max_examples=1000, **CASES)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(1, 255)), min_size=1, max_size=8))
def test_bytes_flipped(flips: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, bits in flips:
        data[at] ^= bits
    _only_our_errors(bytes(data))


@settings(max_examples=600, **CASES)
@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.binary(max_size=64))
def test_pieces_cut_out_doubled_and_put_in(a: int, b: int, noise: bytes) -> None:
    low, high = sorted((a, b))
    for data in (GOOD[:low], GOOD[:low] + GOOD[high:], GOOD[:high] + GOOD[low:], GOOD[:low] + noise + GOOD[low:]):
        _only_our_errors(data)


@settings(max_examples=600, **CASES)
@given(hostile)
def test_another_document_altogether(value: Any) -> None:
    _only_our_errors(json.dumps(value).encode())
    _only_our_errors(json.dumps({"schema": 1, "model": value}).encode())


@settings(max_examples=300, **CASES)
@given(st.binary(max_size=300))
def test_noise(data: bytes) -> None:
    _only_our_errors(data)


@settings(max_examples=60, **CASES)
@given(st.sampled_from(PLACES), st.integers(1, 200_000), st.sampled_from([b"[", b'{"a":', b"[[],"]))
def test_deep_nesting(place: tuple[Any, ...], depth: int, opener: bytes) -> None:
    document = json.loads(GOOD)
    _mutate(document, place, "@@deep@@", "set")
    _only_our_errors(json.dumps(document).encode().replace(b'"@@deep@@"', opener * depth))
    closed = {b"[": b"]", b'{"a":': b"}", b"[[],": b"]"}[opener]
    _only_our_errors(json.dumps(document).encode().replace(b'"@@deep@@"', opener * depth + b"0" + closed * depth))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("fuzz"), kinds=("late",))


def _use(path: Path) -> None:
    """Open, and read every graph and file."""
    try:
        bundle = open_bundle(path)
        bundle.check_files()
        for name, part in bundle.manifest.parts.items():
            for variant in part.variants:
                bundle.graph(name, variant.precision)
    except BundleError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017


@settings(max_examples=700, **CASES)
@given(data=st.data())
def test_the_opener_with_a_changed_manifest(bundle: Path, data: st.DataObject) -> None:
    file = bundle / "manifest.json"
    good = file.read_bytes()
    document = json.loads(good)
    place = data.draw(st.sampled_from(_places(document)))
    _mutate(document, place, data.draw(hostile), data.draw(st.sampled_from(["set", "delete", "add", "swap"])))
    try:
        file.write_bytes(json.dumps(document).encode())
        _use(bundle)
    finally:
        file.write_bytes(good)


@settings(max_examples=400, **CASES)
@given(data=st.data())
def test_the_opener_with_changed_files(bundle: Path, data: st.DataObject) -> None:
    """A file cut, grown or flipped is found by size or hash: such a bundle never passes."""
    files = sorted(p for p in bundle.rglob("*") if p.is_file() and p.name != "manifest.json")
    file = data.draw(st.sampled_from(files))
    good = file.read_bytes()
    changed = bytearray(good)
    action = data.draw(st.sampled_from(["flip", "cut", "grow", "remove"]))
    if action == "flip":
        changed[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    elif action == "cut":
        del changed[data.draw(st.integers(0, len(good) - 1)) :]
    else:
        changed += data.draw(st.binary(min_size=1, max_size=20))
    try:
        file.write_bytes(changed)
        if action == "remove":
            file.unlink()
        with pytest.raises(BundleError):
            open_bundle(bundle).check_files()
    finally:
        file.write_bytes(good)
