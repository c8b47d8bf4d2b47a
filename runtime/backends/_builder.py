"""Builds one engine in a process of its own: what kills a builder (memory, a vendor's crash, a person) kills no more.

`build_apart` is called by the parent; the child is `python -m chiasm.runtime.backends._builder`, which reads its order
from a file and answers with lines of JSON on standard output: {"told": …, "share": …}, then {"done": …} or
{"failed": …}. The engine itself goes through a file in the same temporary folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...targets.memory import peak_mib
from ..engines import EngineStore, Facts, Key
from ..errors import EngineError
from ..values import OnnxGraph
from ._nvinfer import VENDORS, Order, Told, build, load_vendor

__all__ = ["Built", "Maker", "build_apart", "ensure"]


@dataclass(frozen=True)
class Built:
    """An engine, how long it took and the most memory that its builder had; `timing`: see `Order`."""

    data: bytes
    seconds: float
    peak_mib: float
    timing: bytes | None = None


Maker = Callable[[str, Order, Told], Built]


def ensure(
    store: EngineStore, key: Key, order: Order, told: Told = lambda words, share: None, maker: Maker | None = None
) -> tuple[Facts, bool]:
    """(the engine of that key, whether it was built now). Whoever builds the same one is waited for, and its taken.

    Raises `EngineError`; then the folder is as it was.
    """
    with store.building(key):
        facts = store.holds(key)
        if facts is not None:
            return facts, False
        timing = _Timing(store.folder, key)
        made = (maker or build_apart)(key.vendor, replace(order, timing=timing.read()), told)
        timing.write(made.timing)
        return store.put(key, made.data, made.seconds, made.peak_mib), True


class _Timing:
    """What a builder remembers of its searches: one file for each vendor, version and device, pinned to these."""

    def __init__(self, folder: Path, key: Key) -> None:
        self._path = folder / f"timing-{key.vendor}-{key.version}-{'-'.join(key.capabilities)}.cache"

    def read(self) -> bytes | None:
        return self._path.read_bytes() if self._path.exists() else None

    def write(self, data: bytes | None) -> None:
        if data is None:
            return
        new = self._path.with_suffix(".new")
        new.write_bytes(data)
        new.replace(self._path)


def build_apart(vendor: str, order: Order, told: Told = lambda words, share: None) -> Built:
    """Build in a child process. Raises `EngineError`, also when the child is killed."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chiasm-build-") as name:
        folder = Path(name)
        (folder / "graph.onnx").write_bytes(order.graph.proto)
        if order.timing is not None:
            (folder / "timing").write_bytes(order.timing)
        (folder / "order.json").write_text(json.dumps(_written(vendor, order)))
        command = [sys.executable, "-m", __name__, str(folder)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            answer = _listen(child, told)
            errors = child.stderr.read() if child.stderr else ""
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            for stream in (child.stdout, child.stderr):
                if stream is not None:
                    stream.close()
        if "failed" in answer:
            raise EngineError(answer["failed"])
        if code != 0 or "done" not in answer:
            raise _ended(order, code, errors)
        timing = folder / "timing.new"
        return Built(
            (folder / "engine").read_bytes(), time.monotonic() - start, answer["done"],
            timing.read_bytes() if timing.exists() else None,
        )  # fmt: skip


def _written(vendor: str, order: Order) -> dict[str, Any]:
    return {
        "vendor": vendor, "part": order.part, "folder": None if order.graph.folder is None else str(order.graph.folder),
        "capabilities": order.capabilities, "level": order.level, "workspace": order.workspace, "strip": order.strip,
    }  # fmt: skip


def _listen(child: subprocess.Popen[str], told: Told) -> dict[str, Any]:
    """Pass progress on; the last word of the child, or nothing."""
    last: dict[str, Any] = {}
    assert child.stdout is not None
    for line in child.stdout:
        if not line.startswith("{"):  # a vendor's library that prints
            continue
        last = json.loads(line)
        if "told" in last:
            told(last["told"], last["share"])
    return last


def _ended(order: Order, code: int, errors: str) -> EngineError:
    """The child is gone without a word."""
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return EngineError(
            f"The builder of part {order.part} was killed", found="SIGKILL, which is how a system ends what takes too "
            "much memory", fix="Close other programs, add swap, or give a smaller --workspace; parts that are built "
            "already are kept.",
        )  # fmt: skip
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    last = errors.strip().splitlines()[-1:] or [""]
    return EngineError(f"The builder of part {order.part} ended early", found=f"{how} {last[0]}".strip())


def _main(folder: Path) -> int:
    """The child."""
    asked = json.loads((folder / "order.json").read_text())
    timing = folder / "timing"
    graph = OnnxGraph((folder / "graph.onnx").read_bytes(), None if asked["folder"] is None else Path(asked["folder"]))
    order = Order(
        asked["part"], graph, tuple(asked["capabilities"]), asked["level"], asked["workspace"],
        timing.read_bytes() if timing.exists() else None, asked["strip"],
    )  # fmt: skip
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print do not disturb the answers

    def say(**words: Any) -> None:
        print(json.dumps(words), file=answers, flush=True)

    try:
        made, remembered = build(
            load_vendor(asked["vendor"]), VENDORS[asked["vendor"]], order,
            lambda words, share: say(told=words, share=share),
        )  # fmt: skip
    except EngineError as error:
        say(failed=str(error))
        return 1
    (folder / "engine").write_bytes(made)
    if remembered is not None:
        (folder / "timing.new").write_bytes(remembered)
    say(done=peak_mib() or 0.0)  # not ru_maxrss, which is never less than what the parent had: see getrusage(2)
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
