from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.runtime.errors import MissingExtraError, SourceError
from chiasm.runtime.manifest import ImageModality
from chiasm.runtime.sources import open_source, read_picture

cv2: Any = pytest.importorskip("cv2")


def save(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (6, 8)) -> Path:
    """A plain RGB picture of (height, width)."""
    pixels = np.full((*size, 3), colour, np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels[..., ::-1])[1].tobytes())
    return path


def test_a_picture_is_rgb_and_comes_once(tmp_path: Path, image: ImageModality) -> None:
    source = open_source(image, str(save(tmp_path / "red.png", (200, 10, 30))))
    (packet,) = list(source)
    assert (packet.modality, packet.time_s) == ("image", 0.0)
    assert packet.data.shape == (6, 8, 3)
    assert packet.data[0, 0].tolist() == [200, 10, 30]
    assert not source.live
    assert len(list(source)) == 1


def test_pyav_reads_a_picture_where_opencv_is_missing(
    tmp_path: Path, image: ImageModality, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    path = save(tmp_path / "red.png", (200, 10, 30))
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert read_picture(path)[0, 0].tolist() == [200, 10, 30]
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"chiasm\[camera\]"):
        open_source(image, str(path))


def test_a_folder_is_shown_in_order_of_names_at_its_rate(tmp_path: Path, image: ImageModality) -> None:
    for name, level in (("b.png", 20), ("a.png", 10), ("c.png", 30)):
        save(tmp_path / name, (level,) * 3)
    (tmp_path / "notes.txt").write_text("not a picture")
    packets = list(open_source(image, str(tmp_path), fps=4.0))
    assert [packet.time_s for packet in packets] == [0.0, 0.25, 0.5]
    assert [int(packet.data[0, 0, 0]) for packet in packets] == [10, 20, 30]
    assert [packet.time_s for packet in open_source(image, str(tmp_path))][1] == pytest.approx(1 / 30)


def test_an_empty_folder(tmp_path: Path, image: ImageModality) -> None:
    with pytest.raises(SourceError, match="has no pictures"):
        open_source(image, str(tmp_path))


def test_a_folder_needs_a_rate(tmp_path: Path, image: ImageModality) -> None:
    save(tmp_path / "a.png", (1, 2, 3))
    with pytest.raises(SourceError, match="fps"):
        open_source(image, str(tmp_path), fps=-1.0)


@pytest.mark.parametrize("content", [b"", b"not a picture at all", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_picture(tmp_path: Path, image: ImageModality, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(SourceError, match="cannot be decoded"):
        open_source(image, str(tmp_path / "broken.png"))


def test_a_picture_that_is_not_there(tmp_path: Path, image: ImageModality) -> None:
    with pytest.raises(SourceError, match="found nothing, expected a file"):
        open_source(image, str(tmp_path / "no.png"))
