"""The rules of the house that no other tool holds. `make test` runs ruff, import-linter and mypy beside these."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import chiasm
import pytest

OPTIONAL = (
    "torch",
    "onnx",
    "onnxscript",
    "transformers",
    "safetensors",
    "onnxruntime",
    "cv2",
    "av",
    "sounddevice",
    "matplotlib",
    "pycuda",
    "openvino",
)
BARE = """
import importlib, json, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {optional!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import chiasm
failed = {{}}
for module in pkgutil.walk_packages(chiasm.__path__, "chiasm.", onerror=lambda name: None):
    if module.name.endswith(("__main__", "._ext")):
        continue
    try:
        importlib.import_module(module.name)
    except Exception as error:
        cause = error if isinstance(error, ImportError) else error.__cause__
        if not isinstance(cause, ImportError):
            raise
        failed[module.name] = cause.name
print(json.dumps({{"failed": failed, "loaded": [name for name in {optional!r} if name in sys.modules]}}))
"""


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_version(root: Path) -> None:
    written = re.search(r'^version = "(.+)"$', (root / "pyproject.toml").read_text(), re.MULTILINE)
    assert written is not None
    assert chiasm.__version__ == written[1] == metadata.version("chiasm")
    assert f"## {chiasm.__version__}" in (root / "CHANGELOG.md").read_text("utf-8")


def test_the_public_face_is_what_it_says() -> None:
    assert all(getattr(chiasm, name) is not None for name in chiasm.__all__)
    with pytest.raises(AttributeError, match="it has"):
        _ = chiasm.nothing


def test_every_module_imports_in_a_bare_environment() -> None:
    """Exporting and training may need torch, drawing OpenCV; the rest imports without one optional package."""
    found = json.loads(_python(BARE.format(optional=OPTIONAL)))
    assert found["loaded"] == []
    outside = {
        name: missing
        for name, missing in found["failed"].items()
        if not name.startswith(("chiasm.export", "chiasm.reference")) or missing.partition(".")[0] not in OPTIONAL
    }
    assert outside == {}
    for name in ("chiasm.reference", "chiasm.export"):
        assert name not in found["failed"]


def test_the_runtime_is_light() -> None:
    """It must not drag in what a device may lack, nor the training side of the house."""
    code = "import sys, json, chiasm.runtime; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(_python(code))
    assert [name for name in loaded if name.partition(".")[0] in OPTIONAL] == []
    above = ("chiasm.export", "chiasm.reference", "chiasm.bench", "chiasm.cli")
    assert [name for name in loaded if name.startswith(above)] == []


def test_the_command_lines_docs_are_up_to_date(root: Path) -> None:
    from chiasm.cli._docs import text

    made = text()
    assert (root / "docs" / "cli.md").read_text("utf-8") == made, "run: python -m chiasm.cli._docs > docs/cli.md"


def test_the_readme_names_every_command(root: Path) -> None:
    from chiasm.cli import commands

    readme = (root / "README.md").read_text("utf-8")
    assert [name for name in commands() if f"`chiasm {name}" not in readme] == []


def test_the_readmes_example_runs(root: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="the example decides")
    readme = (root / "README.md").read_text("utf-8")
    example = re.search(r"```python\n(.+?)```", readme, re.DOTALL)
    assert example is not None
    assert 'load("reference")' in example[1]
    exec(compile(example[1].replace('"reference"', repr(str(tiny))), "README.md", "exec"), {})
    assert "step 4 of 4\n(64, 64, 3)" in capsys.readouterr().out


def test_files_stay_short(root: Path) -> None:
    """A file of the package with 300 lines is two files."""
    listed = subprocess.run(["git", "ls-files", "*.py", ":!tests"], cwd=root, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: the files of the repository are not known")
    long = {
        name: len((root / name).read_text("utf-8").splitlines())
        for name in listed.stdout.split()
        if (root / name).is_file()
    }
    assert {name: count for name, count in long.items() if count > 300} == {}
