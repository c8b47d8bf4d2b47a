"""Which variant of a part a device takes, and why."""

from __future__ import annotations

from ...targets import Target
from ..manifest import Part

__all__ = ["LEFT_OUT", "WHY", "candidates", "why"]

WHY = {
    ("cpu", "best"): "measured best on a CPU at export",
    ("cpu", "other"): "the variant measured best at export does not fit",
    ("gpu", "fp16"): "FP16 runs on the tensor cores; INT8 would have to be measured faster on this device first",
    ("gpu", "int8-trt"): "FP16 does not fit, INT8 takes half of it",
    ("gpu", "fp32"): "the part has no smaller variant that a GPU takes",
}
LEFT_OUT = {
    ("cpu", "fp16"): "on a CPU it runs in FP32 behind casts, and saves neither memory nor time",
    ("cpu", "int8-trt"): "made for TensorRT; symmetric INT8 was measured slower than FP32 on a CPU",
    ("gpu", "int8-cpu"): "TensorRT's parser does not take dynamic or unsigned INT8",
}
_ORDER = {"cpu": ("int8-cpu", "fp32"), "gpu": ("fp16", "int8-trt", "fp32")}


def _side(target: Target) -> str:
    return "cpu" if target.kind == "cpu" else "gpu"


def candidates(part: Part, target: Target) -> tuple[str, ...]:
    """Precisions of a part that a target runs well, the best first. Empty where it has none of them."""
    there = [variant.precision for variant in part.variants]
    order = [precision for precision in _ORDER[_side(target)] if precision in there]
    if target.kind == "cpu" and part.preferred in order:
        order = [part.preferred, *(precision for precision in order if precision != part.preferred)]
    return tuple(order) or tuple(there[:1])


def why(part: Part, target: Target, precision: str) -> str:
    """The reason of a choice among `candidates`."""
    if target.kind == "cpu":
        best = candidates(part, target)[0]
        if (target.kind, precision) in LEFT_OUT:
            return "the part has no other variant"
        return WHY["cpu", "best" if precision == best else "other"]
    if precision == "int8-trt" and not any(variant.precision == "fp16" for variant in part.variants):
        return "the part has no FP16 variant"
    return WHY.get(("gpu", precision), "the part has no other variant")
