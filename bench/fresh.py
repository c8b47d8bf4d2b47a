"""What a fresh process does, timed from inside; `startup` runs it with `python -c`. Prints one line of JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

__all__ = ["environment", "main"]

HEAVY = ("torch", "cv2", "onnx", "onnxruntime", "av")


def environment() -> dict[str, str]:
    """The environment of fresh processes: this one's, in which Python keeps its bytecode.

    A package that pip installed has its bytecode; a source tree gets it from its first run, unless
    PYTHONDONTWRITEBYTECODE says otherwise, and then every process compiles all of it anew: 0.13 s of ours.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main() -> None:
    """Import the runtime, load the bundle, take one step.

    Arguments: bundle, backend, precision, threads or -, fusion or -.
    """
    bundle, backend, precision, threads, fusion = sys.argv[1:6]
    start = time.perf_counter()
    from .. import runtime

    imported = time.perf_counter()
    heavy = [name for name in HEAVY if name in sys.modules]
    chosen = None if threads == "-" else int(threads)
    pipeline = runtime.load(bundle, backend, precision, chosen, fusion=None if fusion == "-" else fusion)
    loaded = time.perf_counter()

    # Making synthetic captures is not the pipeline's work: it is left out of every figure.
    from ..targets.memory import peak_mib
    from .inputs import capture

    packets: dict[str, Any] = {modality.name: capture(modality, 0) for modality in pipeline.manifest.modalities}
    prepared = time.perf_counter()
    pipeline(**packets)
    first = time.perf_counter() - prepared
    figures = {
        "import_s": imported - start,
        "load_s": loaded - imported,
        "first_result_s": first,
        "everything_s": loaded - start + first,
        "peak_rss_mib": peak_mib(),
        "heavy_after_import": heavy,
    }
    print(json.dumps(figures))
