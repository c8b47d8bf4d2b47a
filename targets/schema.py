"""What is known of a device: the structs of `targets/*.toml`, each number with where it comes from.

Rates are dense: no figure counts on 2:4 sparsity, and where a maker prints only the sparse one, the note says that it
was halved. What no source was found for is left out, and named in `missing`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["RATES", "Dla", "Figure", "Label", "Match", "Memory", "Mode", "Rates", "Release", "Target", "TargetError"]

RATES = ("fp32", "fp16", "int8", "fp8")
"""Precisions that a rate may be known for, the slower first."""


class TargetError(ValueError):
    """A target that is not there, or a file of this folder that does not hold what it should."""


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    pass


class Figure(_Struct, frozen=True, kw_only=True):
    """A number. `source`: a key of the target's `sources`; `note`: how it was read, or derived."""

    value: float
    source: str
    note: str = ""


class Label(_Struct, frozen=True, kw_only=True):
    """A version, such as a compute capability, with its source."""

    value: str
    source: str
    note: str = ""


class Memory(_Struct, frozen=True, kw_only=True):
    """`size_mib`: of the board or card; None where it differs from machine to machine. `shared`: CPU and GPU have one.

    What is not ours of a shared memory: `reserved_mib` (held back by firmware and kernel before Linux counts), and then
    `system_mib` as installed without desktop, `trimmed_mib` with every service off that can be, `desktop_mib` more with
    a desktop. `cache_mib`: the last-level cache of what computes.
    """

    shared: bool
    bandwidth_gbs: Figure
    size_mib: Figure | None = None
    reserved_mib: Figure | None = None
    system_mib: Figure | None = None
    trimmed_mib: Figure | None = None
    desktop_mib: Figure | None = None
    cache_mib: Figure | None = None


class Rates(_Struct, frozen=True, kw_only=True):
    """Dense operations per second in 10^12, a multiply-add counting as two; of the CPU or GPU, without the DLA."""

    fp32: Figure | None = None
    fp16: Figure | None = None
    int8: Figure | None = None
    fp8: Figure | None = None


class Dla(_Struct, frozen=True, kw_only=True):
    """The deep learning accelerators beside the GPU; `int8`: dense, of all engines together."""

    engines: Figure
    int8: Figure | None = None


class Mode(_Struct, frozen=True, kw_only=True):
    """A power mode of nvpmodel; `watts` None: no limit is set, or none is known."""

    name: str
    source: str
    watts: float | None = None


class Match(_Struct, frozen=True, kw_only=True):
    """How a machine is recognised: strings of the device tree's `compatible`, names that the driver gives the GPU, or
    the CPU's architecture alone. `memory_mib`: what Linux counts must lie in here, where one string names two boards.
    """

    compatible: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()
    arch: str | None = None
    memory_mib: tuple[int, int] | None = None


class Target(_Struct, frozen=True, kw_only=True):
    """One device. `runtime_mib`: what the inference libraries take of its memory before any model is there."""

    title: str
    kind: Literal["cpu", "gpu", "jetson"]
    about: str
    memory: Memory
    rates: Rates
    match: Match
    sources: dict[str, str]
    name: str = ""
    soc: Literal["orin", "thor"] | None = None
    compute_capability: Label | None = None
    tensorrt_rtx: Label | None = None
    runtime_mib: Figure | None = None
    dla: Dla | None = None
    modes: tuple[Mode, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def sm(self) -> int | None:
        """The compute capability as the builders take it: 87 for 8.7; None without an NVIDIA GPU."""
        return None if self.compute_capability is None else int(self.compute_capability.value.replace(".", ""))

    def rate(self, precision: str) -> tuple[float, str] | None:
        """(10^12 operations a second, what that is the rate of): no unit of this device is faster in that precision.

        A missing rate is stood in for by the next faster one that is known, so that a time which follows from it stays
        a lower bound. FP32 on a GPU may run as TF32, at half of FP16's rate (NVIDIA A100 whitepaper, 2020, table 1).
        None where nothing is known.
        """
        known = {name: figure.value for name in RATES if (figure := getattr(self.rates, name)) is not None}
        if precision == "fp32" and self.kind != "cpu" and "fp16" in known:
            tf32 = known["fp16"] / 2
            return (known["fp32"], "fp32") if known.get("fp32", 0.0) >= tf32 else (tf32, "tf32")
        for name in RATES[RATES.index(precision) :]:
            if name in known:
                return known[name], name
        return max(((rate, name) for name, rate in known.items()), default=None)

    @property
    def usable_mib(self) -> float | None:
        """The share of the memory that is ours, as installed without desktop; None where the size is not known."""
        memory = self.memory
        if memory.size_mib is None:
            return None
        taken = (figure.value for figure in (memory.reserved_mib, memory.system_mib) if figure is not None)
        return memory.size_mib.value - sum(taken)


class Release(_Struct, frozen=True, kw_only=True):
    """One JetPack: the L4T that /etc/nv_tegra_release names, and the TensorRT and CUDA that come with it."""

    jetpack: str
    l4t: str
    socs: tuple[Literal["orin", "thor"], ...]
    source: str
    tensorrt: str | None = None
    cuda: str | None = None
