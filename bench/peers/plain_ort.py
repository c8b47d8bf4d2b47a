"""ONNX Runtime as its first example has it: torch's exporter, one session a part, transformers' processors."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .parts import Arrays, graph, input_names, int8_graph
from .racer import Network, Racer, assembled
from .works import Work

NAME, NEEDS, PRECISION = "ONNX Runtime", ("onnxruntime", "transformers"), "fp32"


def open_racer(work: Work, folder: Path, threads: int) -> Racer:
    """The racer in FP32."""
    return open_sessions(NAME, "fp32", work, folder, threads)


def open_sessions(name: str, precision: Literal["fp32", "int8"], work: Work, folder: Path, threads: int) -> Racer:
    """A racer of sessions with everything at its default but the number of threads."""
    import onnxruntime

    def part(name: str) -> Network:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = (int8_graph if precision == "int8" else graph)(work, name, folder)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        known = {each.name for each in session.get_inputs()}  # torch's exporter drops inputs that nothing reads
        names = input_names(work, name)

        def run(arrays: Arrays) -> Arrays:
            fed = {key: value for key, value in zip(names, arrays, strict=True) if key in known}
            return tuple(session.run(None, fed))

        return run

    return assembled(name, precision, work, folder, part)
