"""Engines of real sizes, built without a GPU: sizes, times and memory in a table.

    python -m chiasm.bench.engines --work /tmp/zoo                # make engines: checkpoints → bundles → engines
    python -m chiasm.bench.engines --page > docs/engines.md       # the page, from what was measured

Every part becomes an FP16 engine for three compute capabilities at once, an encoder an INT8 one too; then the same is
asked again and timed: it comes from the folder. Bundles that lie in `--work` from before are taken as they are.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ..export.to_engine import Line, Wish, compile_engines, plan_engines, vendor_version
from ..runtime.bundle import open_bundle, resolve_bundle
from ..runtime.engines import EngineStore
from ..runtime.errors import ChiasmError
from ..targets import machine, packages

__all__ = ["BUNDLES", "build_all", "page"]

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

**At run time** nothing is ever built inside a request. `load(…, backend="rtx")` opens the engines that are there; one
that is missing, damaged, or made for something else is never loaded: its part runs on ONNX Runtime, `pipeline.notes`
says why, and with `strict=True` (`--strict`) it is an error instead. `build="missing"` builds while loading.

**Not done**: no GPU was at hand, so no engine of these has run; the tests run the backends `rtx` and `trt` on a
pretended driver. The vendor's runtime cache is not kept, weights are not stripped for refitting, encoders do not
overlap on several streams, and values return to the host between parts. Graphs have static shapes, so the only
profile is that shape.
"""


def _zoo(name: str) -> Callable[[Path], Path]:
    """A bundle of an encoder of the zoo at its real size."""

    def make(work: Path) -> Path:
        from .zoo.table import measure, models

        out = work / f"{name}.chiasm"
        if not out.exists():
            measure(models()[name], work, _VARIANTS)
        return out

    return make


BUNDLES: dict[str, Callable[[Path], Path]] = {
    "reference": lambda work: resolve_bundle("reference"),
    "CLIP ViT-B/32": _zoo("clip"),
    "BERT-base": _zoo("bert"),
    "wav2vec2-base": _zoo("wav2vec2-base"),
}
"""What is built: name → where its bundle is, made in a work folder if it is not there."""


def build_all(bundle: Path, folder: Path, told: Callable[[str], object]) -> dict[str, Any]:
    """Every engine of one bundle, then once more from the folder."""
    opened, store = open_bundle(bundle), EngineStore(folder, 64 * 2**30)
    encoders = tuple(each.part for each in opened.manifest.modalities)
    wishes = [Wish(capabilities=CAPABILITIES)]
    if any("int8-trt" in [each.precision for each in opened.manifest.parts[part].variants] for part in encoders):
        wishes.append(Wish(capabilities=CAPABILITIES, precision="int8", parts=encoders))
    rows: list[Line] = []
    for wish in wishes:
        for job in plan_engines(opened, wish, store):
            told(f"{job.key.part} {job.key.precision}, about {job.expected_s:.0f} s, {job.expected_mib:.0f} MiB")
            rows += compile_engines(opened, [job], wish, store)
    start = time.perf_counter()
    again: list[Line] = []
    for wish in wishes:
        again += compile_engines(opened, plan_engines(opened, wish, store), wish, store)
    seconds = time.perf_counter() - start
    graphs: dict[tuple[str, str], int] = {
        (part, each.precision): each.nbytes
        for part, spec in opened.manifest.parts.items() for each in spec.variants
    }  # fmt: skip
    return {
        "engines": [msgspec.to_builtins(row) | {"graph_bytes": graphs[row.part, row.precision]} for row in rows],
        "again_s": seconds,
        "again_cached": all(line.cached for line in again),
    }


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
            lines.append(
                f"| {first[0]} | {row['part']} | {row['precision']} | {row['graph_bytes'] / 1e6:.1f} | "
                f"{row['bytes'] / 1e6:.1f} | {row['seconds']:.1f} | {row['peak_mib']:.0f} | {first[1]} |"
            )
    return "\n".join(lines) + "\n"


def _main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, help="checkpoints, bundles and engines lie here")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--page", action="store_true", help="print the page from --out")
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(BUNDLES)}; default: all")
    given = parser.parse_args()
    if given.page:
        print(page(json.loads(given.out.read_text())), end="")
        return 0
    if given.work is None:
        parser.error("--work FOLDER is needed")
    found = json.loads(given.out.read_text()) if given.out.exists() else {"bundles": {}}
    for name in given.names or BUNDLES:
        print(name, flush=True)
        folder = given.work / "engines" / name.replace("/", "-")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            made = build_all(BUNDLES[name](given.work), folder, lambda words: print("  " + words, flush=True))
        except ChiasmError as error:
            made = {"error": str(error)}
            print(f"  {error}", flush=True)
        found["bundles"][name] = made
        found |= {"machine": machine().to_dict(), "packages": packages(), "when": time.strftime("%Y-%m-%d")}
        found["vendor"] = f"TensorRT-RTX {vendor_version('tensorrt_rtx')}"
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(found, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
