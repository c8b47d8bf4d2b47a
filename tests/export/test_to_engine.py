"""Engines: planned before they are built, built by the real TensorRT-RTX without a GPU, kept whole or not at all."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chiasm.export.to_engine import Wish, compile_engines, meant_for, plan_engines, vendor_version
from chiasm.runtime.backends import _nvinfer
from chiasm.runtime.backends._builder import Built, build_apart
from chiasm.runtime.backends._gpu import why_no_gpu
from chiasm.runtime.backends._nvinfer import Order
from chiasm.runtime.bundle import Bundle, open_bundle
from chiasm.runtime.engines import EngineStore
from chiasm.runtime.errors import EngineError, InputError

REFERENCE = Path(__file__).parents[2] / "reference" / "bundle"
THREE = ("8.6", "8.9", "12.0")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return open_bundle(shutil.copytree(REFERENCE, tmp_path / "street"))


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    return EngineStore(tmp_path / "engines")


def _needs_rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="engines are built by TensorRT-RTX (pip install tensorrt-rtx)")


def _made(vendor: str, order: Order, told: Any) -> Built:
    told("building", 0.5)
    return Built(order.graph.proto[:100] + "/".join(order.capabilities).encode(), 3.0, 50.0)


def _fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A module `tensorrt` for the builder's process, whose Builder does `body`."""
    shell = """
    import os, signal
    __version__ = "10.3.0"
    class ILogger:
        class Severity: INTERNAL_ERROR, ERROR, WARNING = range(3)
    class IProgressMonitor: pass
    class NetworkDefinitionCreationFlag: STRONGLY_TYPED = 1
    class MemoryPoolType: WORKSPACE = "workspace"
    class Builder:
        def __init__(self, logger):
            self.logger = logger
    """
    folder = tmp_path / "vendor"
    folder.mkdir()
    text = textwrap.dedent(shell) + textwrap.indent(textwrap.dedent(body), " " * 8)
    (folder / "tensorrt.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))


# planning


def test_a_plan_says_what_is_there_and_what_it_will_cost(
    bundle: Bundle, store: EngineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake(tmp_path, monkeypatch, "")
    wish = Wish(vendor="tensorrt", capabilities=("8.7",), parts=("radar", "heads"))
    before = plan_engines(bundle, wish, store)
    assert [(job.key.part, job.key.precision, job.there) for job in before] == [
        ("radar", "fp16", False), ("heads", "fp16", False),
    ]  # fmt: skip
    assert before[0].key.version == "10.3.0"
    assert before[0].expected_s > before[1].expected_s > 0
    seen: list[float] = []
    lines = compile_engines(bundle, before, wish, store, progress=lambda _, share: seen.append(share), maker=_made)
    assert [line.cached for line in lines] == [False, False]
    assert seen == sorted(seen)
    assert seen[-1] <= 1.0
    after = plan_engines(bundle, wish, store)
    assert all(job.there for job in after)
    assert [line.cached for line in compile_engines(bundle, after, wish, store, maker=_made)] == [True, True]
    again = plan_engines(bundle, Wish(vendor="tensorrt", capabilities=("8.7",), parts=("radar",), level=5), store)
    assert not again[0].there
    assert again[0].expected_s == 3.0  # as long as the last time


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(), "found no compute capability.*chiasm targets"),
        (Wish(capabilities=("ada",)), "Not a compute capability: found ada"),
        (Wish(capabilities=("8.9",), precision="int4"), "No such precision of engines: found int4"),
        (Wish(capabilities=("8.9",), parts=("imgae",)), "No such part: found imgae"),
    ],
)
def test_a_wish_that_cannot_be(
    bundle: Bundle, store: EngineStore, wish: Wish, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake(tmp_path, monkeypatch, "")
    import msgspec

    with pytest.raises(InputError, match=words):
        plan_engines(bundle, msgspec.structs.replace(wish, vendor="tensorrt"), store)
    assert not store.folder.exists()


def test_a_vendor_that_is_not_there(bundle: Bundle, store: EngineStore) -> None:
    with pytest.raises(EngineError, match="No such vendor of engines: found openvino, expected tensorrt_rtx or"):
        vendor_version("openvino")
    if __import__("importlib").util.find_spec("tensorrt") is None:
        with pytest.raises(EngineError, match=r"tensorrt, which cannot be imported.*JetPack"):
            plan_engines(bundle, Wish(vendor="tensorrt", capabilities=("8.7",)), store)


def test_what_engines_are_meant_for() -> None:
    cards = meant_for(["rtx-4090", "rtx-3060"], ["12.0"])
    assert (cards.capabilities, cards.vendor, cards.workspace) == (("8.9", "8.6", "12.0"), "tensorrt_rtx", None)
    board = meant_for(["jetson-orin-nano-4gb"], [])
    assert (board.capabilities, board.vendor) == (("8.7",), "tensorrt")
    assert board.workspace is not None
    assert 300 * 2**20 < board.workspace < 600 * 2**20  # a quarter of the 1.8 GiB that are ours
    assert meant_for([], ["9.0"]).vendor == "tensorrt"


# a vendor that fails


def test_a_builder_that_the_system_kills_is_said_so(
    bundle: Bundle, store: EngineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake(tmp_path, monkeypatch, "os.kill(os.getpid(), signal.SIGKILL)")
    wish = Wish(vendor="tensorrt", capabilities=("8.7",), parts=("heads",))
    with pytest.raises(EngineError, match=r"builder of part heads was killed: found SIGKILL.*--workspace"):
        compile_engines(bundle, plan_engines(bundle, wish, store), wish, store)
    assert store.all() == []


def test_a_builder_that_crashes_is_said_so(
    bundle: Bundle, store: EngineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake(tmp_path, monkeypatch, "raise RuntimeError('CUDA initialization failure: 35')")
    wish = Wish(vendor="tensorrt", capabilities=("8.7",), parts=("heads",))
    with pytest.raises(EngineError, match=r"ended early: found exit code 1 RuntimeError: CUDA initialization .* 35"):
        compile_engines(bundle, plan_engines(bundle, wish, store), wish, store)


# the real one


def test_every_part_of_the_reference_becomes_an_engine(bundle: Bundle, store: EngineStore) -> None:
    _needs_rtx()
    wish = Wish(capabilities=THREE)
    lines = compile_engines(bundle, plan_engines(bundle, wish, store), wish, store)
    assert {line.part for line in lines} == set(bundle.manifest.parts)
    assert all(line.capabilities == THREE and line.precision == "fp16" and line.bytes > 1000 for line in lines)
    assert all(line.cached for line in compile_engines(bundle, plan_engines(bundle, wish, store), wish, store))


def test_the_encoders_of_the_reference_become_int8_engines(bundle: Bundle, store: EngineStore) -> None:
    _needs_rtx()
    wish = Wish(capabilities=THREE, precision="int8", parts=("image", "text", "audio", "radar"))
    lines = compile_engines(bundle, plan_engines(bundle, wish, store), wish, store)
    assert [line.precision for line in lines] == ["int8-trt"] * 4


def test_a_node_that_the_vendor_refuses_is_named(bundle: Bundle) -> None:
    _needs_rtx()
    order = Order("image", bundle.graph("image", "int8-cpu"), ("8.9",))
    with pytest.raises(EngineError, match=r"Part image has a node that .* found QuantizeLinear 'pixels.u8/Quantize"):
        build_apart("tensorrt_rtx", order)


def test_a_capability_that_the_vendor_does_not_know(bundle: Bundle) -> None:
    _needs_rtx()
    with pytest.raises(EngineError, match=r"no engines for compute capability 8.7: expected .*8.9.* compile there"):
        build_apart("tensorrt_rtx", Order("heads", bundle.graph("heads", "fp16"), ("8.7",)))


def test_a_stripped_engine_is_another_one_and_no_gpu_is_said_to_be_missing(bundle: Bundle, store: EngineStore) -> None:
    _needs_rtx()
    plain, bare = (Wish(capabilities=("8.9",), parts=("heads",), strip=strip) for strip in (False, True))
    jobs = [plan_engines(bundle, wish, store)[0] for wish in (plain, bare)]
    assert jobs[0].key.digest != jobs[1].key.digest
    assert jobs[1].key.flags == {"strip": "true"}
    if why_no_gpu() is None:  # written where there was none; there it should be built
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match=r"built no engine of part heads.*without --strip, or where there is"):
        compile_engines(bundle, jobs[1:], bare, store)
    assert store.all() == []


def test_an_order_to_strip_reaches_the_vendor_and_a_vendor_that_cannot_says_so() -> None:
    flags: list[str] = []
    config = SimpleNamespace(set_flag=flags.append)
    able = SimpleNamespace(BuilderFlag=SimpleNamespace(STRIP_PLAN="strip", REFIT_IDENTICAL="identical"))
    _nvinfer._strip(able, config)
    assert flags == ["strip", "identical"]
    with pytest.raises(EngineError, match=r"old 8\.6 cannot strip engines"):
        _nvinfer._strip(SimpleNamespace(BuilderFlag=SimpleNamespace(), __name__="old", __version__="8.6"), config)


def test_a_graph_that_is_none(bundle: Bundle) -> None:
    _needs_rtx()
    from chiasm.runtime.values import OnnxGraph

    with pytest.raises(EngineError, match="Part heads"):
        build_apart("tensorrt_rtx", Order("heads", OnnxGraph(b"no graph"), ("8.9",)))


def _command(bundle: Bundle, folder: Path) -> list[str]:
    words = ("compile", str(bundle.path), "--capability", "8.9", "--part", "heads", "--engines", str(folder), "--json")
    return [sys.executable, "-m", "chiasm", *words]


def test_two_at_once_build_one_engine(bundle: Bundle, tmp_path: Path) -> None:
    _needs_rtx()
    both = [subprocess.Popen(_command(bundle, tmp_path / "e"), stdout=subprocess.PIPE) for _ in range(2)]
    answers = [json.loads(each.communicate(timeout=120)[0]) for each in both]
    assert sorted(answer["engines"][0]["cached"] for answer in answers) == [False, True]
    assert len(EngineStore(tmp_path / "e").all()) == 1


def test_killed_at_ten_random_moments_it_never_leaves_a_broken_folder(bundle: Bundle, tmp_path: Path) -> None:
    _needs_rtx()
    rng, folder = random.Random(1), tmp_path / "e"
    store = EngineStore(folder)
    for _ in range(10):
        with subprocess.Popen(
            _command(bundle, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as child:
            time.sleep(rng.uniform(0.2, 1.6))
            os.killpg(child.pid, signal.SIGKILL)
        for facts in store.all():  # either nothing is there, or what is there is whole
            assert store.find(facts.key) is not None
            shutil.rmtree(folder / facts.key.digest)
    answer = json.loads(subprocess.run(_command(bundle, folder), capture_output=True, check=True).stdout)
    assert answer["engines"][0]["cached"] is False
    assert [path.name for path in folder.glob(".*")] == []
    assert len(store.all()) == 1


def test_the_builders_memory_is_its_own_and_not_its_parents(bundle: Bundle) -> None:
    _needs_rtx()
    ours = b"x" * (600 * 2**20)
    made = build_apart("tensorrt_rtx", Order("heads", bundle.graph("heads", "fp16"), ("8.9",)))
    del ours
    assert 50 < made.peak_mib < 500
