"""Rewritten graphs give what they gave before; each rewrite fires on the families it is for and leaves others alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the export package's extra")
pytest.importorskip("transformers", reason="reading a checkpoint needs it")

from chiasm.bench.zoo import pairs, text
from chiasm.export import to_onnx
from chiasm.export.families import Ask, family_of
from chiasm.export.graphs import Graph, check, serialise
from chiasm.export.hub import HubFolder
from chiasm.export.interfaces import encoder
from chiasm.export.model import Model, as_model
from chiasm.export.quantise import candidates, dynamic_int8
from chiasm.export.rewrite import for_all, for_cpu, without_padding
from chiasm.export.rewrite.affine import fold_affine
from chiasm.export.rewrite.padding import cut_padding
from chiasm.export.rewrite.patches import patches_as_products
from chiasm.export.rewrite.reading import read_tokens_only
from chiasm.export.sessions import Runner
from chiasm.runtime.onnx_graph import read_graph
from chiasm.runtime.planning.infer import infer
from chiasm.runtime.values import Array
from graphs import model, normal

LENGTH = 16
Traced = Callable[[str, str, str], Model]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """Zoo model, kind, output → the tiny tower's graph as it is traced, before any rewrite."""

    @cache
    def folder(name: str) -> HubFolder:
        place = tmp_path_factory.mktemp(name) / name
        (pairs.MODELS | text.MODELS)[name].make(place, "tiny")
        return HubFolder(place)

    @cache
    def made(name: str, kind: Any, output: str) -> Model:
        hub = folder(name)
        ask = Ask(kind, kind, output, length=LENGTH if kind == "text" else None)
        tower = family_of(hub)[1].load(hub, ask)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(to_onnx, "for_all", lambda given: (given, {}))
            return to_onnx.to_onnx(tower.module, encoder(tower.modality), "part")

    return made


def _same(before: Any, after: Any, feeds: list[dict[str, Array]]) -> None:
    check(after, "part")
    first, second = Runner(serialise(before)), Runner(serialise(after))
    assert second.inputs == first.inputs
    assert second.outputs == first.outputs
    for feed in feeds:
        known = first(feed)
        for name, value in second(feed).items():
            assert value.shape == known[name].shape
            np.testing.assert_allclose(value, known[name], rtol=1e-4, atol=1e-5 * np.abs(known[name]).max())


def _rewritten(whole: Any, rewrite: Callable[[Graph], int]) -> tuple[Model, int]:
    graph = Graph(whole)
    count = rewrite(graph)
    return graph.save(), count


def _kinds(whole: Any) -> list[str]:
    return [node.op_type for node in whole.graph.node]


def _texts(end: int, *lengths: int) -> list[dict[str, Array]]:
    """Ids whose token `end` is the last that counts, and their mask."""
    random = np.random.default_rng(0)
    made = []
    for count in lengths:
        ids = random.integers(3, 40, (1, LENGTH))
        ids[0, count - 1] = end
        made.append({"ids": ids, "mask": (np.arange(LENGTH) < count).astype(np.int64)[None]})
    return made


def _end_of(whole: Model) -> int:
    """The number of CLIP's end token, which the graph compares the ids with."""
    node = next(each for each in whole.graph.node if each.op_type == "Equal" and each.input[0] == "ids")
    return int(whole.weights[node.input[1]])


# the token that is read


def test_the_last_block_of_a_vision_transformer_computes_the_class_token(traced: Traced) -> None:
    """Queries, projection and both layers of the feed-forward: four products; keys and values stay whole."""
    whole = traced("clip", "image", "pooled")
    made, count = _rewritten(whole, read_tokens_only)
    assert count == 4
    assert _kinds(made).count("MatMul") == _kinds(whole).count("MatMul")
    _same(whole, made, [{"pixels": normal(seed, 1, 3, 32, 32)} for seed in range(2)])


def test_the_last_block_of_a_text_tower_computes_the_end_token(traced: Traced) -> None:
    whole = traced("clip", "text", "pooled")
    made, count = _rewritten(whole, read_tokens_only)
    assert count == 4
    _same(whole, made, _texts(_end_of(whole), 2, 9, LENGTH))


def test_states_that_are_all_read_stay(traced: Traced) -> None:
    assert _rewritten(traced("bert", "text", "mean"), read_tokens_only)[1] == 0


def test_a_row_that_a_normalisation_mixes_is_not_taken_alone() -> None:
    """The softmax goes along the very axis that is read at one place."""
    lines = [("MatMul", "x w", "m"), ("Softmax", "m", "s", {"axis": 1}), ("Gather", "s i", "y", {"axis": 1})]
    whole = model(lines, {"w": normal(1, 8, 8), "i": np.array(0)}, {"x": (1, 4, 8)}, {"y": (1, 8)})
    assert _rewritten(whole, read_tokens_only)[1] == 0


# patches


