"""The folder of engines: what is served, what is not and why, and what is left after a writer dies."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from chiasm.runtime.engines import EngineStore, Key, engine_folder
from chiasm.runtime.errors import EngineError

KEY = Key(
    part="image", precision="fp16", graph="ab" * 32, vendor="tensorrt_rtx", version="1.7.1",
    capabilities=("8.6", "8.9"), shapes={"pixels": (1, 3, 64, 64)}, flags={"level": "3"},
)  # fmt: skip
DATA = bytes(range(256)) * 40


def _other(**changes: object) -> Key:
    return msgspec.structs.replace(KEY, **changes)


def _engine(store: EngineStore, key: Key = KEY) -> Path:
    store.put(key, DATA, 1.0, 2.0)
    return store.folder / key.digest


def test_an_engine_comes_back_as_it_was(tmp_path: Path) -> None:
    store = EngineStore(tmp_path / "engines")
    facts = store.put(KEY, DATA, 1.5, 300.0)
    found = store.find(KEY)
    assert found is not None
    assert found.data == DATA
    assert found.facts == facts
    assert store.holds(KEY) == facts
    copied = EngineStore(Path(shutil.copytree(store.folder, tmp_path / "copy")))
    assert copied.holds(KEY) == facts
    assert store.all() == [facts]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"graph": "cd" * 32}, "another graph"),
        ({"vendor": "tensorrt"}, "vendor tensorrt_rtx, here tensorrt"),
        ({"version": "1.8.0"}, "version 1.7.1, here 1.8.0"),
        ({"precision": "int8-trt"}, "precision fp16, here int8-trt"),
        ({"capabilities": ("12.0",)}, "compute capability 8.6, 8.9, here 12.0"),
        ({"flags": {"workspace": "5"}}, "level 3, here unset; workspace unset, here 5"),
        ({"shapes": {"pixels": (1, 3, 32, 32)}}, "shapes"),
    ],
)
def test_any_difference_is_another_engine_and_is_named(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    store = EngineStore(tmp_path)
    _engine(store)
    wanted = _other(**changes)
    assert wanted.digest != KEY.digest
    assert store.find(wanted) is None
    assert words in store.why_not(wanted)


def test_one_device_is_served_by_an_engine_for_several(tmp_path: Path) -> None:
    store = EngineStore(tmp_path)
    _engine(store)
    for capability, served in (("8.9", True), ("8.6", True), ("12.0", False)):
        assert (store.serve(_other(capabilities=(capability,), flags={})) is not None) == served
    assert store.serve(_other(capabilities=("8.9",), version="2")) is None
    assert store.serve(_other(capabilities=("8.9",), precision="fp32")) is None


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda place: (place / "engine.bin").write_bytes(DATA[:-1]), "cut off: 10239 of 10240 bytes"),
        (lambda place: (place / "engine.bin").write_bytes(b"x" + DATA[1:]), "not those that were built"),
        (lambda place: (place / "engine.json").write_bytes(b"{"), "cannot be read"),
        (lambda place: (place / "engine.json").unlink(), "cannot be read"),
        (lambda place: shutil.rmtree(place), "none was built"),
    ],
)
def test_a_damaged_engine_is_not_served_and_can_be_built_again(tmp_path: Path, harm: object, words: str) -> None:
    store = EngineStore(tmp_path)
    assert callable(harm)
    harm(_engine(store))
    assert store.find(KEY) is None
    assert store.holds(KEY) is None
    assert words in store.why_not(KEY)
    _engine(store)
    assert store.find(KEY) is not None


def test_the_one_unused_for_longest_goes_first(tmp_path: Path) -> None:
    store = EngineStore(tmp_path, limit=3 * len(DATA))
    keys = [_other(part=name) for name in ("a", "b", "c")]
    for age, key in enumerate(keys[:2]):
        os.utime(_engine(store, key), (1000 + age, 1000 + age))
    assert store.find(keys[0]) is not None  # used now: b is the older one
    _engine(store, keys[2])
    assert [each.key.part for each in store.all()] == ["a", "c"]


def test_an_engine_larger_than_the_limit_is_kept_alone(tmp_path: Path) -> None:
    store = EngineStore(tmp_path, limit=1)
    _engine(store, _other(part="a"))
    _engine(store)
    assert [each.key.part for each in store.all()] == ["image"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = EngineStore(tmp_path / "file" / "engines")
    with pytest.raises(EngineError, match=r"cannot be kept: found .* CHIASM_ENGINES"), store.building(KEY):
        pass
    with pytest.raises(EngineError, match="cannot be kept"):
        store.put(KEY, DATA, 1.0, 1.0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    store = EngineStore(tmp_path)
    with pytest.raises(EngineError, match="No space left on device"):
        store.put(KEY, DATA, 1.0, 1.0)
    assert list(tmp_path.iterdir()) == []


def test_where_the_engines_of_a_bundle_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_folder(tmp_path / "road") == tmp_path / "road" / "engines"
    monkeypatch.setenv("CHIASM_ENGINES", str(tmp_path / "elsewhere"))
    assert engine_folder(tmp_path / "road") == tmp_path / "elsewhere" / "road"


_WRITER = """
import sys
from pathlib import Path
import msgspec
from chiasm.runtime.engines import EngineStore, Key
key = msgspec.json.decode(sys.argv[2], type=Key)
store = EngineStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    with store.building(key):
        store.put(key, bytes(range(256)) * 4000, 1.0, 2.0)
"""


def test_killing_the_writer_at_random_moments_never_breaks_the_folder(tmp_path: Path) -> None:
    store, rng = EngineStore(tmp_path), random.Random(0)
    command = [sys.executable, "-c", _WRITER, str(tmp_path), msgspec.json.encode(KEY).decode()]
    whole = 0
    for _ in range(10):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.3))
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        found = store.find(KEY)
        if found is not None:
            assert len(found.data) == 256 * 4000
            whole += 1
        with store.building(KEY):  # the dead do not hold locks, and what they left is swept
            assert not list(tmp_path.glob(".*"))
    assert whole
