"""Rewrites of an FP32 graph that compute the same in less time; each is a function graph → number of places changed.

`for_all`: less work by standard operators that every reader of a bundle takes: they go into every variant.
`for_fp32`: what is stored in FP32. `for_cpu`: before a graph is quantised for CPUs; GPUs have better ways of their own.
`without_padding`: after that, since sizes within the graph hang on the data from then on.
What each gained, and what was tried and gained nothing, is in docs/export.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graphs import Graph
from ..model import Model, as_model
from .affine import fold_affine
from .flat import convolve_flat
from .gelu import gelu_by_tanh
from .maps import maps_as_products
from .moments import normalise_by_moments
from .padding import cut_padding
from .patches import patches_as_products
from .reading import read_tokens_only
from .spectrum import convolve_in_spectrum
from .taps import drop_taps
from .windows import windows_as_products

__all__ = ["for_all", "for_cpu", "for_fp32", "without_padding"]

Rewrite = Callable[[Graph], int]

FOR_ALL: dict[str, Rewrite] = {"affine": fold_affine, "taps": drop_taps, "reading": read_tokens_only}
FOR_FP32: dict[str, Rewrite] = {"spectrum": convolve_in_spectrum, "flat": convolve_flat}
FOR_CPU: dict[str, Rewrite] = {
    "patches": patches_as_products,
    "moments": normalise_by_moments,
    "spectrum": convolve_in_spectrum,
    "gelu": gelu_by_tanh,
}
UNSEEN: dict[str, Rewrite] = {"windows": windows_as_products, "maps": maps_as_products}
LAST: dict[str, Rewrite] = {"padding": cut_padding}


def for_all(model: Any) -> tuple[Model, dict[str, int]]:
    """The graph with standard rewrites, and how many places each has changed."""
    return _apply(model, FOR_ALL)


def for_fp32(model: Any) -> tuple[Model, dict[str, int]]:
    """The graph as it is stored in FP32, and how many places each rewrite has changed."""
    return _apply(model, FOR_FP32)


def for_cpu(model: Any, *, seen: bool = True) -> tuple[Model, dict[str, int]]:
    """The graph as it is quantised for CPUs, and how many places each rewrite has changed.

    `seen` false: without captures, so that nothing but products can be quantised.
    """
    return _apply(model, FOR_CPU if seen else FOR_CPU | UNSEEN)


def without_padding(model: Any) -> tuple[Model, dict[str, int]]:
    """The graph of a text encoder that computes only the tokens that are there; any other as it is."""
    return _apply(model, LAST) if any(each.name == "ids" for each in as_model(model).graph.input) else (model, {})


def _apply(model: Any, rewrites: dict[str, Rewrite]) -> tuple[Model, dict[str, int]]:
    graph = Graph(model)
    changed = {name: rewrite(graph) for name, rewrite in rewrites.items()}
    return graph.save(), changed