@pytest.mark.parametrize("bias", [False, True])
def test_patches_as_products(bias: bool) -> None:
    lines = [
        ("Conv", "x w b" if bias else "x w", "c", {"strides": [4, 2], "kernel_shape": [4, 2]}),
        ("Reshape", "c flat", "r"), ("Transpose", "r", "t", {"perm": [0, 2, 1]}), ("Relu", "t", "y"),
    ]  # fmt: skip
    constants = {"w": normal(1, 6, 3, 4, 2), "b": normal(2, 6), "flat": np.array([1, 6, 12])}
    whole = model(lines, constants, {"x": (1, 3, 8, 12)}, {"y": (1, 12, 6)})
    made, count = _rewritten(whole, patches_as_products)
    assert count == 1
    assert "Conv" not in _kinds(made)
    assert _kinds(made).count("MatMul") == 1
    _same(whole, made, [{"x": normal(3, 1, 3, 8, 12)}])


@pytest.mark.parametrize(
    "given", [{"strides": [2, 2]}, {"strides": [4, 4], "pads": [0, 0, 4, 0]}, {"strides": [4, 4], "group": 3}]
)
def test_windows_that_overlap_or_reach_out_stay_convolutions(given: dict[str, Any]) -> None:
    weight = normal(1, 6, 1 if "group" in given else 3, 4, 4)
    rows = {"strides": 9, "pads": 6, "group": 4}[list(given)[-1]]
    lines = [("Conv", "x w", "c", given), ("Reshape", "c flat", "r"), ("Transpose", "r", "y", {"perm": [0, 2, 1]})]
    whole = model(lines, {"w": weight, "flat": np.array([1, 6, rows])}, {"x": (1, 3, 8, 8)}, {"y": (1, rows, 6)})
    assert Runner(serialise(whole))({"x": normal(2, 1, 3, 8, 8)})["y"].shape == (1, rows, 6)
    assert _rewritten(whole, patches_as_products)[1] == 0


def test_a_map_that_stays_a_map_stays_a_convolution() -> None:
    lines = [("Conv", "x w", "c", {"strides": [4, 4]}), ("Relu", "c", "y")]
    whole = model(lines, {"w": normal(1, 6, 3, 4, 4)}, {"x": (1, 3, 8, 8)}, {"y": (1, 6, 2, 2)})
    assert _rewritten(whole, patches_as_products)[1] == 0


def test_a_scale_and_a_shift_go_into_the_normalisation() -> None:
    lines = [
        ("InstanceNormalization", "x one zero", "n"), ("Mul", "n g", "m"), ("Add", "m b", "a"), ("Relu", "a", "y"),
    ]  # fmt: skip
    constants = {"one": normal(1, 5), "zero": normal(2, 5), "g": normal(3, 5, 1), "b": normal(4, 1, 5, 1)}
    whole = model(lines, constants, {"x": (1, 5, 9)}, {"y": (1, 5, 9)})
    made, count = _rewritten(whole, fold_affine)
    assert count == 2
    assert _kinds(made) == ["InstanceNormalization", "Relu"]
    _same(whole, made, [{"x": normal(5, 1, 5, 9)}])


def test_a_scale_that_differs_along_the_time_stays() -> None:
    lines = [("InstanceNormalization", "x one zero", "n"), ("Mul", "n g", "y")]
    constants = {"one": normal(1, 5), "zero": normal(2, 5), "g": normal(3, 1, 9)}
    whole = model(lines, constants, {"x": (1, 5, 9)}, {"y": (1, 5, 9)})
    assert _rewritten(whole, fold_affine)[1] == 0


# padding


@pytest.mark.parametrize("name", ["clip", "bert"])
def test_padding_is_not_computed(traced: Traced, name: str) -> None:
    """The quantised graph rounds otherwise, since padding no longer widens its ranges: it is held to FP32."""
    whole = traced(name, "text", "pooled" if name == "clip" else "mean")
    made, count = _rewritten(whole, cut_padding)
    assert count >= 8
    end = _end_of(whole) if name == "clip" else 1
    _same(whole, made, _texts(end, 1, 2, 9, LENGTH))
    quantised, again = without_padding(dynamic_int8(whole, candidates(whole, "dynamic")))
    assert again["padding"] == count
    check(quantised, "part")
    for feed in _texts(end, 2, 9):
        a, b = (Runner(serialise(each))(feed)["embedding"] for each in (whole, quantised))
        assert float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)) > 0.99


def test_a_plan_counts_the_longest_text(traced: Traced) -> None:
    whole = traced("bert", "text", "mean")
    made, _ = without_padding(whole)
    found = infer(read_graph(serialise(made)))
    assert found.complete
    known = infer(read_graph(serialise(whole))).tensors
    name = next(node.output[0] for node in whole.graph.node if node.op_type == "Softmax")
    assert found.tensors[name].shape == known[name].shape


