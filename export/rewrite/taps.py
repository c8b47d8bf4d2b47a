"""A convolution reads no more padding than it must.

Of a kernel as long as its input, as the position embedding of wav2vec 2.0 has (128 places, over the 49 states of one
second), many taps meet nothing but padding: they go, and the padding with them. What a slice behind a convolution drops
is not computed in the first place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..graphs import Graph
from ._match import View, assign, attribute

__all__ = ["drop_taps"]


def drop_taps(graph: Graph) -> int:
    """Slices go into the convolutions before them, taps that meet padding only go. Returns how many were changed."""
    view = View(graph)
    return sum([_change(graph, view, node) for node in list(graph.nodes) if node.op_type == "Conv"])


@dataclass(frozen=True)
class _Axis:
    """One axis of a convolution: sizes of input and output, padding, the taps from `first` up to `end`."""

    size: int
    made: int
    stride: int
    dilation: int
    front: int
    behind: int
    first: int
    end: int

    def cut(self, start: int, end: int) -> _Axis:
        """Compute the results from `start` to `end` only. Where padding would have to be negative, it is."""
        front, behind = self.front - start * self.stride, self.behind - (self.made - end) * self.stride
        return replace(self, made=end - start, front=front, behind=behind)

    def narrow(self) -> _Axis:
        """Drop taps from both ends as long as they read padding for every result: result o and tap k read the input at
        o·stride + k·dilation − front.
        """
        step, taps, front, behind = self.dilation, self.end - self.first, self.front, self.behind
        first = end = 0
        while taps > 1 and front >= step and (self.made - 1) * self.stride - front < 0:
            front, taps, first = front - step, taps - 1, first + 1
        while taps > 1 and behind >= step and (taps - 1) * step - front >= self.size:
            behind, taps, end = behind - step, taps - 1, end + 1
        return replace(self, front=front, behind=behind, first=self.first + first, end=self.end - end)


def _change(graph: Graph, view: View, node: Any) -> bool:
    axes = _axes(view, node)
    if axes is None:
        return False
    reader = view.reader(node.output[0])
    shorter = _cut(view, reader, axes) if reader is not None and reader.op_type == "Slice" else None
    narrow = [axis.narrow() for axis in shorter or axes]
    if narrow == axes and shorter is None:
        return False
    kept = (slice(None), slice(None), *(slice(axis.first, axis.end) for axis in narrow))
    node.input[1] = graph.constant(f"{node.name}.taps", graph.constants[node.input[1]][kept])
    pads = [*(axis.front for axis in narrow), *(axis.behind for axis in narrow)]
    assign(node, pads=pads, kernel_shape=[axis.end - axis.first for axis in narrow])
    if shorter is not None:
        node.output[0] = reader.output[0]
        graph.nodes = [each for each in graph.nodes if each is not reader]
    return True


def _axes(view: View, node: Any) -> list[_Axis] | None:
    """The axes of a convolution with a constant weight, of static size; None for any other."""
    weight = view.graph.constants.get(node.input[1])
    size, made = (view.shapes.get(name, ())[2:] for name in (node.input[0], node.output[0]))
    plain = attribute(node, "auto_pad", b"NOTSET") in (b"NOTSET", b"")
    if weight is None or not plain or not size or 0 in (*size, *made) or len(size) != len(made):
        return None
    count = len(size)
    pads = attribute(node, "pads", [0] * 2 * count)
    steps, apart = (attribute(node, name, [1] * count) for name in ("strides", "dilations"))
    return [
        _Axis(size[at], made[at], steps[at], apart[at], pads[at], pads[at + count], 0, weight.shape[2 + at])
        for at in range(count)
    ]


def _cut(view: View, node: Any, axes: list[_Axis]) -> list[_Axis] | None:
    """The axes of a convolution that makes no more than a slice keeps; None where it cannot, or is not known to."""
    given = [view.number(name) for name in node.input[1:]]
    if None in given or len(given) < 2:
        return None
    starts, ends, *more = [list(each) for each in given if each is not None]
    rank = len(axes) + 2
    places = [each % rank for each in (more[0] if more else range(len(starts)))]
    if any(step != 1 for step in more[1:2] and more[1]) or min(places) < 2:
        return None
    made = list(axes)
    for place, start, end in zip(places, starts, ends, strict=True):
        size = made[place - 2].made
        low, high = (int(np.clip(each + size if each < 0 else each, 0, size)) for each in (start, end))
        made[place - 2] = made[place - 2].cut(low, high)
    return made if all(axis.made > 0 and min(axis.front, axis.behind) >= 0 for axis in made) else None
