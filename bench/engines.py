"""Engines of real sizes, built without a GPU: sizes, times and memory in a table.

    python -m chiasm.bench.engines --work /tmp/zoo                # make engines: checkpoints → bundles → engines
    python -m chiasm.bench.engines --work /tmp/zoo "Stable Diffusion 1.5=/tmp/zoo/sd15.chiasm" --part denoiser
    python -m chiasm.bench.engines --page > docs/engines.md       # the page, from what was measured

Every part becomes an FP16 engine for three compute capabilities at once, an encoder an INT8 one too; then the same is
asked again and timed: it comes from the folder. Bundles that lie in `--work` from before are taken as they are, others
by NAME=PATH. A part that becomes no engine has a row that says why, and the next one is built.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..export.to_engine import Wish, compile_engines, plan_engines, vendor_version
from ..runtime.bundle import Bundle, open_bundle, resolve_bundle
from ..runtime.engines import EngineStore
from ..runtime.errors import ChiasmError, EngineError, InputError
from ..targets import machine, packages

__all__ = ["BUNDLES", "Subject", "build_all", "main", "page"]

CAPABILITIES = ("8.6", "8.9", "12.0")
RESULT = Path("docs/results/engines.json")
_VARIANTS = ("fp32", "fp16", "int8-trt")

HEAD = """# Engines

`chiasm compile` turns the graphs of a bundle into engines of TensorRT-RTX, on any x86 machine and without a GPU, or
of TensorRT, on the device. What it does:

- Says first how many engines there are to build, for about how long and with how much memory; `--dry-run` stops
  there.
- Builds each engine in a process of its own. One that is killed, crashes or runs out of memory takes nothing with it:
  what was finished stays, what was not leaves nothing, and the next call goes on.
- Keeps engines in the bundle's `engines/`, or where `--engines` or `CHIASM_ENGINES` says, each under the hash of all
  that it depends on: graph, weights, part, precision, vendor and version, compute capabilities, shapes, flags. What
  is there is not built again. Two who build the same engine wait for each other. Beyond `--limit` those unused for
  longest go.
- Where the vendor's parser refuses a node, the error names the node, its operator and the part.

```sh
pip install '.[rtx]'
chiasm compile my.chiasm --target rtx-4090                          # or --capability 8.9; several make one engine
chiasm compile my.chiasm --vendor tensorrt                          # on a Jetson
chiasm run my.chiasm --backend rtx --image camera:0                 # or --backend trt
```

Precision is in the graph: `fp16` keeps normalisations, softmax and whatever was seen to overflow in FP32; `int8-trt`
(`chiasm export … --precision int8-trt`) has symmetric Q/DQ pairs, per-channel weights, FP16 for the rest, and leaves
in FP16 what its outputs cannot do without. Both are compared with torch and on the fused task like every other
variant. `--precision int8` takes `int8-trt` where a part has it: whether it is faster has to be measured on the
device.