def test_states_of_every_token_keep_their_padding() -> None:
    whole = _attending(-1e4)
    whole.graph.output[0].name = "mixed"
    whole.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 8
    whole.graph.output[0].type.tensor_type.shape.dim[1].dim_value = LENGTH
    assert _rewritten(whole, cut_padding)[1] == 0


def test_padding_behind_products_of_flat_rows_and_root_means_is_not_computed() -> None:
    """As GPT-2 (one product for three, split) and T5 (a normalisation made of small operators) have it."""
    instead = [
        ("Mul", "words words", "squares"), ("ReduceMean", "squares last", "power", {"keepdims": 1}),
        ("Sqrt", "power", "root"), ("Div", "words root", "even"), ("Reshape", "even flat", "rows"),
        ("Gemm", "rows wide bias", "both"), ("Reshape", "both deep", "pair"),
        ("Split", "pair", "seen rest", {"axis": 2, "num_outputs": 2}),
    ]  # fmt: skip
    more = {
        "last": np.array([2]), "flat": np.array([-1, 8]), "wide": normal(4, 8, 16), "bias": normal(5, 16),
        "deep": np.array([1, LENGTH, 16]),
    }  # fmt: skip
    whole = _attending(-1e4, instead, more)
    made, count = _rewritten(whole, cut_padding)
    assert count == 1
    _same(whole, made, _texts(1, 1, 5, LENGTH))


@pytest.mark.parametrize("blocked", [-1e4, -1.0])
def test_padding_that_is_attended_to_is_computed(blocked: float) -> None:
    """The same graph with a mask that blocks, and with one that only makes less likely."""
    whole = _attending(blocked)
    made, count = _rewritten(whole, cut_padding)
    assert count == (1 if blocked < -1e3 else 0)
    _same(whole, made, _texts(1, 1, 5, LENGTH))


@pytest.mark.parametrize(("numbers", "count"), [(np.arange(LENGTH), 1), (-np.arange(LENGTH), 0)])
def test_the_last_token_is_found_by_counting_upwards(numbers: Any, count: int) -> None:
    """Counted downwards, the zeros of the padding would be the maximum."""
    lines = [
        ("Gather", "table ids", "words"), ("MatMul", "words w", "seen"), ("Mul", "mask places", "counted"),
        ("ArgMax", "counted", "last", {"axis": 1, "keepdims": 1}), ("Equal", "places last", "same"),
        ("Cast", "same", "marked", {"to": 1}), ("Unsqueeze", "marked at", "mark"), ("MatMul", "mark seen", "y"),
    ]  # fmt: skip
    constants = {
        "table": normal(1, 40, 8), "w": normal(2, 8, 8), "places": numbers[None].astype(np.int64), "at": np.array([1]),
    }  # fmt: skip
    whole = model(lines, constants, {"ids": (1, LENGTH), "mask": (1, LENGTH)}, {"y": (1, 1, 8)})
    for each in whole.graph.input:
        each.type.tensor_type.elem_type = 7
    made, found = _rewritten(whole, cut_padding)
    assert found == count
    _same(whole, made, _texts(1, 1, 5, LENGTH))


def _attending(blocked: float, instead: list[Any] | None = None, more: dict[str, Any] | None = None) -> Model:
    """Words look at each other through a mask; the first is read. `instead`: of the product with a weight."""
    lines = [
        ("Gather", "table ids", "words"), *(instead or [("MatMul", "words w", "seen")]),
        ("Cast", "mask", "there", {"to": 1}),
        ("Sub", "one there", "gone"), ("Mul", "gone far", "bar"), ("Unsqueeze", "bar at", "wall"),
        ("Transpose", "words", "turned", {"perm": [0, 2, 1]}), ("MatMul", "words turned", "scores"),
        ("Add", "scores wall", "left"), ("Softmax", "left", "share"), ("MatMul", "share seen", "mixed"),
        ("Gather", "mixed first", "y", {"axis": 1}),
    ]  # fmt: skip
    constants = {
        "table": normal(1, 40, 8), "w": normal(2, 8, 8), "one": np.float32(1), "far": np.float32(blocked),
        "at": np.array([1]), "first": np.array(0), **(more or {}),
    }  # fmt: skip
    whole = model(lines, constants, {"ids": (1, LENGTH), "mask": (1, LENGTH)}, {"y": (1, 8)})
    for each in whole.graph.input:
        each.type.tensor_type.elem_type = 7
    return as_model(whole)


def test_what_every_variant_gets_and_what_cpus_get(traced: Traced) -> None:
    whole = traced("clip", "image", "pooled")
    every, first = for_all(whole)
    made, second = for_cpu(every)
    assert first == {"affine": 0, "taps": 0, "reading": 4}
    assert second == {"patches": 1, "moments": 0, "spectrum": 0, "gelu": 0}
    assert not any(for_cpu(made)[1].values())
    _same(whole, made, [{"pixels": normal(1, 1, 3, 32, 32)}])
    assert without_padding(made)[1] == {}
