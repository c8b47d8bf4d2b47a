"""A peer's first result in a fresh process, timed from inside; prints one line of JSON.

Arguments: peer, workload, work folder, threads, size. The capture is made outside the clock.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .works import Work

__all__ = ["first_results", "main"]

_CODE = "from chiasm.bench.peers.fresh import main; main()"


def main() -> None:
    """Import, open, take one step."""
    start = time.perf_counter()
    from ...targets.memory import peak_mib
    from .works import WORKS, captures

    peer, name, folder, threads, size = sys.argv[1:6]
    made = time.perf_counter()
    capture = captures(WORKS[name], 1, "tiny" if size == "tiny" else "real")[0]
    making = time.perf_counter() - made
    module: Any = import_module(f".{peer}", __package__)
    racer = module.open_racer(WORKS[name], Path(folder), int(threads))
    racer.run(racer.prepare(capture))
    seconds = time.perf_counter() - start - making
    print(json.dumps({"first_result_s": seconds, "peak_rss_mib": peak_mib()}), flush=True)


def first_results(
    work: Work, peers: dict[str, str], folder: Path, threads: int, size: str, repeats: int
) -> dict[str, dict[str, Any]]:
    """Name → medians over `repeats` fresh processes, one after another and in turns, after one that is not counted.

    `peers`: name → file. The uncounted first ones bring everybody's files, and what Python compiles, into their caches.
    """
    import numpy as np

    from ..fresh import environment

    runs: dict[str, list[dict[str, float]]] = {name: [] for name in peers}
    failed: dict[str, str] = {}
    for count in range(repeats + 1):
        for name, file in peers.items():
            if name in failed:
                continue
            words = [sys.executable, "-W", "ignore", "-c", _CODE, file, work.name, str(folder), str(threads), size]
            done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=False)
            lines = [line for line in done.stdout.splitlines() if line.startswith('{"first')]
            if not lines:
                failed[name] = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
            elif count:
                runs[name].append(json.loads(lines[-1]))
    found: dict[str, dict[str, Any]] = {name: {"error": words} for name, words in failed.items()}
    for name, each in runs.items():
        if each and name not in failed:
            found[name] = {key: float(np.median([run[key] for run in each])) for key in each[0]} | {"runs": len(each)}
    return found
