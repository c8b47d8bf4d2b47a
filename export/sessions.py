"""Runs graphs on ONNX Runtime while exporting: one CPU thread, no spinning, all outputs by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..runtime.errors import BackendError, MissingExtraError
from ..runtime.values import Array

__all__ = ["Runner", "run_all"]


class Runner:
    """An opened graph; call it with named feeds to get named outputs."""

    def __init__(self, graph: bytes, *, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise MissingExtraError("onnxruntime", "cpu", "Running a graph") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common public base
            raise BackendError("ONNX Runtime cannot open a graph", found=str(error).splitlines()[0]) from error
        self.inputs = [each.name for each in self._session.get_inputs()]
        self.outputs = [each.name for each in self._session.get_outputs()]

    def __call__(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once. `feeds` may hold more than the graph reads."""
        made = self._session.run(None, {name: feeds[name] for name in self.inputs})
        return dict(zip(self.outputs, made, strict=True))


def run_all(graph: bytes, feeds: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """Outputs of one graph on every feed."""
    runner = Runner(graph)
    return [runner(each) for each in feeds]