`--strip` leaves the weights out: they come from the bundle's graph when the engine is opened, which must therefore be
the very one that it was built of, as its key says. An engine that cannot be filled is an error that says so. The
vendor strips on a machine with a GPU only: without one TensorRT-RTX 1.7.1 built no stripped engine of any part that
was tried (five of the reference's; with STRIP_PLAN, and with each of its ways of refitting), and that too is said.

**At run time** nothing is ever built inside a request. `load(…, backend="rtx")` opens the engines that are there; one
that is missing, damaged, or made for something else is never loaded: its part runs on ONNX Runtime, `pipeline.notes`
says why, and with `strict=True` (`--strict`) it is an error instead. `build="missing"` builds while loading.

- **Tensors stay on the GPU.** Prepared captures are copied in; tokens and state go from engine to engine where they
  are; what comes back is what somebody looks up: embeddings, weights, the heads' answers. A text's condition is copied
  once and not at every step of a picture. Preprocessing itself, and the arithmetic between steps, run on the CPU.
- **Encoders overlap.** Each has a stream and scratch of its own; everything else shares one of both, as do all parts
  on a board whose GPU has no memory of its own. Events join them, and the host waits where a result is looked up: so
  `timings` of encoders and fusion are those of handing the work over, and the waiting is in `heads`.
- **CUDA graphs.** TensorRT-RTX replays its own; TensorRT's runs are recorded from the second one on, and anew when an
  address has changed. What cannot be recorded is run as it is.
- **What TensorRT-RTX compiles** for the GPU that is here is kept beside the engine (`runtime-<gpu>.cache`) when the
  pipeline is closed. One that is damaged, or of another version, GPU or driver, is named in `pipeline.notes` and
  replaced.

**ONNX Runtime's CUDA provider** is the backend `ort:cuda` (`pip install onnxruntime-gpu` in place of `onnxruntime`):
the same seam between parts, CUDA graphs by `enable_cuda_graph`, encoders not waited for until they are read. Where the
provider does not start the CPU serves, and `pipeline.notes` says why: so it was with onnxruntime-gpu 1.31.1 on a
machine without a GPU.

`python -m chiasm.bench.gpu_pipeline --out gpu-pipeline.json` (`make gpu-pipeline`) measures all of these on the GPU
that it finds, each with and without CUDA graphs and overlap, once its answers agree with the CPU's; where there is no
GPU it says so in one line.

**Not done**: no GPU was at hand, so no engine of these has run, none was stripped, and nothing of this was timed; the
tests run the backends `rtx`, `trt` and `ort:cuda` on pretended ones, which count copies and waits and compare answers.
Graphs have static shapes, so the only profile is that shape.
"""


@dataclass(frozen=True)
class Subject:
    """`make`: the bundle, made in a work folder if it is not there; `parts`: what is built of it, none means all."""

    make: Callable[[Path], Path]
    parts: tuple[str, ...] = ()


def _zoo(name: str) -> Subject:
    """An encoder of the zoo at its real size."""

    def make(work: Path) -> Path:
        from .zoo.table import measure, models

        out = work / f"{name}.chiasm"
        if not out.exists():
            measure(models()[name], work, _VARIANTS)
        return out

    return Subject(make)


def _diffusion(work: Path) -> Path:
    """Stable Diffusion 1.5's layout for pictures of 512 by 512, with a tiny decoder beside its own."""
    from .zoo import full_size

    out = work / "sd15.chiasm"
    return out if out.exists() else full_size.make(work, 512, ("fp16",))


BUNDLES = {
    "reference": Subject(lambda work: resolve_bundle("reference")),
    "CLIP ViT-B/32": _zoo("clip"),
    "BERT-base": _zoo("bert"),
    "wav2vec2-base": _zoo("wav2vec2-base"),
    "Stable Diffusion 1.5": Subject(_diffusion, ("denoiser", "picture.tiny")),
}
"""What is built, by name."""


def build_all(
    bundle: Path, folder: Path, told: Callable[[str], object], parts: Sequence[str] = ()
) -> dict[str, Any]:  # fmt: skip
    """Engines of one bundle, then once more from the folder. Raises `ChiasmError` for what is no bundle or part of it;
    a part that becomes no engine is a row with its `error`."""
    opened, store = open_bundle(bundle), EngineStore(folder, 64 * 2**30)
    rows: list[dict[str, Any]] = []
    built: list[Wish] = []
    for wish in _wishes(opened, parts):
        rows.append(_row(opened, wish, store, told))
        if "error" not in rows[-1]:
            built.append(wish)
    start = time.perf_counter()
    again = [line for wish in built for line in compile_engines(opened, plan_engines(opened, wish, store), wish, store)]
    seconds = time.perf_counter() - start
    return {"engines": rows, "again_s": seconds, "again_cached": all(line.cached for line in again)}


def _wishes(bundle: Bundle, parts: Sequence[str]) -> Iterator[Wish]:
    """One for each engine: FP16 of every part, then INT8 of the encoders that have it. Raises `InputError`."""
    manifest = bundle.manifest
    unknown = [part for part in parts if part not in manifest.parts]
    if unknown:
        raise InputError("No such part", found=", ".join(unknown), expected=f"some of {', '.join(manifest.parts)}")
    asked = parts or tuple(manifest.parts)
    for part in asked:
        yield Wish(capabilities=CAPABILITIES, parts=(part,))
    for part in dict.fromkeys(each.part for each in manifest.modalities):
        if part in asked and any(each.precision == "int8-trt" for each in manifest.parts[part].variants):
            yield Wish(capabilities=CAPABILITIES, precision="int8", parts=(part,))


def _row(bundle: Bundle, wish: Wish, store: EngineStore, told: Callable[[str], object]) -> dict[str, Any]:
    """What one engine cost, or why there is none. Out of memory or disk is a reason like another."""
    (part,) = wish.parts
    try:
        jobs = plan_engines(bundle, wish, store)
        job = jobs[0]
        told(f"{part} {job.key.precision}, about {job.expected_s:.0f} s, {job.expected_mib:.0f} MiB")
        (line,) = compile_engines(bundle, jobs, wish, store)
    except (EngineError, OSError, MemoryError) as error:
        told(f"{part}: {error or type(error).__name__}")
        return {"part": part, "precision": wish.precision, "error": str(error) or type(error).__name__}
    return dict(msgspec.to_builtins(line)) | {"graph_bytes": job.graph_bytes}


def page(found: dict[str, Any]) -> str:
    """docs/engines.md."""
    where, version = found["machine"], found["vendor"]
    lines = [HEAD, "## What they cost to build", ""]
    lines += [
        f"{where['cpu']}, {where['cores']} cores, {where['os']}, no GPU; {version}; compute capabilities "
        f"{', '.join(CAPABILITIES)} in each engine; {found['when']}. Made by `make engines`, this page by "
        "`python -m chiasm.bench.engines --page`. Weights are random, or the reference's.", "",
        "| bundle | part | precision | graph MB | engine MB | s | peak MiB | all again, s |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]  # fmt: skip
    for name, each in found["bundles"].items():
        if "error" in each:
            lines.append(f"| {name} | | | | | | | {each['error']} |")
            continue
        for index, row in enumerate(each["engines"]):
            first = (name, f"{each['again_s']:.2f}") if index == 0 else ("", "")
            if "error" in row:
                reason = " ".join(row["error"].replace("|", "/").split())
                lines.append(f"| {first[0]} | {row['part']} | {row['precision']} | none: {reason} | | | | {first[1]} |")
                continue
            lines.append(
                f"| {first[0]} | {row['part']} | {row['precision']} | {row['graph_bytes'] / 1e6:.1f} | "
                f"{row['bytes'] / 1e6:.1f} | {row['seconds']:.1f} | {row['peak_mib']:.0f} | {first[1]} |"
            )
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, help="checkpoints, bundles and engines lie here")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--page", action="store_true", help="print the page from --out")
    parser.add_argument("--part", action="append", default=[], metavar="NAME", help="only this part of the bundles")
    parser.add_argument(
        "names", nargs="*", metavar="NAME[=PATH]",
        help=f"some of {', '.join(BUNDLES)}, or any name and the folder of its bundle; default: all of these",
    )  # fmt: skip
    given = parser.parse_args(words)
    if given.page:
        print(page(json.loads(given.out.read_text())), end="")
        return 0
    if given.work is None:
        parser.error("--work FOLDER is needed")
    unknown = [each for each in given.names if "=" not in each and each not in BUNDLES]
    if unknown:
        parser.error(f"no such bundle: {', '.join(unknown)}; there are {', '.join(BUNDLES)}, others are NAME=PATH")
    for name, _, path in (each.partition("=") for each in given.names or BUNDLES):
        _write(given.out, name, _measured(name, path, given.work, given.part))
    return 0


def _measured(name: str, path: str, work: Path, parts: Sequence[str]) -> dict[str, Any]:
    """The figures of one bundle, or why there are none."""
    print(name, flush=True)
    folder = work / "engines" / name.replace("/", "-")
    shutil.rmtree(folder, ignore_errors=True)
    known = BUNDLES.get(name)
    try:
        bundle = Path(path) if path or known is None else known.make(work)
        asked = parts or (() if known is None else known.parts)
        return build_all(bundle, folder, lambda words: print("  " + words, flush=True), asked)
    except ChiasmError as error:
        print(f"  {error}", flush=True)
        return {"error": str(error)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(out: Path, name: str, made: dict[str, Any]) -> None:
    """Put one bundle's figures among those that are there."""
    found = json.loads(out.read_text()) if out.exists() else {"bundles": {}}
    found["bundles"][name] = made
    found |= {"machine": machine().to_dict(), "packages": packages(), "when": time.strftime("%Y-%m-%d")}
    found["vendor"] = f"TensorRT-RTX {vendor_version('tensorrt_rtx')}"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
