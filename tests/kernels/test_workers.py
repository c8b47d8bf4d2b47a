"""The threads that the compiled kernels keep between calls: after a fork, beside signals, at exit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from chiasm import kernels
from chiasm.kernels import MelSpec, _select, log_mel

pytestmark = pytest.mark.skipif(_select.compiled is None, reason=str(kernels.why_not()))

USE = """
import os, signal, sys, time
import numpy as np
from chiasm.kernels import MelSpec, log_mel
sound = np.sin(np.arange(16000, dtype=np.float32) / 9)
call = lambda threads: log_mel(sound, MelSpec.whisper(), threads=threads)
one, three = call(1), call(3)
assert (one == three).all()
"""
FORK = """
child = os.fork()
if child == 0:
    os._exit(0 if (call(3) == one).all() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert (call(4) == one).all()
"""
SIGNAL = """
signal.signal(signal.SIGALRM, lambda *_: sys.exit(7))
signal.alarm(1)
time.sleep(20)
"""


def ends_with(program: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", USE + program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_starts_its_own() -> None:
    ends_with(FORK, 0)


def test_signals_wake_the_main_thread_and_the_process_ends_at_once() -> None:
    ends_with(SIGNAL, 7)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list a process's threads")
def test_those_that_wait_sleep_and_few_are_kept() -> None:
    """Beside the threads that NumPy keeps, which are counted before the first call."""
    before = 'import os\nimport numpy as np\nhad = len(os.listdir("/proc/self/task"))\n'
    checks = """
call(64)
time.sleep(0.2)
begun = time.process_time()
time.sleep(0.3)
assert time.process_time() - begun < 0.1, "threads that wait should sleep"
kept = len(os.listdir("/proc/self/task")) - had
assert 1 <= kept <= os.cpu_count(), kept
"""
    program = before + USE + checks
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_many_callers_at_once() -> None:
    sound = np.sin(np.arange(16000, dtype=np.float32) / 7)
    spec = MelSpec.whisper()
    expected = log_mel(sound, spec)
    wrong: list[int] = []

    def call(threads: int) -> None:
        answers = [log_mel(sound, spec, threads=threads) for _ in range(20)]
        wrong.extend(threads for answer in answers if not np.array_equal(answer, expected))

    callers = [threading.Thread(target=call, args=(threads,)) for threads in (2, 3, 4, 5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
