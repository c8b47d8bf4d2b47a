"""Memory of one session, by opening and running it in a process of its own: what that grows by, in MiB."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from ...runtime.backends import SessionOptions, open_backend
from ...runtime.bundle import open_bundle
from ...runtime.errors import BackendError
from ...runtime.tuned import Choice
from .race import Lane

__all__ = ["footprint"]

_RUNS, _LEAST = 3, 0.1


def footprint(
    path: Path, part: str, choices: Sequence[Choice], advance: Callable[[float], object],
    late: Callable[[], bool] = lambda: False,
) -> dict[Choice, Lane]:  # fmt: skip
    """MiB of each choice as lanes whose ratio is to the first; nothing is raced. Once it is `late` no more open."""
    found: dict[Choice, float] = {}
    for index, choice in enumerate(choices):
        if index > 0 and late():
            break
        found[choice] = _grown(path, part, choice)
        advance((index + 1) / len(choices))
    first = found[choices[0]]
    lanes = {}
    for choice, mib in found.items():
        ratio = max(mib, _LEAST) / max(first, _LEAST)
        lanes[choice] = Lane([0.0], ratio, ratio, ratio, 1e-3 * mib)
    return lanes


def _grown(path: Path, part: str, choice: Choice) -> float:
    order = msgspec.json.encode([str(path.resolve()), part, choice]).decode()
    done = subprocess.run([sys.executable, "-m", __name__, order], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise BackendError(f"Part {part} could not be opened in a process of its own", found=last)
    return float(done.stdout.split()[-1])


def _resident_mib() -> float:
    """What this process holds now; where Linux's /proc is not there, the most that it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def _main(order: str) -> None:
    """The child."""
    path, part, choice = msgspec.json.decode(order, type=tuple[str, str, Choice])
    bundle = open_bundle(path)
    spec, graph = bundle.manifest.parts[part], bundle.graph(part, choice.precision)
    backend = open_backend(choice.backend, SessionOptions())  # the library itself does not count
    backend.close()
    before = _resident_mib()
    session = open_backend(choice.backend, choice.options).open(graph, spec.inputs, spec.outputs)
    for _ in range(_RUNS):
        session.run({each.name: np.ones(each.shape, each.dtype) for each in spec.inputs})
    print(_resident_mib() - before)


if __name__ == "__main__":
    _main(sys.argv[1])
