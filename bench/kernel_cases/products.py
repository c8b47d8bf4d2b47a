"""Products of bytes: those of ViT-B/32, 50 tokens, beside ONNX Runtime's, in graphs of many, as networks have them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import util
from typing import Any

import numpy as np

from ...kernels._select import compiled
from . import Case

__all__ = ["cases"]

ROWS = 50
SIZES = ((768, 768), (768, 3072), (3072, 768))
MATRICES = 12
"""In one graph, each with its own weights: none is found in a cache when its turn comes."""
RUNTIME = "ONNX Runtime"


def cases() -> list[Case]:
    """One and two threads. Without ONNX Runtime, onnx or the extension there is nothing to compare, and no case."""
    if compiled is None or not (util.find_spec("onnx") and util.find_spec("onnxruntime")):
        return []
    made = []
    for depth, columns in SIZES:
        for threads in (1, 2):
            ours, theirs = (_graph(depth, columns, threads, own=own) for own in (True, False))
            moved = MATRICES * (depth * columns + 4 * ROWS * (depth + columns))
            used = "used" if compiled.products_pay() else "not used"
            note = f"{MATRICES} matrices in turn; on this processor ours are {used}"
            name = f"{ROWS} × {depth} floats times int8 {depth} × {columns}, {threads} thread{'s' * (threads > 1)}"
            made.append(Case(name, ours, {RUNTIME: theirs}, moved, note))
    return made


def _graph(depth: int, columns: int, threads: int, *, own: bool) -> Callable[[], object]:
    """A run of products one after the other, all of the same input, all bound."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants, nodes, results = [], [], []
    for place in range(MATRICES):
        weights = np.clip(rng.normal(0, 16, (depth, columns)), -64, 64).astype(np.int8)
        for name, value in (
            ("w", weights),
            ("s", np.full(columns, 0.01, np.float32)),
            ("b", np.ones(columns, np.float32)),
        ):
            constants.append(numpy_helper.from_array(value, f"{name}{place}"))
        nodes.append(_node(place, depth, columns, own=own))
        results.append(helper.make_tensor_value_info(f"y{place}", TensorProto.FLOAT, [ROWS, columns]))
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, depth])]
    domains = [helper.make_opsetid(name, version) for name, version in (("", 17), ("com.microsoft", 1), ("chiasm", 1))]
    graph = helper.make_graph(nodes, "products", given, results, constants)
    model = helper.make_model(graph, opset_imports=domains, ir_version=9)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if own and compiled is not None:
        settings.register_custom_ops_library(compiled.__file__)
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input("x", rng.normal(0, 1, (ROWS, depth)).astype(np.float32))
    out = onnxruntime.OrtValue.ortvalue_from_shape_and_type([ROWS, columns], np.float32)
    for place in range(MATRICES):
        binding.bind_ortvalue_output(f"y{place}", out)
    return lambda: session.run_with_iobinding(binding)


def _node(place: int, depth: int, columns: int, *, own: bool) -> Any:
    from onnx import helper

    weights, scales, bias, result = (f"{name}{place}" for name in "wsby")
    if not own:
        inputs = ["x", weights, scales, "", bias]
        return helper.make_node("DynamicQuantizeMatMul", inputs, [result], domain="com.microsoft")
    facts = {"biased": 1, "file": "", "offset": 0, "depth": depth, "columns": columns}
    return helper.make_node("ProductOfFloats", ["x", scales, weights, bias], [result], domain="chiasm", **facts)
