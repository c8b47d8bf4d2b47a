"""Attention: two products with a softmax between, heads turned to the front before and back behind.

ONNX Runtime runs nine operations, four of which only move; ours reads the rows as they are
(kernels/csrc/ort_attention.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..onnx_graph import Node
from ._own_graph import Replacement, Searched, made

__all__ = ["attention"]

_HEADS_FIRST, _TURNED = (0, 2, 1, 3), (0, 2, 3, 1)


@dataclass(frozen=True)
class _Rows:
    """Queries, keys or values: a tensor that is read as (batch, rows, heads, depth); -1 is what follows from the
    others."""

    source: str
    batch: int
    rows: int
    heads: int
    depth: int
    nodes: tuple[Node, ...]


def attention(known: Searched, softmax: Node) -> Replacement | None:
    """An attention of ours for a Softmax; None where the nodes around it are not the expected ones."""
    if softmax.attributes.get("axis", -1) not in (-1, 3):
        return None
    found = _scores(known, softmax)
    mixed = known.read_by(softmax, "MatMul")
    back = known.read_by(mixed, "Transpose")
    if found is None or mixed is None or back is None or mixed.inputs[0] != softmax.outputs[0]:
        return None
    product, scale, mask, between = found
    queries, keys = _rows(known, product.inputs[0], _HEADS_FIRST), _rows(known, product.inputs[1], _TURNED)
    values = _rows(known, mixed.inputs[1], _HEADS_FIRST)
    if queries is None or keys is None or values is None or _perm(back) != _HEADS_FIRST:
        return None
    three = (queries, keys, values)
    heads = {each.heads for each in three if each.heads > 0} or {-1}
    if len({(each.batch, each.depth) for each in three}) > 1 or len(heads) > 1 or keys.rows != values.rows:
        return None
    nodes = [*queries.nodes, *keys.nodes, product, *between, softmax, *values.nodes, mixed, back]
    flat = known.read_by(back, "Reshape")
    if flat is None or not _joins(known, flat, queries):
        return None
    facts = {"batch": queries.batch, "queries": queries.rows, "keys": keys.rows, "heads": heads.pop()}
    inputs = [queries.source, keys.source, values.source, mask]
    return made("Attention", [*nodes, flat], inputs, {**facts, "depth": queries.depth, "scale": scale})


def _scores(known: Searched, softmax: Node) -> tuple[Node, float, str, tuple[Node, ...]] | None:
    """(the product of queries and keys, what it is multiplied with, what is added then, the nodes that do so)."""
    scores, mask, between = softmax.inputs[0], "", []
    added = known.made_by(scores, "Add")
    if added is not None:
        for one, other in (added.inputs, added.inputs[::-1]):
            if known.made_by(one, "Mul") is not None or known.made_by(one, "MatMul") is not None:
                scores, mask = one, other
                break
        between.append(added)
    scale = 1.0
    scaled = known.made_by(scores, "Mul")
    if scaled is not None:
        factors = [known.graph.weights[each] for each in scaled.inputs if each in known.graph.weights]
        if len(factors) != 1 or factors[0].value is None or factors[0].elements != 1:
            return None
        scale = float(factors[0].value.reshape(-1)[0])
        scores = next(each for each in scaled.inputs if each not in known.graph.weights)
        between.insert(0, scaled)
    product = known.made_by(scores, "MatMul")
    return None if product is None else (product, scale, mask, tuple(between))


def _rows(known: Searched, name: str, perm: tuple[int, ...]) -> _Rows | None:
    turned = known.made_by(name, "Transpose")
    shaped = None if turned is None else known.made_by(turned.inputs[0], "Reshape")
    if turned is None or shaped is None or _perm(turned) != perm:
        return None
    sizes = _sizes(known, shaped)
    if len(sizes) != 4 or sizes[0] < 1 or sizes[3] < 1 or sizes[3] % 8 or 0 in sizes or sizes.count(-1) > 1:
        return None
    return _Rows(shaped.inputs[0], *sizes, nodes=(shaped, turned))


def _joins(known: Searched, flat: Node, queries: _Rows) -> bool:
    """Whether a Reshape gives (batch, rows, heads · depth), which is what our operation gives."""
    sizes = _sizes(known, flat)
    return len(sizes) == 3 and sizes[:2] == (queries.batch, queries.rows) and sizes[2] != 0


def _sizes(known: Searched, reshape: Node) -> tuple[int, ...]:
    shape = known.graph.weights.get(reshape.inputs[1])
    return () if shape is None or shape.value is None else tuple(int(size) for size in shape.value.reshape(-1))


def _perm(node: Node) -> tuple[int, ...]:
    return tuple(node.attributes.get("perm", ()))
