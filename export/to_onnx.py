"""torch → ONNX: one clean FP32 graph per part, with static shapes and nothing in it that is not needed.

The dynamo exporter and its optimiser trace, fold constants and fold batch normalisation into convolutions. What is
left to do here: names as the manifest promises, no traces of the machine that exported (paths, stack traces),
deterministic bytes, and the rewrites that every variant gets (`rewrite`).
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.errors import ExportError, MissingExtraError
from ..runtime.values import Array
from .graphs import Graph
from .interfaces import Interface, example
from .model import Model, check
from .rewrite import for_all
from .settings import OPSET

if TYPE_CHECKING:
    import torch

__all__ = ["run_torch", "to_onnx"]


def run_torch(module: torch.nn.Module, interface: Interface, feeds: dict[str, Array]) -> dict[str, Array]:
    """Run the module itself on named feeds; named outputs. Any batch size that the module takes."""
    import torch

    with torch.inference_mode():
        made = module(*(torch.from_numpy(feeds[spec.name]) for spec in interface.inputs))
    made = (made,) if isinstance(made, torch.Tensor) else tuple(made)
    _check_count(interface, len(made))
    return {name: value.numpy() for name, value in zip(interface.outputs, made, strict=True)}


def _check_count(interface: Interface, count: int) -> None:
    if count != len(interface.outputs):
        raise ExportError(
            f"A {interface.role} module returns the wrong number of tensors",
            found=count,
            expected=f"{len(interface.outputs)} ({', '.join(interface.outputs)})",
        )


def to_onnx(module: torch.nn.Module, interface: Interface, part: str, opset: int = OPSET) -> Model:
    """Export one part in FP32 with batch 1. Raises `ExportError`.

    The weights are the module's own memory, so the module must not be changed while the model is used.
    """
    try:
        import onnxscript  # noqa: F401
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "export", "Exporting") from error
    feeds = example(interface.inputs)
    _check_count(interface, len(run_torch(module, interface, feeds)))
    arguments = tuple(torch.from_numpy(feeds[spec.name]) for spec in interface.inputs)
    with _quiet():
        try:
            program = torch.onnx.export(
                module.eval(),
                arguments,
                dynamo=True,
                optimize=True,
                verbose=False,
                opset_version=opset,
                input_names=[f"in_{spec.name}" for spec in interface.inputs],
                output_names=[f"out_{name}" for name in interface.outputs],
            )
        except Exception as error:  # the exporter raises many kinds; its first line says which operator
            raise ExportError(f"torch could not export {part!r}", found=str(error).splitlines()[0]) from error
    assert program is not None
    model, _ = for_all(_clean(_take(program), interface, part))
    check(model, part)
    return model


def _take(program: Any) -> Model:
    """The exported graph and its weights apart; the program is used up. Whole, it could be too large for protobuf."""
    import onnx_ir

    held = program.model.graph.initializers
    weights = {name: np.asarray(value.const_value.numpy()) for name, value in held.items()}
    for name in list(held):
        del held[name]
    return Model(onnx_ir.serde.serialize_model(program.model), weights)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports optional packages and deprecations that a user can do nothing about."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _clean(model: Model, interface: Interface, part: str) -> Model:
    """Give inputs, outputs and nodes short names of our own; drop metadata; keep what the outputs need."""
    graph = Graph(model)
    names = {f"in_{spec.name}": spec.name for spec in interface.inputs}
    names |= {f"out_{name}": name for name in interface.outputs}
    if set(names) != set(graph.inputs) | set(graph.outputs):
        raise ExportError(
            f"The exported graph of {part!r} does not have the promised inputs and outputs",
            found=", ".join(graph.inputs + graph.outputs),
            expected=", ".join(names),
        )
    taken = set(names.values())
    _number(graph, names, taken)
    _rename(graph, names)
    graph.fold()
    clean = graph.save()
    _strip(clean.proto, part)
    return clean


def _number(graph: Graph, names: dict[str, str], taken: set[str]) -> None:
    """Names for all other tensors: `<operator>_<n>` for results; initialisers keep theirs unless it is taken.

    The optimiser calls what it folds after the operator that made it, so that a result can want an initialiser's name.
    """
    for name in graph.constants:
        names[name] = name if name not in taken else f"{name}.value"
        taken.add(names[name])
    for index, node in enumerate(graph.nodes):
        for slot, name in enumerate(node.output):
            if name and name not in names:
                own = f"{node.op_type.lower()}_{index}" + (f"_{slot}" if slot else "")
                names[name] = own if own not in taken else f"{own}.made"
                taken.add(names[name])


def _rename(graph: Graph, names: dict[str, str]) -> None:
    for index, node in enumerate(graph.nodes):
        node.name = f"{node.op_type.lower()}_{index}"
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    graph.constants = {names[name]: value for name, value in graph.constants.items()}
    for value in (*graph.proto.graph.input, *graph.proto.graph.output):
        value.name = names[value.name]
    graph.inputs = [names[name] for name in graph.inputs]
    graph.outputs = [names[name] for name in graph.outputs]


def _strip(model: Any, part: str) -> None:
    """Remove everything that describes the exporting machine rather than the computation, from a ModelProto."""
    del model.metadata_props[:], model.functions[:], model.graph.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = "chiasm", "", ""
    model.graph.name, model.graph.doc_string = part, ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        value.doc_string = ""
