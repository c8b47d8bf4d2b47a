"""Search in a folder: the right neighbours, where they are, and index files that are not to be trusted."""

from __future__ import annotations

import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bundles import tiny_bundle
from chiasm.cli.png import png_bytes
from chiasm.runtime import Index, InputError, Pipeline, index_folder, load
from chiasm.runtime.index import Header, files_of
from chiasm.runtime.sources import read_picture

pytest.importorskip("usearch", reason="the extra `search` brings usearch")
pytest.importorskip("cv2", reason="OpenCV reads the pictures")
SPACE = {"shared": {"modalities": ["image", "text"], "scale": 10.0}}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    path = tiny_bundle(tmp_path_factory.mktemp("pair"), mutate=lambda manifest: manifest.update(spaces=SPACE))
    with load(path) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, two of them a floor below; a sound of 2.5 s; a text of three lines; what is none of these."""
    place = tmp_path_factory.mktemp("folder")
    random = np.random.default_rng(0)
    (place / "below").mkdir()
    (place / ".hidden").mkdir()
    for index in range(12):
        picture = np.clip(random.normal(random.integers(40, 200, 3), 40, (30, 40, 3)), 0, 255).astype(np.uint8)
        (place / ("below" if index > 9 else ".") / f"{index:02}.png").write_bytes(png_bytes(picture))
    (place / ".hidden" / "no.png").write_bytes(b"")
    with wave.open(str(place / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((random.uniform(-0.5, 0.5, 40000) * 32767).astype("<i2").tobytes())
    (place / "words.txt").write_text("a red car\n\na blue bus\nall clear\n")
    (place / "other.json").write_text("{}")
    return place


@pytest.fixture(scope="module")
def made(pair: Pipeline, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "pictures.index"
    header, refused = index_folder(pair, folder, path)
    assert (header.modality, len(header.entries), refused) == ("image", 12, {})
    return path


def test_the_nearest_are_the_nearest(pair: Pipeline, folder: Path, made: Path) -> None:
    files = files_of(pair.bundle.modality("image"), folder)
    vectors = np.stack([pair.encode(image=read_picture(folder / file))["image"] for file in files])
    query = pair.encode(text="a red car ahead")["text"]
    cosines = vectors @ query
    order = np.argsort(-cosines)[:5]
    hits = Index.open(made, pair).search(pair, text="a red car ahead", top=5)
    assert [hit.file for hit in hits] == [folder / files[index] for index in order]
    assert [hit.cosine for hit in hits] == pytest.approx(cosines[order], abs=1e-5)
    assert files[-2:] == ["below/10.png", "below/11.png"]


def test_a_picture_finds_itself(pair: Pipeline, folder: Path, made: Path) -> None:
    best = Index.open(made, pair).search(pair, image=read_picture(folder / "03.png"), top=1)[0]
    assert (best.file, best.at) == (folder / "03.png", None)
    assert best.cosine == pytest.approx(1.0, abs=1e-5)
    assert len(Index.open(made, pair).search(pair, text="a car", top=99)) == 12


def test_sounds_are_found_at_their_windows(pair: Pipeline, folder: Path, tmp_path: Path) -> None:
    header, _ = index_folder(pair, folder, tmp_path / "sounds", modality="audio")
    assert [(entry.file, entry.at) for entry in header.entries] == [
        ("sound.wav", 0.0), ("sound.wav", 1.0), ("sound.wav", 1.5),
    ]  # fmt: skip


def test_texts_are_found_by_their_lines(pair: Pipeline, folder: Path, tmp_path: Path) -> None:
    index_folder(pair, folder, tmp_path / "texts", modality="text")
    hit = Index.open(tmp_path / "texts", pair).search(pair, text="a blue bus", top=1)[0]
    assert (hit.file.name, hit.at) == ("words.txt", 2)


def test_a_query_that_shares_no_space(pair: Pipeline, made: Path) -> None:
    opened = Index.open(made, pair)
    with pytest.raises(InputError, match="no space that audio and image share"):
        opened.search(pair, audio=np.zeros(16000, np.float32))
    for query in ({}, {"image": np.zeros((9, 9, 3), np.uint8), "text": "a car"}):
        with pytest.raises(InputError, match="takes one query"):
            opened.search(pair, **query)
    with pytest.raises(InputError, match="top 0"):
        opened.search(pair, text="a car", top=0)


def test_another_bundle_is_refused(tmp_path: Path, made: Path, pair: Pipeline) -> None:
    other = tiny_bundle(tmp_path, mutate=lambda manifest: manifest.update(spaces={}))
    with load(other) as pipeline, pytest.raises(InputError, match="made with another bundle: found tiny"):
        Index.open(made, pipeline)
    assert len(Index.open(made, pair)) == 12


def test_files_that_cannot_be_read_are_named_and_left_out(pair: Pipeline, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "mixed"
    place.mkdir()
    (place / "bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"No file of .* could be indexed: found 1, first bad\.png"):
        index_folder(pair, place, tmp_path / "index")
    assert not (tmp_path / "index").exists()
    (place / "good.png").write_bytes((folder / "00.png").read_bytes())
    header, refused = index_folder(pair, place, tmp_path / "index")
    assert [entry.file for entry in header.entries] == ["good.png"]
    assert "cannot be decoded" in refused["bad.png"]


def test_folders_that_cannot_be_indexed(pair: Pipeline, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, modality, complaint in (
        (tmp_path / "nowhere", None, "no such folder"),
        (tmp_path / "empty", None, "nothing to index"),
        (folder, "radar", "nothing to index"),
        (folder, "nose", "no such modality: found nose"),
    ):
        with pytest.raises(InputError, match=complaint):
            index_folder(pair, place, tmp_path / "index", modality=modality)
    assert not (tmp_path / "index").exists()


def _with_header(data: bytes, **changes: Any) -> bytes:
    size = int.from_bytes(data[15:23], "little")
    header = msgspec.json.decode(data[23 : 23 + size], type=Header)
    head = msgspec.json.encode(msgspec.structs.replace(header, **changes))
    return data[:15] + len(head).to_bytes(8, "little") + head + data[23 + size :]


def test_index_files_that_are_none(pair: Pipeline, made: Path, tmp_path: Path) -> None:
    data = made.read_bytes()
    file = tmp_path / "index"
    for wrong, complaint in (
        (b"", "no index of chiasm's"),
        (b"PNG and so on", "no index of chiasm's"),
        (data[:20], "no index of chiasm's"),
        (data[:15] + b"\xff" * 8 + data[23:], "no index of chiasm's"),
        (data[:23] + b"x" + data[24:], "damaged"),
        (data[:-1], "other vectors than were written"),
        (data[:-1] + bytes([data[-1] ^ 1]), "other vectors than were written"),
        (_with_header(data, width=0), "damaged"),
        (_with_header(data, entries=()), "damaged"),
    ):
        file.write_bytes(wrong)
        with pytest.raises(InputError, match=complaint):
            Index.open(file, pair)
    with pytest.raises(InputError, match="cannot be read"):
        Index.open(tmp_path / "nowhere", pair)


def test_a_wrong_width_is_not_believed(pair: Pipeline, made: Path, tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(_with_header(made.read_bytes(), width=7))
    with pytest.raises(InputError, match="damaged"):
        Index.open(tmp_path / "index", pair)


def test_an_index_opened_first_leaves_room_for_a_pipeline() -> None:
    """usearch before onnxruntime ends the process: the one that imports usearch has to see to the order."""
    words = "from chiasm.runtime import index; index.open_usearch(); import onnxruntime; print('alive')"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "alive", done.returncode
