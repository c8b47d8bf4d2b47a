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


def test_a_picture_never_replaces_what_is_read(chiasm: Callable, tiny: Path, media: Path, tmp_path: Path) -> None:
    original = (media / "pictures" / "0.png").read_bytes()
    (tmp_path / "x.png").write_bytes(original)
    outcome = chiasm("generate", tiny, "--image", tmp_path / "x.png", "--out", tmp_path / "x.png")
    assert outcome.code == 2
    assert "found a file that is read" in outcome.err
    assert (tmp_path / "x.png").read_bytes() == original


def test_a_bundle_without_a_decoder_says_so(chiasm: Callable, tmp_path: Path) -> None:
    from bundles import tiny_bundle

    bundle = tiny_bundle(tmp_path, decoder=None)
    outcome = chiasm("generate", bundle, "--text", "x", "--out", tmp_path / "x.png")
    assert outcome.code == 2
    assert "generates no pictures" in outcome.err


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from drawing_bundles import prompt_bundle

    return prompt_bundle(tmp_path_factory.mktemp("drawing"))


@pytest.fixture(scope="module")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from drawing_bundles import one_pass_bundle

    return one_pass_bundle(tmp_path_factory.mktemp("drawing"))


def test_a_picture_from_a_prompt(chiasm: Callable, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    words = ["--text", "a red bus", "--negative", "rain", "--steps", 2, "--seed", 7, "--scale", 1]
    outcome = chiasm("generate", prompts, *words, "--out", out)
    assert outcome.code == 0, outcome.err
    assert "from text, 2 steps, seed 7" in outcome.err
    assert _read(out).shape == (48, 40, 3)
    chiasm("generate", prompts, *words[:2], *words[4:], "--out", tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != out.read_bytes()


def test_a_picture_from_a_picture_and_a_mask(chiasm: Callable, prompts: Path, media: Path, tmp_path: Path) -> None:
    from chiasm.cli.png import png_bytes

    white = np.zeros((48, 40, 3), np.uint8)
    white[8:24] = 255
    (tmp_path / "mask.png").write_bytes(png_bytes(white))
    start = ["--text", "a bus", "--init", media / "pictures" / "0.png", "--out", tmp_path / "x.png"]
    pictures = []
    for words in (["--strength", "0.6"], ["--strength", "0.6", "--mask", tmp_path / "mask.png"], []):
        outcome = chiasm("generate", prompts, *start, *words)
        assert outcome.code == 0, outcome.err
        assert "from text and image" in outcome.err
        pictures.append((tmp_path / "x.png").read_bytes())
    assert len(set(pictures)) == 3
    assert _read(tmp_path / "x.png").shape == (192, 160, 3)


def test_the_picture_to_start_from_is_kept(chiasm: Callable, prompts: Path, media: Path) -> None:
    start = media / "pictures" / "1.png"
    outcome = chiasm("generate", prompts, "--text", "a bus", "--init", start, "--out", start)
    assert outcome.code == 2
    assert "found a file that is read" in outcome.err


def test_a_picture_in_one_pass(chiasm: Callable, turn: Path, media: Path, tmp_path: Path) -> None:
    outcome = chiasm(
        "generate", turn, "--init", media / "pictures" / "1.png", "--scale", 1, "--out", tmp_path / "x.png"
    )
    assert outcome.code == 0, outcome.err
    assert "from image, 1 steps" in outcome.err
    assert _read(tmp_path / "x.png").shape == (40, 48, 3)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "No text is given"),
        (["--txt", "a bus"], "Did you mean --text?"),
        (["--image", "x.png", "--text", "a bus"], "expected --text WORDS, --init FILE"),
        (["--text", "a bus", "--init", "nowhere.png"], "nowhere.png"),
        (["--text", "a bus", "--strength", "0.5"], "without a picture"),
        (["--text", "a bus", "--guidance", "1", "--negative", "rain"], "no effect"),
        (["--text", "a bus", "--fusion", "gated"], "does not decide"),
    ],
)
def test_what_a_prompt_cannot_do(
    chiasm: Callable, prompts: Path, tmp_path: Path, words: list[str], complaint: str
) -> None:
    outcome = chiasm("generate", prompts, *words, "--out", tmp_path / "x.png")
    assert outcome.code == 2
    assert complaint in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_one_pass_and_fusion_cannot_do(chiasm: Callable, turn: Path, tiny: Path, media: Path) -> None:
    for bundle, words, complaint in (
        (turn, [], "expected --init FILE"),
        (turn, ["--text", "x"], "expected --init FILE"),
        (turn, ["--init", media / "pictures" / "0.png", "--steps", "4"], "one pass"),
        (tiny, ["--text", "x", "--init", media / "pictures" / "0.png"], "starts from no picture"),
        (tiny, ["--text", "x", "--negative", "rain"], "no negative"),
    ):
        outcome = chiasm("generate", bundle, *words, "--out", media / "x.png")
        assert outcome.code == 2
        assert complaint in outcome.err, outcome.err


def test_a_bundle_that_only_generates_is_inspected_and_refuses_to_run(
    chiasm: Callable, prompts: Path, turn: Path
) -> None:
    told = chiasm("inspect", prompts)
    assert told.code == 0, told.err
    assert "40x48 from text (clip, t5), or started from a picture; lcm in 1, 2, 4 steps" in " ".join(told.out.split())
    assert "48x40 in one pass from a picture of 24x20" in " ".join(chiasm("inspect", turn).out.split())
    outcome = chiasm("run", prompts, "--text", "a bus")
    assert outcome.code == 2
