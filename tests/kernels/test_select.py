"""Which kernels are in use, and what is said when they are not the compiled ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chiasm import kernels
from chiasm.kernels import _select

PREPARE = {
    "not built": "sys.modules['chiasm.kernels._ext'] = None",
    "another version": (
        "from types import ModuleType; from importlib.machinery import ModuleSpec\n"
        "old = ModuleType('chiasm.kernels._ext'); old.ABI = -1; old.__spec__ = ModuleSpec(old.__name__, None)\n"
        "sys.modules[old.__name__] = old"
    ),
}


def test_backend_and_reason_agree() -> None:
    assert ("numpy" if _select.compiled is None else "c++") == kernels.BACKEND
    assert (kernels.why_not() is None) == (kernels.BACKEND == "c++")


@pytest.mark.parametrize("reason", sorted(PREPARE))
def test_without_the_extension_numpy_serves(reason: str) -> None:
    program = f"""import sys
{PREPARE[reason]}
import numpy as np
from chiasm import kernels
assert kernels.BACKEND == "numpy", kernels.BACKEND
image = np.arange(300, dtype=np.uint32).astype(np.uint8).reshape(10, 10, 3)
print(kernels.why_not(), kernels.image_to_tensor(image, 4, 4, scale=1.0).sum())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    said, total = done.stdout.rsplit(maxsplit=1)
    assert reason.split()[-1] in said
    image = np.arange(300, dtype=np.uint32).astype(np.uint8).reshape(10, 10, 3)
    assert float(total) == float(kernels.image_to_tensor(image, 4, 4, scale=1.0).sum())


@pytest.mark.skipif(_select.compiled is None, reason=str(kernels.why_not()))
def test_stub_is_the_extensions(tmp_path: Path, root: Path) -> None:
    pytest.importorskip("nanobind", reason="the stub generator comes with nanobind")
    fresh = tmp_path / "_ext.pyi"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "chiasm.kernels._ext", "-o", str(fresh)]
    subprocess.run(command, check=True, capture_output=True)
    kept = (root / "kernels" / "_ext.pyi").read_text(encoding="utf-8")
    assert ast.unparse(ast.parse(kept)) == ast.unparse(ast.parse(fresh.read_text(encoding="utf-8")))


@pytest.mark.skipif(_select.compiled is None, reason=str(kernels.why_not()))
def test_unknown_instructions_change_nothing() -> None:
    assert _select.compiled is not None
    before = _select.compiled.instructions()
    with pytest.raises(ValueError, match="instruction set"):
        _select.compiled.use_instructions("sparc")
    assert _select.compiled.instructions() == before


def test_public_names() -> None:
    assert kernels.__all__ == sorted(kernels.__all__)
    assert all(hasattr(kernels, name) for name in kernels.__all__)
