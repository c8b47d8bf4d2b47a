"""A graph and its weights while an export works on them: the graph small, the weights arrays, often lying in files.

A protobuf cannot be larger than 2 GB, and copying one copies every weight in it. So a `Model` keeps them apart: what
edits a graph shares the arrays and makes new ones only for what it changes. Types, shapes and validity are inferred on
a skeleton in which large weights are inputs of their type and shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..runtime.errors import ExportError, MissingExtraError
from ..runtime.values import Array, OnnxGraph, TensorSpec

try:
    import onnx
    from onnx import helper, numpy_helper, shape_inference
except ModuleNotFoundError as missing:  # pragma: no cover - exercised in a bare environment
    raise MissingExtraError("onnx", "export", "Exporting") from missing

__all__ = [
    "Mapped", "Model", "Place", "as_model", "check", "in_place", "infer", "mapped", "parse", "refer", "serialise",
    "specs",
]  # fmt: skip

_NUMPY = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.INT64: "int64"}
_KNOWN = 4096
"""Bytes; weights up to this size are given to shape inference as they are, since they may be shapes."""
_LARGEST = 2**31 - 2**20
"""Bytes of a whole graph; protobuf's limit is 2 GiB."""


@dataclass(frozen=True)
class Place:
    """Where a weight lies: a file by its plain name, in `folder`."""

    folder: Path
    file: str
    offset: int


class Mapped(np.ndarray):
    """A weight that lies in a file, mapped. What is computed or cut from it has no place and is an array like any."""

    place: Place | None = None

    def __array_finalize__(self, made_from: object) -> None:
        self.place = None


def mapped(data: Array, place: Place, dtype: Any, shape: tuple[int, ...]) -> Mapped:
    """The weight at `place` of the file whose mapped bytes are `data` (uint8)."""
    size = np.dtype(dtype).itemsize * math.prod(shape)
    value: Mapped = data[place.offset : place.offset + size].view(dtype).reshape(shape).view(Mapped)
    value.place = place
    return value


@dataclass(frozen=True)
class Model:
    """`proto`: a ModelProto without initialisers, never changed; `weights`: initialisers by name, in order of use."""

    proto: Any
    weights: Mapping[str, Array]

    @property
    def graph(self) -> Any:
        """The GraphProto: nodes, inputs and outputs."""
        return self.proto.graph

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(value.nbytes for value in self.weights.values())


def as_model(model: Any) -> Model:
    """A `Model`, also from a ModelProto, which stays as it is."""
    if isinstance(model, Model):
        return model
    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    del proto.graph.initializer[:]
    return Model(proto, weights)


def parse(graph: OnnxGraph | bytes) -> Model:
    """An ONNX graph opened for editing, its outside weights mapped. Raises `ExportError`."""
    if isinstance(graph, bytes):
        graph = OnnxGraph(graph)
    proto = onnx.ModelProto()
    files: dict[str, Array] = {}
    try:
        proto.ParseFromString(graph.proto)
        weights = {each.name: _value(each, graph.folder, files) for each in proto.graph.initializer}
    except ExportError:
        raise
    except Exception as error:  # protobuf's DecodeError has no stable home
        raise ExportError("A graph cannot be read as ONNX", found=str(error)) from error
    del proto.graph.initializer[:]
    return Model(proto, weights)


def _value(tensor: Any, folder: Path | None, files: dict[str, Array]) -> Array:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return np.asarray(numpy_helper.to_array(tensor))
    if folder is None:
        raise ExportError("A graph has weights in other files", fix="Open it with the folder in which they lie.")
    facts = {each.key: each.value for each in tensor.external_data}
    file = facts["location"]
    if file not in files:
        files[file] = np.memmap(folder / file, np.uint8, "r")
    place = Place(folder, file, int(facts.get("offset", "0")))
    return mapped(files[file], place, helper.tensor_dtype_to_np_dtype(tensor.data_type), tuple(tensor.dims))


def serialise(model: Any) -> bytes:
    """The whole graph as bytes, the same for the same model. Raises `ExportError` where protobuf cannot hold it."""
    return refer(model, {})


def refer(model: Any, places: Mapping[str, Place]) -> bytes:
    """The graph as bytes, in which weights named in `places` are references to files and all others lie inside."""
    model = as_model(model)
    inside = sum(value.nbytes for name, value in model.weights.items() if name not in places)
    if inside > _LARGEST:
        raise ExportError("A graph is too large for one piece", found=f"{inside} bytes", expected=f"≤ {_LARGEST}")
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for name, value in model.weights.items():
        if name in places:
            proto.graph.initializer.append(_reference(name, value, places[name]))
        else:
            proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return bytes(proto.SerializeToString(deterministic=True))


def in_place(model: Model, folder: Path | None) -> OnnxGraph:
    """The graph with the weights of `folder` left where they are, and all others inside."""
    places = {
        name: value.place
        for name, value in model.weights.items()
        if isinstance(value, Mapped) and value.place is not None and value.place.folder == folder
    }
    outside = sum(model.weights[name].nbytes for name in places)
    return OnnxGraph(refer(model, places), folder if places else None, outside)


def _reference(name: str, value: Array, place: Place) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=value.shape, data_location=onnx.TensorProto.EXTERNAL)
    for key, fact in (("location", place.file), ("offset", place.offset), ("length", value.nbytes)):
        tensor.external_data.add(key=key, value=str(fact))
    return tensor


def _skeleton(model: Model) -> Any:
    """A ModelProto with small weights only; the large ones are further inputs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    for name, value in model.weights.items():
        if value.nbytes <= _KNOWN:
            proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        else:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            proto.graph.input.append(helper.make_tensor_value_info(name, kind, value.shape))
    return proto


def infer(model: Any, *, strict: bool = True) -> dict[str, tuple[int, tuple[int, ...]]]:
    """(ONNX element type, shape) of every tensor, by shape inference; 0 stands for a size that is not static."""
    model = as_model(model)
    graph = shape_inference.infer_shapes(_skeleton(model), strict_mode=strict).graph
    found = {each.name: _type(each) for each in (*graph.input, *graph.output, *graph.value_info)}
    return found | {each.name: (each.data_type, tuple(each.dims)) for each in graph.initializer}


def _type(value: Any) -> tuple[int, tuple[int, ...]]:
    tensor = value.type.tensor_type
    return tensor.elem_type, tuple(each.dim_value if each.HasField("dim_value") else 0 for each in tensor.shape.dim)


def check(model: Any, part: str) -> None:
    """Run the ONNX checker and strict shape inference. Raises `ExportError`."""
    try:
        onnx.checker.check_model(_skeleton(as_model(model)), full_check=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        raise ExportError(f"The graph of {part!r} is not valid ONNX", found=str(error).splitlines()[0]) from error


def specs(model: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs with static shapes. Raises `ExportError` for a dynamic one."""
    model = as_model(model)
    found = infer(model, strict=False)
    inputs, outputs = ([_spec(each.name, found) for each in side] for side in (model.graph.input, model.graph.output))
    return tuple(inputs), tuple(outputs)


def _spec(name: str, found: Mapping[str, tuple[int, tuple[int, ...]]]) -> TensorSpec:
    kind, shape = found[name]
    if kind not in _NUMPY or min(shape, default=1) < 1:
        raise ExportError(f"Tensor {name!r} has no static shape or an unusual type", found=f"{shape}")
    return msgspec.convert({"name": name, "dtype": _NUMPY[kind], "shape": shape}, TensorSpec)
