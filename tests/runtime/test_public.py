"""The public face: what is exported, that importing it is light, and that `chiasm` itself passes it on."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import chiasm
import chiasm.runtime
import pytest

HEAVY = ("torch", "cv2", "onnx", "av", "onnxruntime", "tokenizers", "matplotlib", "sounddevice", "typer")


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_is_sorted_complete_and_documented() -> None:
    names = chiasm.runtime.__all__
    assert names == sorted(names)
    for name in names:
        item = getattr(chiasm.runtime, name)
        assert inspect.getdoc(item), f"{name} has no docstring"


def test_every_error_is_public() -> None:
    from chiasm.runtime import errors

    assert set(errors.__all__) <= set(chiasm.runtime.__all__)


def test_nothing_public_is_forgotten() -> None:
    known = {name: getattr(chiasm.runtime, name) for name in dir(chiasm.runtime)}
    public = {name for name, item in known.items()
              if not name.startswith("_") and not inspect.ismodule(item) and name != "annotations"}  # fmt: skip
    assert public == set(chiasm.runtime.__all__)


def test_what_a_decision_does_without_is_not_imported() -> None:
    later = "index", "zero_shot", "sinks", "sources", "painter", "caption", "diffuse"
    code = "import sys, chiasm.runtime as r; print([m for m in {0!r} if 'chiasm.runtime.' + m in sys.modules])"
    assert _python(code.format(later)) == "[]"
    assert _python("import chiasm.runtime as r; print(r.open_source.__module__)") == "chiasm.runtime.sources"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = chiasm.runtime.nothing


def test_chiasm_passes_on_its_names() -> None:
    assert chiasm.load is chiasm.runtime.load
    assert chiasm.Packet is chiasm.runtime.Packet
    for name in chiasm.__all__:
        assert getattr(chiasm, name) is not None
    with pytest.raises(AttributeError, match="it has"):
        _ = chiasm.nothing


def test_importing_the_runtime_imports_nothing_heavy() -> None:
    code = f"import sys, chiasm.runtime; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert _python(code) == "[]"


def test_importing_chiasm_does_not_even_import_numpy() -> None:
    assert _python("import sys, chiasm; print('numpy' in sys.modules, chiasm.__version__)").startswith("False")


def test_a_decision_imports_neither_torch_nor_onnx_nor_opencv(tiny: Path) -> None:
    code = (
        "import sys, chiasm\n"
        f"with chiasm.load({str(tiny)!r}) as p: p(text='red car')\n"
        "print([m for m in ('torch', 'cv2', 'onnx', 'av', 'matplotlib') if m in sys.modules])"
    )
    assert _python(code) == "[]"


@pytest.mark.parametrize("module", ["runtime", "runtime.backends.ort", "runtime.pipeline", "runtime.sources"])
def test_modules_import_where_optional_packages_are_missing(module: str) -> None:
    code = (
        "import sys\n"
        f"for name in {HEAVY!r}: sys.modules[name] = None\n"
        f"import chiasm.{module}\n"
        "import chiasm.runtime.backends as b\n"
        "print(b.available()['null'])"
    )
    assert _python(code) == "None"
