"""A text encoder computes the tokens that are there, not what fills them up to the length of its input.

Inputs and outputs keep their sizes. Inside, the ids and the mask are cut after the last token (after the end token,
where a causal model has no mask), and so is every constant with a value for each place. That is done only where it can
be shown that nothing of what is cut off counts: keys are blocked before each softmax, by the mask or by causality, and
what leads out of the sequence reads a token that is there, or sums what the mask has made zero. Sizes within the graph
then hang on the data, which TensorRT does not take: this is for graphs that ONNX Runtime opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graphs import Graph
from ._match import ONE_BY_ONE, View, attribute, is_mark, same_axis, whole

__all__ = ["cut_padding"]

_BLOCKS = -9999.0
"""Added to a score before the softmax, this leaves nothing of it in FP32."""
_PAIRS = frozenset(["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Equal"])
_ALIKE = ONE_BY_ONE | {"Clip", "Cast"}
_PRODUCTS = frozenset(["MatMul", "MatMulInteger", "Gemm"])

Places = dict[int, str]
"""Axis that has a value for each token → what the values are that are cut off: `zero`, `one`, `blocked`, or `any`."""


class _No(Exception):
    """It cannot be shown that the padding does not count."""


def cut_padding(graph: Graph) -> int:
    """Cut ids and mask after the last token. Returns how many products with a weight became shorter, 0 for none."""
    if "ids" not in graph.inputs:
        return 0
    view = View(graph)
    size = view.shapes["ids"]
    if len(size) != 2 or size[1] < 2:
        return 0
    walk = _Walk(graph, view, size[1])
    try:
        walk.run()
    except _No:
        return 0
    if walk.products:
        walk.apply()
    return walk.products


@dataclass
class _Walk:
    """`places`: of tensors that are cut; `cuts`: (node, slot) → axes at which a whole tensor has to be cut to fit;
    `shapes`: reshape → its new shape. `apart`: nodes that find the end of the text, which read all of it."""

    graph: Graph
    view: View
    size: int
    places: dict[str, Places] = field(default_factory=dict)
    cuts: dict[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    apart: set[str] = field(default_factory=set)
    end: str | None = None
    products: int = 0

    def run(self) -> None:
        """Follow what is cut through the graph; `_No` where it counts."""
        self.places["ids"] = {1: "any"}
        if "mask" in self.graph.inputs:
            self.places["mask"] = {1: "zero"}
        else:
            self._find_end()
        for node in self.graph.nodes:
            if node.name not in self.apart and any(name in self.places for name in node.input):
                made = self._follow(node)
                if made:
                    several = node.output if node.op_type == "Split" else node.output[:1]
                    self.places |= {name: dict(made) for name in several}
        if any(name in self.places for name in self.graph.outputs):
            raise _No

    def _find_end(self) -> None:
        """The `ArgMax` over the ids that says where the text ends, with what leads to it."""
        for node in self.graph.nodes:
            if node.op_type == "ArgMax" and np.prod(self.view.shapes.get(node.output[0], (0,))) == 1:
                names, stack = {node.name}, list(node.input)
                while stack:
                    maker = self.view.makers.get(stack.pop())
                    if maker is not None and maker.name not in names:
                        names.add(maker.name)
                        stack.extend(maker.input)
                self.apart, self.end = names, node.output[0]
                return
        raise _No

    def _follow(self, node: Any) -> Places:
        """What is cut of a node's first output."""
        places = [self.places.get(name, {}) for name in node.input]
        made = self.view.shapes.get(node.output[0], ())
        if node.op_type in _PAIRS:
            return self._pair(node, places, len(made))
        if node.op_type in _PRODUCTS and not attribute(node, "transA", 0):
            return self._product(node, places)
        if any(places[1:]) and node.op_type != "Gather":
            raise _No
        first = places[0]
        if node.op_type in _ALIKE:
            return first if node.op_type == "Cast" else dict.fromkeys(first, "any")
        if node.op_type == "DynamicQuantizeLinear":
            return dict.fromkeys(first, "any")
        if node.op_type in ("LayerNormalization", "Softmax", "Split"):
            return self._along(node, first, len(made))
        if node.op_type == "Transpose":
            order = attribute(node, "perm")
            return {order.index(axis): each for axis, each in first.items()}
        if node.op_type in ("Reshape", "Unsqueeze", "Squeeze"):
            return self._reshaped(node, first, made)
        return self._gathered(node, places) if node.op_type == "Gather" else self._out(node, first)

    def _pair(self, node: Any, places: list[Places], rank: int) -> Places:
        """Two tensors value by value; one that has a value for each token, and is whole, is cut to fit."""
        shifts = [rank - len(self.view.shapes[name]) for name in node.input]
        axes = sorted({axis + shift for each, shift in zip(places, shifts, strict=True) for axis in each})
        seen: list[Places] = []
        for slot, (name, each, shift) in enumerate(zip(node.input, places, shifts, strict=True)):
            shape = self.view.shapes[name]
            mine = [axis - shift for axis in axes if axis >= shift and shape[axis - shift] == self.size]
            seen.append({axis + shift: kind for axis, kind in self._fitted(node, slot, each, mine).items()})
        return {axis: _joined(node, [each.get(axis) for each in seen], self.graph.constants) for axis in axes}

    def _fitted(self, node: Any, slot: int, places: Places, axes: list[int]) -> Places:
        """The places of an input once it is cut at `axes`."""
        lacking = tuple(axis for axis in axes if axis not in places)
        if not lacking:
            return places
        name = node.input[slot]
        self.cuts[node.name, slot] = lacking
        kinds = dict.fromkeys(lacking, "zero" if is_mark(self.view, name) else "any")
        keys = len(self.view.shapes[name]) - 1
        if keys in lacking and (self._causal(name, keys - 1 in lacking) or self._row_of_causal(name)):
            kinds[keys] = "blocked"
        return places | kinds

    def _causal(self, name: str, square: bool = True) -> bool:
        """Whether a constant (…, S, S) blocks every key after its query."""
        value = self.graph.constants.get(name)
        if not square or value is None or value.dtype != np.float32 or value.shape[-2:] != (self.size, self.size):
            return False
        return bool((value[..., np.triu(np.ones(value.shape[-2:], bool), 1)] <= _BLOCKS).all())

    def _row_of_causal(self, name: str) -> bool:
        """Whether a tensor is the row of such a constant that belongs to the token at the end."""
        node = self.view.makers.get(name)
        if node is None or node.op_type != "MatMul":
            return False
        return is_mark(self.view, node.input[0]) and self._causal(node.input[1])

    def _product(self, node: Any, places: list[Places]) -> Places:
        """Rows stay rows; what is summed over may only be cut where one side is zero."""
        (left, right), ranks = places[:2], [len(self.view.shapes[name]) for name in node.input[:2]]
        inner, outer = ranks[0] - 1, ranks[1] - 2
        if inner in left or outer in right:
            left = self._fitted(node, 0, left, [inner])
            right = self._fitted(node, 1, right, [outer])
            if "zero" not in (left[inner], right[outer]):
                raise _No
        rank = max(ranks)
        made = {axis + rank - ranks[0]: "any" for axis in left if axis != inner}
        made |= {axis + rank - ranks[1]: "any" for axis in right if axis != outer}
        self.products += bool(made) and node.input[1] in self.graph.constants
        return made

    def _along(self, node: Any, places: Places, rank: int) -> Places:
        """Something along the last axis: of the tokens only a softmax, whose keys are blocked."""
        axis = attribute(node, "axis", 0 if node.op_type == "Split" else -1) % rank
        if axis != rank - 1:
            raise _No
        made = dict.fromkeys(places, "any")
        if axis in places:
            if node.op_type != "Softmax" or places[axis] != "blocked":
                raise _No
            made[axis] = "zero"
        return made

    def _reshaped(self, node: Any, places: Places, made: tuple[int, ...]) -> Places:
        before = self.view.shapes[node.input[0]]
        found = {axis: same_axis(made, before, axis) for axis in places}
        if None in found.values() or (node.op_type == "Reshape" and len(places) != 1):
            raise _No
        if node.op_type == "Reshape":
            self.shapes[node.name] = [-1 if axis in found.values() else size for axis, size in enumerate(made)]
        return {int(found[axis] or 0): kind for axis, kind in places.items()}

    def _gathered(self, node: Any, places: list[Places]) -> Places:
        """A look-up of every token; or the first token, which is always there."""
        axis = attribute(node, "axis", 0)
        if places[1] and not places[0]:
            return {axis + each: "any" for each in places[1]}
        index = self.view.number(node.input[1])
        if places[1] or index is None or (axis in places[0] and list(index) != [0]):
            raise _No
        lost = 1 - len(self.view.shapes[node.input[1]])
        return {at - lost * (at > axis): kind for at, kind in places[0].items() if at != axis}

    def _out(self, node: Any, places: Places) -> Places:
        """Sums and maxima over the tokens, or over something else."""
        axes = self.view.number(node.input[1]) if len(node.input) > 1 else [attribute(node, "axis", 0)]
        needed = {"ReduceSum": "zero", "ReduceMax": "blocked", "ArgMax": "zero"}.get(node.op_type)
        rank = len(self.view.shapes[node.input[0]])
        gone = {axis % rank for axis in axes or ()}
        kept = {axis: kind for axis, kind in places.items() if axis not in gone}
        if attribute(node, "keepdims", 1) and not gone & places.keys() and node.op_type.startswith("Reduce"):
            return dict.fromkeys(kept, "any")
        if needed is None or kept or any(places[axis] != needed for axis in gone & places.keys()):
            raise _No
        if node.op_type == "ArgMax" and not self._counts(node.input[0]):
            raise _No
        return {}

    def _counts(self, name: str) -> bool:
        """Whether a tensor is the mask times numbers from 0 on: the zeros of padding are never its first maximum."""
        node = self.view.makers.get(name)
        if node is None or node.op_type != "Mul" or "mask" not in node.input:
            return False
        return any(min(self.view.number(each) or [-1]) >= 0 for each in node.input)

    def apply(self) -> None:
        """Cut: ids, mask, constants; and let reshapes follow."""
        count, known = self._count(), {}
        nothing = self.graph.constant("cut.start", whole(0))

        def cut(name: str, axes: tuple[int, ...]) -> str:
            if (name, axes) not in known:
                at = self.graph.constant(f"{name}.axes", whole(*axes))
                start, end = nothing, count
                if len(axes) > 1:
                    start = self.graph.constant("cut.starts", whole(*[0] * len(axes)))
                    both = self.graph.node("Concat", [count] * len(axes), f"{name}.ends", axis=0)
                    self.graph.nodes.append(both)
                    end = both.output[0]
                made = self.graph.node("Slice", [name, start, end, at], f"{name}.cut")
                self.graph.nodes.append(made)
                known[name, axes] = made.output[0]
            return str(known[name, axes])

        for node in list(self.graph.nodes):
            if node.name in self.shapes:
                node.input[1] = self.graph.constant(f"{node.name}.shape", whole(*self.shapes[node.name]))
            for slot, name in enumerate(node.input):
                if (node.name, slot) in self.cuts:
                    node.input[slot] = cut(name, self.cuts[node.name, slot])
                elif name in ("ids", "mask") and node.name not in self.apart and node.name in self._old:
                    node.input[slot] = cut(name, (1,))

    def _count(self) -> str:
        """The number of tokens to keep, at least one, as a vector of one."""
        self._old = {node.name for node in self.graph.nodes}
        one = self.graph.constant("one", whole(1))
        if self.end is not None:
            steps = [("Reshape", [self.end, one]), ("Add", ["", one])]
        else:
            places = self.graph.constant("place", np.arange(1, self.size + 1, dtype=np.int64)[None])
            axis = self.graph.constant("cut.axis", whole(1))
            steps = [("Mul", ["mask", places]), ("ReduceMax", ["", axis]), ("Reshape", ["", one]), ("Max", ["", one])]
        name = ""
        for operator, inputs in steps:
            made = self.graph.node(operator, [each or name for each in inputs], f"count.{operator.lower()}")
            self.graph.nodes.append(made)
            name = str(made.output[0])
            self._old.discard(made.name)
        return name


def _joined(node: Any, kinds: list[str | None], constants: Mapping[str, Any]) -> str:
    """What is cut off of the result of two values. A side without that axis, or a constant, may be anything finite."""
    if node.op_type == "Mul" and "zero" in kinds:
        return "zero"
    if node.op_type == "Add" and "blocked" in kinds:
        return "blocked"
    other = [constants.get(name) for name in node.input]
    if node.op_type == "Sub" and kinds == [None, "zero"] and other[0] is not None and (other[0] == 1).all():
        return "one"
    if node.op_type == "Mul" and "one" in kinds:
        factor = other[1 - kinds.index("one")]
        return "blocked" if factor is not None and (factor <= _BLOCKS).all() else "any"
    return "any"
