from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="OpenCV reads the pictures")


def _read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.asarray(picture)


def test_a_picture_from_words(chiasm: Callable, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "picture.png"
    outcome = chiasm("generate", tiny, "--text", "a red bus", "--out", out, "--seed", "3")
    assert (outcome.code, outcome.out) == (0, "")
    assert "from text, 4 steps, seed 3" in outcome.err
    assert _read(out).shape == (256, 256, 3)
    assert list(out.parent.iterdir()) == [out]


def test_same_seed_same_bytes_and_another_seed_another_picture(chiasm: Callable, tiny: Path, tmp_path: Path) -> None:
    pictures = []
    for index, seed in enumerate((7, 7, 8)):
        out = tmp_path / f"{index}.png"
        chiasm("generate", tiny, "--text", "a red bus", "--seed", seed, "--scale", 1, "--out", out)
        pictures.append(out.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_every_sense_conditions_and_all_steps_stand_side_by_side(
    chiasm: Callable, tiny: Path, media: Path, tmp_path: Path
) -> None:
    out = tmp_path / "all.png"
    files = ["--image", media / "pictures" / "0.png", "--audio", media / "sound.wav", "--radar", media / "radar.npz"]
    outcome = chiasm("generate", tiny, *files, "--text", "x", "--all-steps", "--scale", "2", "--out", out)
    assert outcome.code == 0, outcome.err
    assert "1/2/4 steps" in outcome.err
    assert _read(out).shape == (128, 3 * 128, 3)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--text", "x", "--steps", "3"], "1, 2, 4"),
        (["--text", "x", "--guidance", "99"], "99"),
        (["--text", "x", "--decoder", "huge"], "huge"),
        (["--txt", "x"], "Did you mean --text?"),
        (["--text", " "], ""),
        ([], "no modality is given"),
    ],
)
def test_what_cannot_be_generated(
    chiasm: Callable, tiny: Path, tmp_path: Path, words: list[str], complaint: str
) -> None:
    outcome = chiasm("generate", tiny, *words, "--out", tmp_path / "x.png")
    assert outcome.code == 2
    assert complaint in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_without_a_decoder_says_so(chiasm: Callable, tmp_path: Path) -> None:
    from bundles import tiny_bundle

    bundle = tiny_bundle(tmp_path, decoder=None)
    outcome = chiasm("generate", bundle, "--text", "x", "--out", tmp_path / "x.png")
    assert outcome.code == 2
    assert "generates no pictures" in outcome.err
