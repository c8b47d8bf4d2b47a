"""A pipeline stays in the process that loaded it: a forked child gets an error, never a wait without end."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from bundles import tiny_inputs
from chiasm.runtime.errors import BackendError
from chiasm.runtime.pipeline import load

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def _run(code: str, *words: str) -> str:
    """In a process of its own: the one that tests has threads, and a fork of it may warn."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *words], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@needs_fork
def test_a_forked_child_is_told_and_the_parent_goes_on(tiny: Path) -> None:
    said = _run(
        """
        import os, sys, threading, numpy as np
        from chiasm.runtime import ChiasmError, load
        frame = np.zeros((64, 64, 3), np.uint8)
        pipeline = load(sys.argv[1], threads=2)
        pipeline(image=frame, text="before")
        drawing = pipeline.generate(text="begun", steps=2)
        next(drawing)
        pipeline._lock.acquire()  # as a thread would that decides at this moment
        child = os.fork()
        if not child:
            for attempt in (lambda: pipeline(text="x"), lambda: pipeline.encode(text="x"), lambda: next(drawing)):
                try:
                    attempt()
                except ChiasmError as error:
                    print("child:", error, flush=True)
            pipeline.close()
            del pipeline
            with load(sys.argv[1]) as own:
                print("child:", sorted(own(text="x").labels), flush=True)
            os._exit(0)
        pipeline._lock.release()
        os.waitpid(child, 0)
        print("parent:", pipeline(image=frame, text="after").present)
        pipeline.close()
        """,
        str(tiny),
    ).splitlines()
    told = "child: The pipeline belongs to another process: found a fork, expected the process that loaded it."
    assert [line[: len(told)] for line in said[:3]] == [told] * 3
    assert all(line.endswith("Load the bundle in the process that uses it") for line in said[:3])
    assert said[3].startswith("child: [")
    assert said[4].startswith("parent: ")
    assert len(said) == 5


@needs_fork
def test_a_child_does_not_open_what_was_closed(tiny: Path) -> None:
    said = _run(
        """
        import os, sys
        from chiasm.runtime import ChiasmError, load
        pipeline = load(sys.argv[1])
        pipeline.close()
        if not os.fork():
            try:
                pipeline(text="x")
            except ChiasmError as error:
                print(error, flush=True)
            os._exit(0)
        os.wait()
        """,
        str(tiny),
    )
    assert "another process" in said


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_not_copied(tiny: Path, way: Any) -> None:
    with load(tiny) as pipeline:
        with pytest.raises(BackendError, match="Load the bundle in the process that uses it"):
            way(pipeline)
        assert pipeline(**tiny_inputs()).labels
