"""All modalities of a bundle."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from chiasm.runtime.bundle import Bundle, open_bundle
from chiasm.runtime.errors import InputError, ManifestError
from chiasm.runtime.preprocess import Preparer
from chiasm.runtime.values import Packet, TensorSpec
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def bundle(tiny: Path) -> Bundle:
    return open_bundle(tiny)


@pytest.fixture(scope="module")
def prepare(bundle: Bundle) -> Preparer:
    return Preparer(bundle.manifest, bundle.read)


def packets(seed: int = 0) -> dict[str, Packet]:
    rng = np.random.default_rng(seed)
    data = {
        "image": rng.integers(0, 256, (90, 120, 3), dtype=np.uint8),
        "text": "siren behind" if seed else "road clear",
        "audio": rng.uniform(-1, 1, 16000).astype(np.float32),
        "radar": rng.normal(size=(32, 32)).astype(np.float32),
    }
    return {name: Packet(name, value, sample_rate=16000 if name == "audio" else None) for name, value in data.items()}


def test_feeds_are_what_the_parts_take(bundle: Bundle) -> None:
    prepare = Preparer(bundle.manifest, bundle.read)
    for modality in bundle.manifest.modalities:
        feeds = prepare(packets()[modality.name])
        found = {TensorSpec(name, str(array.dtype), array.shape) for name, array in feeds.items()}
        assert found == set(bundle.manifest.parts[modality.part].inputs)


def test_buffers_are_used_again(bundle: Bundle) -> None:
    prepare = Preparer(bundle.manifest, bundle.read)
    for name in packets():
        first = prepare(packets()[name])
        kept = {key: array.copy() for key, array in first.items()}
        second = prepare(packets(1)[name])
        assert all(second[key] is first[key] for key in first)
        assert any((second[key] != kept[key]).any() for key in kept)


def test_tokenizer_is_read_once_and_late(bundle: Bundle) -> None:
    reads: list[str] = []

    def read(file: str) -> bytes:
        reads.append(file)
        return bundle.read(file)

    prepare = Preparer(bundle.manifest, read)
    prepare(packets()["image"])
    assert reads == []
    prepare.warm()
    assert reads == ["tokenizer.json"]
    prepare(packets()["text"])
    prepare(packets(1)["text"])
    assert reads == ["tokenizer.json"]


def test_unknown_modality_names_the_nearest(bundle: Bundle) -> None:
    prepare = Preparer(bundle.manifest, bundle.read)
    with pytest.raises(InputError, match=r"found 'imgae', expected one of image, .*Did you mean image\?"):
        prepare(Packet("imgae", None))


def changed(bundle: Bundle, part: str, inputs: tuple[TensorSpec, ...]) -> Any:
    parts = dict(bundle.manifest.parts)
    parts[part] = msgspec.structs.replace(parts[part], inputs=inputs)
    return msgspec.structs.replace(bundle.manifest, parts=parts)


@pytest.mark.parametrize(
    ("part", "inputs"),
    [
        ("image", (TensorSpec("pixels", "float32", (1, 3, 32, 64)),)),
        ("image", (TensorSpec("pixels", "float16", (1, 3, 64, 64)),)),
        ("audio", ()),
        ("radar", (TensorSpec("a", "float32", (1, 32, 32)), TensorSpec("b", "float32", (1, 32, 32)))),
        ("text", (TensorSpec("mask", "int64", (1, 32)),)),
        ("text", (TensorSpec("ids", "int64", (1, 32)), TensorSpec("more", "int64", (1, 32)))),
        ("text", (TensorSpec("ids", "int32", (1, 32)),)),
    ],
)
def test_part_that_takes_something_else(bundle: Bundle, part: str, inputs: tuple[TensorSpec, ...]) -> None:
    with pytest.raises(ManifestError, match=f"part {part} does not take what modality {part} makes"):
        Preparer(changed(bundle, part, inputs), bundle.read)


def test_text_without_a_mask(bundle: Bundle) -> None:
    manifest = changed(bundle, "text", (TensorSpec("tokens", "int64", (1, 32)),))
    assert list(Preparer(manifest, bundle.read)(packets()["text"])) == ["tokens"]


DTYPES = [
    "u1",
    "i1",
    "u2",
    "<i2",
    ">i2",
    "i4",
    "i8",
    "f2",
    "<f4",
    ">f4",
    "f8",
    "c8",
    "?",
    "U2",
    "S3",
    "M8[s]",
    "V5",
    "O",
]


def any_array(dtype: str, shape: list[int], seed: int) -> Any:
    """An array whose every byte is random; of objects, an array of None."""
    kind = np.dtype(dtype)
    if kind.hasobject:
        return np.full(shape, None)
    size = int(np.prod(shape)) * kind.itemsize
    if kind.kind in "U?":  # not every byte is a character or a truth
        return np.zeros(shape, kind)
    return np.frombuffer(np.random.default_rng(seed).bytes(size), kind).reshape(shape)


lengths = st.lists(st.sampled_from([0, 1, 2, 3, 4, 31, 32, 33]), max_size=4)
arrays = st.builds(any_array, st.sampled_from(DTYPES), lengths, st.integers(0, 99))
anything = st.one_of(arrays, st.text(), st.binary(), st.none(), st.integers(), st.lists(st.floats()))


@pytest.mark.parametrize("name", ["image", "text", "audio", "radar"])
@settings(max_examples=150, deadline=None)
@given(data=anything, rate=st.sampled_from([None, 16000, 20, -1]))
def test_anything_at_all_is_prepared_or_refused(prepare: Preparer, name: str, data: Any, rate: int | None) -> None:
    with suppress(InputError):
        feeds = prepare(Packet(name, data, sample_rate=rate))
        assert all(np.isfinite(array).all() for array in feeds.values())


def test_importing_it_is_light() -> None:
    program = (
        "import sys, chiasm.runtime.preprocess\n"
        "heavy = {'torch', 'cv2', 'onnx', 'av', 'onnxruntime', 'tokenizers', 'PIL'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
