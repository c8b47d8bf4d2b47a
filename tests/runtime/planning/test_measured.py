"""The count of activations, held to what ONNX Runtime allocates: pytest -s shows the figures.

A library that counts allocations is loaded before everything else, and a session is run without arena and patterns, so
that every tensor is an allocation. Linux with glibc and gcc; elsewhere skipped.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from chiasm.runtime.planning.count import count_graph
from sd15 import decoder

pytest.importorskip("onnxruntime", reason="it is what is measured")
REFERENCE = Path(__file__).parents[3] / "reference" / "bundle" / "parts"
RUN = """
import ctypes, json, sys
import numpy as np, onnxruntime as ort
watch = ctypes.CDLL(None)
watch.watch_live.restype = watch.watch_peak.restype = ctypes.c_long
settings = ort.SessionOptions()
settings.enable_cpu_mem_arena = settings.enable_mem_pattern = False
settings.intra_op_num_threads, settings.log_severity_level = 1, 4
session = ort.InferenceSession(sys.argv[1], settings, providers=["CPUExecutionProvider"])
kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
binding, kept = session.io_binding(), []
for bind, nodes in ((binding.bind_ortvalue_input, session.get_inputs()),
                    (binding.bind_ortvalue_output, session.get_outputs())):
    for node in nodes:
        kept.append(ort.OrtValue.ortvalue_from_numpy(np.ones(node.shape, kinds[node.type])))
        bind(node.name, kept[-1])
session.run_with_iobinding(binding)
before = watch.watch_live()
watch.watch_reset()
session.run_with_iobinding(binding)
print(watch.watch_peak() - before)
"""


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None or platform.libc_ver()[0] != "glibc":
        pytest.skip("needs gcc and glibc: it counts allocations")
    library = tmp_path_factory.mktemp("watch") / "watch.so"
    source = Path(__file__).with_name("allocations.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def _measured(graph: Path, watcher: Path) -> int:
    environment = {**os.environ, "LD_PRELOAD": str(watcher)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(graph)], env=environment, capture_output=True, text=True, check=True
    )
    return int(json.loads(done.stdout))


def _ratio(graph: Path, watcher: Path) -> float:
    counted, measured = count_graph(graph.read_bytes()).activations, _measured(graph, watcher)
    print(
        f"{graph.name}: counted {counted / 1024:,.0f} KiB, allocated {measured / 1024:,.0f}, {counted / measured:.2f}"
    )
    return counted / measured


@pytest.mark.parametrize("name", ["image.fp32", "picture.fp32", "picture.tiny.fp32"])
def test_convolutions_are_counted_as_they_are(name: str, watcher: Path) -> None:
    assert 0.75 < _ratio(REFERENCE / f"{name}.onnx", watcher) < 1.15


@pytest.mark.parametrize(
    "name", ["audio.fp32", "text.fp32", "fuse.adaptive.fp32", "audio.int8-cpu", "picture.int8-cpu"]
)
def test_small_matrix_products_have_work_buffers_besides(name: str, watcher: Path) -> None:
    """At most so much more than counted as the work buffers of a product take, and never less."""
    graph = REFERENCE / f"{name}.onnx"
    counted, measured = count_graph(graph.read_bytes()).activations, _measured(graph, watcher)
    assert counted * 0.85 < measured < counted * 1.35 + 300 * 1024


def test_a_decoder_of_real_width(tmp_path: Path, watcher: Path) -> None:
    """SD 1.5's decoder for pictures of 64 by 64, its weights zeros: megabytes, not kilobytes."""
    net, data = decoder("fp32", side=8)
    graph = tmp_path / "picture.onnx"
    graph.write_bytes(data)
    with open(tmp_path / "picture.fp32.weights", "wb") as sparse:
        sparse.truncate(net.bytes)
    assert 0.6 < _ratio(graph, watcher) < 1.2
