"""What a newcomer gets wrong: one line that says what and what to do, exit code 2, and nothing left behind.

Each row of `CASES` is a command line and words that its error must hold. `{bundle}`, `{files}` and `{text256}` stand
for a tiny bundle, a folder of broken files, and a name too long for any file system.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bundles import edit_manifest, tiny_bundle
from chiasm.cli import main
from chiasm.cli.png import png_bytes
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import ChiasmError, SinkError
from chiasm.runtime.sinks import check_output, write_file

RUN = "run {bundle} "
MAKE = "generate {bundle} --text hello "
BENCH = "bench {bundle} --scenario single-stream --seconds 0.05 "
DEMO = "demo --bundle {bundle} "
CASES = [
    # bundles
    ("inspect nothing", "No bundle here"),
    ("inspect {empty}", "No bundle is named"),
    ("inspect {files}/words.txt", "A bundle is a folder"),
    ("inspect {files}/void", "lacks manifest.json"),
    ("inspect {bundle}/manifest.json", "Name the folder: "),
    ("run {text256} --text x", "File name too long"),
    # sources
    (RUN + "--image {files}/half.png", "cannot be decoded"),
    (RUN + "--image {files}/empty.png", "found 0 bytes"),
    (RUN + "--image {files}/words.mp4", "cannot be read as video"),
    (RUN + "--image {files}/void", "has no pictures"),
    (RUN + "--image {files}/radar.npz", "image cannot come from this source"),
    (RUN + "--image nothing.png", "found nothing, expected a file"),
    (RUN + "--image camera:99", "camera 99 cannot be opened"),
    (RUN + "--image /dev/video99", "camera 99 cannot be opened"),
    (RUN + "--image 99999999999999999999", "cannot be opened"),
    (RUN + "--image mic:", "image cannot come from this source"),
    (RUN + "--image /dev/null", "a device or a pipe"),
    (RUN + "--image {text256}", "File name too long"),
    (RUN + "--image http://127.0.0.1:9/x", "Connection refused"),
    (RUN + "--audio http://127.0.0.1:9/x.wav", "Connection refused"),
    (RUN + "--audio {files}/none.wav", "found 0 samples"),
    (RUN + "--audio {files}/words.wav", "cannot be read as video or sound"),
    (RUN + "--audio {text256}", "File name too long"),
    (RUN + "--radar {files}/pickled.npz", "pickled objects"),
    (RUN + "--radar {files}/words.npz", "pickled objects, or no archive"),
    (RUN + "--radar {files}/narrow.npz", "shape (40, 3)"),
    (RUN + "--radar {files}/huge.npz", "float32 can hold"),
    (RUN + "--radar {files}/half.npz", "cannot be read"),
    (RUN + "--radar {text256}.npz", "File name too long"),
    (RUN + "--radar http://127.0.0.1:9/x.npz", "radar cannot come from this source"),
    (RUN + "--text {files}/latin.txt", "expected UTF-8 text"),
    (RUN + "--text {files}/binary.txt", "found binary data"),
    (RUN + "--text {files}/backwards.txt", "line 2"),
    (RUN + "--text \udce9", "expected valid Unicode"),
    (RUN + "--text {text256}.txt", "File name too long"),
    # options of every command that opens a bundle
    (RUN, "no modality is given"),
    (RUN + "--smell x", "no such modality"),
    (RUN + "--text x --threads 0", "--threads"),
    (RUN + "--text x --threads 99999999999", "--threads"),
    (RUN + "--text x --rate 0", "--rate"),
    (RUN + "--text x --rate inf --sink a.mp4", "--rate"),
    (RUN + "--text x --rate 1e9 --sink a.mp4", "--rate"),
    (RUN + "--text x --seconds -1", "--seconds"),
    (RUN + "--text x --seconds inf", "seconds cannot be used"),
    (RUN + "--text x --precision int8", "found variants fp32"),
    (RUN + "--text x --backend {empty}", "found ''"),
    # sinks
    (RUN + "--text x --sink a.json", "no sink has this name"),
    (RUN + "--text x --sink no/a.jsonl", "mkdir -p no"),
    (RUN + "--text x --sink {text256}.jsonl", "File name too long"),
    (RUN + "--text x --sink \0.jsonl", "embedded null"),
    # generate
    (MAKE + "--steps 3", "expected one of 1, 2, 4"),
    (MAKE + "--guidance 1e9", "expected 1 to 5"),
    (MAKE + "--guidance nan", "expected 1 to 5"),
    (MAKE + "--decoder {empty}", "expected one of full, tiny"),
    (MAKE + "--out a.jpg", "a name ending in .png"),
    (MAKE + "--out {empty}", "a name ending in .png"),
    (MAKE + "--out {files}/words.txt/a.png", "Not a directory"),
    (MAKE + "--out {text256}.png", "File name too long"),
    # bench: before the measuring
    (BENCH + "--scenario nothing", "there is no such scenario"),
    (BENCH + "--rate inf", "rate_hz cannot be used"),
    (BENCH + "--out {empty}", "no file name"),
    (BENCH + "--out {files}", "a folder of that name"),
    (BENCH + "--out /dev/null", "a device or a pipe"),
    (BENCH + "--out {files}/words.txt/a.json", "Not a directory"),
    (BENCH + "--plot a.txt", "a name ending in .png"),
    # demo
    (DEMO + "--seconds nan", "expected 4 to 120 s"),
    (DEMO + "--out {files}/words.txt", "File exists"),
    (DEMO + "--out {files}/words.txt/demo", "Not a directory"),
]
NEEDS = {".mp4": "av", "camera": "cv2", ".png": "cv2", "http": "av", "words.wav": "av", "video": "cv2", "9999": "cv2"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are not what their names say."""
    folder = tmp_path_factory.mktemp("files")
    picture = png_bytes(np.arange(48 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3))
    (folder / "half.png").write_bytes(picture[: len(picture) // 2])
    (folder / "good.png").write_bytes(picture)
    (folder / "empty.png").touch()
    (folder / "void").mkdir()
    (folder / "broken").mkdir()
    for index, data in enumerate((picture, picture[:60], picture)):
        (folder / "broken" / f"{index}.png").write_bytes(data)
    for name in ("words.txt", "words.mp4", "words.wav", "words.npz"):
        (folder / name).write_text("nothing but words\n" * 40, encoding="utf-8")
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder / "binary.txt").write_bytes(b"\0\1\0")
    (folder / "backwards.txt").write_text("1\tone\n0.5\ttwo\n", encoding="utf-8")
    with wave.open(str(folder / "none.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
    rows, times = np.zeros((40, 32)), np.arange(40) / 20
    np.savez(folder / "radar.npz", series=rows, times=times)
    np.savez(folder / "narrow.npz", series=rows[:, :3], times=times)
    np.savez(folder / "huge.npz", series=rows + 1e300, times=times)
    np.savez(folder / "pickled.npz", series=np.array([{}], dtype=object), times=times)
    whole = (folder / "radar.npz").read_bytes()
    (folder / "half.npz").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test in an empty folder of its own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _left() -> list[str]:
    return sorted(os.listdir("."))


def _call(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(words)
    out, err = capfd.readouterr()
    return int(left.value.code or 0), out, err


def _refused(words: list[str], complaint: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = _call(words, capfd)
    assert code == 2, err
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    assert "bug in chiasm" not in err
    assert complaint in err, err
    assert _left() == []


@pytest.mark.parametrize(("line", "complaint"), CASES, ids=[ascii(line) for line, _ in CASES])
def test_one_line_code_2_nothing_left(
    line: str, complaint: str, bundle: Path, files: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for mark, package in NEEDS.items():
        if mark in line:
            pytest.importorskip(package, reason="the extra camera reads and writes pictures and films")
    places = {"{bundle}": str(bundle), "{files}": str(files), "{text256}": "a" * 256, "{empty}": ""}
    words = line.split(" ")
    for place, value in places.items():
        words = [word.replace(place, value) for word in words]
    _refused(words if line.rstrip() == line else words[:-1], complaint, capfd)


def test_a_source_that_breaks_on_the_way_is_named_and_the_others_go_on(
    bundle: Path, files: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2", reason="pictures are read by OpenCV")
    words = ["--image", str(files / "broken"), "--radar", str(files / "radar.npz"), "--sink", "a.jsonl"]
    code, _, err = _call(["run", str(bundle), *words], capfd)
    assert code == 2
    assert "error: image ended early, the others went on" in err
    assert len(Path("a.jsonl").read_text("utf-8").splitlines()) >= 40


@pytest.mark.parametrize("name", ["space in name", "caf\udce9"])
def test_names_with_spaces_or_not_in_utf8(
    name: str, bundle: Path, files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2", reason="pictures are read by OpenCV")
    shutil.copytree(bundle, tmp_path / name)
    shutil.copy(files / "good.png", tmp_path / f"{name}.png")
    words = [str(tmp_path / name), "--image", str(tmp_path / f"{name}.png"), "--sink", f"{name}.jsonl"]
    assert _call(["run", *words], capfd)[0] == 0
    assert _left() == [f"{name}.jsonl"]
    code, out, err = _call(["inspect", str(tmp_path / name), "--json"], capfd)
    assert code == 0, err
    assert json.loads(out)["model"]["name"] == "tiny"


def test_a_linked_bundle_opens(bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link").symlink_to(bundle)
    assert _call(["run", str(tmp_path / "link"), "--text", "hello"], capfd)[0] == 0


def test_a_film_without_sound_is_annotated_without(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av", reason="films are written by PyAV")
    from chiasm.runtime.sinks import VideoWriter

    with VideoWriter("silent.mp4", (64, 48), fps=10) as film:
        for index in range(3):
            film.add(np.zeros((48, 64, 3), np.uint8), index / 10)
    code, _, err = _call(["run", str(bundle), "--image", "silent.mp4", "--sink", "a.mp4"], capfd)
    assert code == 0, err
    assert _left() == ["a.mp4", "silent.mp4"]


def _fill_the_disk() -> None:
    """No file may grow beyond 500 bytes; the kernel's answer stands for a disk without room."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize("line", [RUN + "--radar {files}/radar.npz --sink a.jsonl", MAKE + "--out new/folder/a.png"])
def test_a_full_disk_leaves_nothing(line: str, bundle: Path, files: Path, tmp_path: Path) -> None:
    # Only the new process is limited: pytest writes files of its own.
    words = [word.replace("{bundle}", str(bundle)).replace("{files}", str(files)) for word in line.split(" ")]
    command = [sys.executable, "-B", "-m", "chiasm", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=_fill_the_disk)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "expected space on the disk" in done.stderr
    assert _left() == []


def _heed_interrupts() -> None:
    """Jobs that a shell puts in the background are born deaf to SIGINT, and so are their children."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_keeps_what_it_has(number: int, bundle: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "long.npz", series=np.zeros((6000, 32), np.float32), times=np.arange(6000) / 20)
    words = [
        "run",
        str(bundle),
        "--radar",
        str(tmp_path / "long.npz"),
        "--realtime",
        "--sink",
        "a.jsonl",
        "--sink",
        "-",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "chiasm", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "(interrupted)" in err
    assert "Traceback" not in err
    assert _left() == ["a.jsonl"]
    assert all(json.loads(line) for line in Path("a.jsonl").read_text("utf-8").splitlines())


def test_a_run_under_nohup_survives_the_end_of_its_connection(bundle: Path, files: Path) -> None:
    words = [sys.executable, "-m", "chiasm", "run", str(bundle), "--radar", str(files / "radar.npz"), "--realtime"]
    with subprocess.Popen(
        [*words, "--sink", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, "interrupted" in err) == (0, False)


def test_ctrl_c_while_it_starts_is_no_traceback() -> None:
    """The moment is made sure of by a stand-in for the first package that the command line needs."""
    code = """
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from chiasm.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_reader_that_leaves_ends_the_run_quietly(bundle: Path, files: Path) -> None:
    words = [sys.executable, "-m", "chiasm", "run", str(bundle), "--radar", str(files / "radar.npz"), "--sink", "-"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(30) == 1
    assert err == ""


def test_an_output_is_tried_before_the_work_and_leaves_nothing() -> None:
    check_output("new/folder/a.png")
    assert _left() == []
    with pytest.raises(SinkError, match="a device or a pipe"):
        write_file("/dev/null", b"")

    def fails(file: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file("new/a.png", fails)
    assert _left() == []
    write_file("new/a.png", b"1")
    write_file("new/a.png", b"2")
    assert Path("new/a.png").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: (path / "manifest.json").write_text("{", "utf-8"), "not valid JSON"),
        (lambda path: edit_manifest(path, lambda m: m.update(schema=99)), "another schema version"),
        (lambda path: edit_manifest(path, lambda m: m.update(colour=1)), "unknown field `colour`"),
        (lambda path: edit_manifest(path, lambda m: m["files"].update({"../x": "0" * 64})), "outside the bundle"),
        (lambda path: (path / "parts/image.fp32.onnx").write_bytes(b"cut"), "is damaged"),
        (lambda path: (path / "tokenizer.json").write_bytes(b"{}"), "SHA-256"),
        (lambda path: (path / "tokenizer.json").unlink(), "lacks tokenizer.json"),
    ],
)
def test_a_damaged_bundle(
    damage: object, complaint: str, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "damaged"
    shutil.copytree(bundle, path)
    damage(path)  # type: ignore[operator]
    _refused(["run", str(path), "--text", "hello"], complaint, capfd)
    with pytest.raises(ChiasmError, match=complaint):
        open_bundle(path).check_files()
