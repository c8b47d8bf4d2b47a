"""docs/targets.md, from the targets themselves: python -m chiasm.targets > docs/targets.md"""

from __future__ import annotations

from collections.abc import Iterator

from .catalogue import figures, releases, targets
from .schema import Figure, Label, Mode, Target

HEAD = """# Targets

The devices that chiasm knows: one file each in `targets/`, every number with its source. `chiasm targets` lists them
and marks the one that it runs on, `chiasm targets show NAME` gives one with its sources, and
`chiasm plan BUNDLE --target NAME` says whether a bundle fits and how fast it could be at best.
This page is made by `python -m chiasm.targets`.

- Rates are **dense**, in 10^12 operations a second, a multiply-add counting as two. Where a maker prints only the
  figure for 2:4 sparsity, it was halved, and the source says so.
- *ours* is the memory that the system leaves, as installed and without desktop; on a Jetson CPU and GPU share one.
- A figure that no source was found for is **left out**, and named below the device.
- None of these devices was at hand: **no number here was measured by us on them**.
- The sources were read in stored public copies, most of them at second hand: a page or note that quotes a data sheet is
  named by the data sheet. The multiply-adds of a cycle on Cortex-A76 and with AVX-VNNI are from the makers' manuals as
  they are commonly cited, and were not looked up again.

## What a plan counts

The graphs of the bundle, node by node; weights in files of their own are not read, nothing is run, and the package onnx
is not needed. A bundle that an older chiasm exported will do.

- **Weights** as they lie in memory: what an engine folds before the first run is counted folded, INT8 stays INT8.
- **Activations**: the most that lives at once between inputs and outputs, in the order of the nodes. One block of that
  size serves all parts; on a card with memory of its own each encoder has one, since they run beside each other. An
  engine that fuses attention needs less.
- **Scratch**: 0.35 of the activations. Counted over allocated by ONNX Runtime 1.32 on the CPU, without its arena (AMD
  EPYC, AVX2): 0.97 to 0.99 for convolutions of the reference bundle, 0.74 for SD 1.5's decoder on 64 x 64 pixels, less
  for graphs of some kilobytes, whose matrix products have work buffers of up to 0.2 MiB:
  `pytest -s tests/runtime/planning/test_measured.py`. TensorRT's was not measured.
- **The runtime's own**: 58 MiB for Python, NumPy, chiasm and ONNX Runtime, and 1.4 MiB for every open graph, measured
  on that machine; for CUDA and TensorRT what the device's file says.
- **Times** are bounds by the roofline model (Williams, Waterman, Patterson 2009): operations of products by the rate of
  their precision, or bytes of weights, inputs and outputs beyond the last-level cache by the bandwidth, whichever is
  longer. **No real run is so fast.**
- A denoiser counts once for every step, and twice where guidance needs a second run; a caption's step once for every
  token and beam.
- On a GPU FP16 is taken before INT8, because INT8 was often found slower there (NVIDIA/TensorRT-Model-Optimizer issue
  167, NVIDIA/TensorRT issue 4273) and nothing was measured on the device; INT8 is taken where FP16 does not fit.

## Devices

"""
_WORDS = {
    "compute_capability": "compute capability", "tensorrt_rtx": "TensorRT-RTX builds for SM",
    "runtime_mib": "CUDA and TensorRT, MiB", "memory.size_mib": "memory, MiB",
    "memory.bandwidth_gbs": "bandwidth, GB/s",
    "memory.reserved_mib": "held back by firmware and kernel, MiB", "memory.system_mib": "system, MiB",
    "memory.trimmed_mib": "system, trimmed, MiB", "memory.desktop_mib": "desktop, MiB",
    "memory.cache_mib": "last-level cache, MiB", "dla.engines": "DLA engines", "dla.int8": "DLA, INT8",
}  # fmt: skip


def page() -> str:
    """The whole page."""
    known = targets().values()
    lines = [
        HEAD + "| target | | SM | memory | ours | GB/s | FP16 | INT8 | FP8 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(target) for target in known]
    lines += ["", "## JetPack", "", "JetPack is installed as a whole; the empty places are not known.", ""]
    lines += ["| JetPack | L4T | for | TensorRT | CUDA | source |", "|---|---|---|---|---|---|"]
    for each in releases():
        socs = " and ".join(soc.capitalize() for soc in each.socs)
        cells = (each.jetpack, each.l4t, socs, each.tensorrt or "", each.cuda or "", each.source)
        lines.append(f"| {' | '.join(cells)} |")
    for target in known:
        lines += ["", *_section(target)]
    return "\n".join(lines) + "\n"


def _row(target: Target) -> str:
    memory, rates = target.memory, target.rates
    size = "" if memory.size_mib is None else f"{memory.size_mib.value / 1024:.0f} GiB"
    share = "" if target.usable_mib is None else f"{target.usable_mib / 1024:.1f}"
    speeds = ("" if each is None else f"{each.value:g}" for each in (rates.fp16, rates.int8, rates.fp8))
    cells = (f"`{target.name}`", target.title, str(target.sm or ""), size, share, f"{memory.bandwidth_gbs.value:g}")
    return f"| {' | '.join((*cells, *speeds))} |"


def _section(target: Target) -> Iterator[str]:
    yield from (f"## {target.name}", "", f"{target.title}. {target.about}", "", "| | | source |", "|---|---|---|")
    for where, figure in figures(target):
        name, value = _figure(where, figure)
        note = f" ({figure.note})" if not isinstance(figure, Mode) and figure.note else ""
        yield f"| {name} | {value} | {target.sources[figure.source]}{note} |"
    if target.missing:
        yield ""
        yield from (f"- Missing: {words}." for words in target.missing)


def _figure(where: str, figure: Figure | Label | Mode) -> tuple[str, str]:
    if isinstance(figure, Mode):
        return f"mode {figure.name}", "" if figure.watts is None else f"{figure.watts:g} W"
    name = _WORDS.get(where, where.rpartition(".")[2].upper())
    return name, figure.value if isinstance(figure, Label) else f"{figure.value:g}"


if __name__ == "__main__":
    print(page(), end="")
