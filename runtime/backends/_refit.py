"""Weights back into an engine that was stripped of them: from the very graph of the bundle that it was built of."""

from __future__ import annotations

import os
from typing import Any

from ..errors import EngineError
from ..values import OnnxGraph

__all__ = ["refit"]


def refit(sdk: Any, engine: Any, logger: Any, graph: OnnxGraph) -> None:
    """Fill an engine that is open. Raises `EngineError` saying which weights are missing, and what to do.

    The engine's key names the graph's hash, so the weights are the ones that it was built with.
    """
    if not hasattr(sdk, "OnnxParserRefitter"):
        raise _cannot(graph, f"{sdk.__name__} {sdk.__version__} has no refitter that reads ONNX")
    refitter = sdk.Refitter(engine, logger)
    parser = sdk.OnnxParserRefitter(refitter, logger)
    given = (graph.proto,) if graph.folder is None else (graph.proto, os.fspath(graph.folder / "graph.onnx"))
    if not parser.refit_from_bytes(*given):
        said = [str(parser.get_error(index).desc()) for index in range(parser.num_errors)]
        raise _cannot(graph, "; ".join(said[:3]) or "the vendor gave no reason")
    missing = list(refitter.get_missing_weights())
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise _cannot(graph, f"weights that the graph does not have: {', '.join(missing[:3])}{more}")
    if not refitter.refit_cuda_engine():
        raise _cannot(graph, "the vendor gave no reason")


def _cannot(graph: OnnxGraph, found: str) -> EngineError:
    part = "" if graph.origin is None else graph.origin.part
    return EngineError(
        f"The stripped engine of part {part} cannot be given its weights", found=found,
        fix=f"Build it with its weights inside: chiasm compile BUNDLE --part {part}, without --strip",
    )  # fmt: skip
