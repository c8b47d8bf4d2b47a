"""Runs graphs on ONNX Runtime while exporting: one CPU thread for a small graph, all for a large one, no spinning."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..runtime.backends.ort import open_session, usable_threads
from ..runtime.errors import MissingExtraError
from ..runtime.values import Array, OnnxGraph

__all__ = ["HALVED", "LARGE", "Runner", "run_all", "runnable"]

LARGE = 64 * 2**20
"""Bytes; a graph from here on is run by all processors."""
HALVED = ("fp16", "int8-trt")
"""Precisions whose graphs compute in FP16."""


class Runner:
    """An opened graph; call it with named feeds to get named outputs. `threads` None: by the graph's size.

    `in_order`: nodes run as soon as what they read is there. ONNX Runtime's usual order would leave nodes that only
    watch to the end, and hold all that they watch until then. `opened` and `seconds`: processor time of opening it and,
    divided by its threads, of its last run.
    """

    def __init__(self, graph: OnnxGraph | bytes, *, threads: int | None = None, in_order: bool = False) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise MissingExtraError("onnxruntime", "cpu", "Running a graph") from error
        graph = OnnxGraph(graph) if isinstance(graph, bytes) else graph
        self.threads = threads or (1 if graph.nbytes < LARGE else usable_threads())
        self.seconds = 0.0
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if in_order:
            options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        start = time.process_time()
        self._session: Any = open_session(onnxruntime, graph, options)
        self.opened = time.process_time() - start
        self.inputs = [each.name for each in self._session.get_inputs()]
        self.outputs = [each.name for each in self._session.get_outputs()]

    def __call__(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once. `feeds` may hold more than the graph reads."""
        start = time.process_time()
        made = self._session.run(None, {name: feeds[name] for name in self.inputs})
        self.seconds = (time.process_time() - start) / self.threads
        return dict(zip(self.outputs, made, strict=True))


def run_all(graph: OnnxGraph | bytes, feeds: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """Outputs of one graph on every feed."""
    runner = Runner(graph)
    return [runner(each) for each in feeds]


def runnable(graph: OnnxGraph, precision: str) -> OnnxGraph:
    """What stands for a variant on a CPU: the graph itself, or its twin that rounds as FP16 does where it has FP16.

    The twin of a large graph refers to the same weights. Making it needs the package onnx.
    """
    if precision not in HALVED:
        return graph
    from .model import in_place, parse
    from .rounding import rounded

    return in_place(rounded(parse(graph)), graph.folder)
