"""`chiasm doctor`: what works here, what does not, and the command that mends it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from .checks import Check, device, gpu_variants, room
from .common import EXTRAS, BackendOption, JsonOption, PrecisionOption, bundle_path, emit_json, stdout


def command(
    bundle: Annotated[
        str, typer.Argument(help="The bundle to try, or the word 'reference'.", metavar="BUNDLE")
    ] = "reference",
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Check this installation and a bundle.

    Looked at: the device, packages, extension, backends and what each lacks, extras; every part is opened and run
    once, and whether all of them have room is counted. Exit code 0 when the bundle runs here, 1 when something needed
    does not work.
    """
    checks = [
        *_python(), _extension(), _cuda(), *_backends(), *device(), *_extras(), *_bundle(bundle, backend, precision)
    ]  # fmt: skip
    broken = any(check.state == "broken" for check in checks)
    if as_json:
        emit_json({"ok": not broken, "machine": _machine(), "checks": [asdict(check) for check in checks]})
    else:
        _print(checks)
    if broken:
        raise typer.Exit(1)


def _machine() -> dict[str, object]:
    from ..targets import machine

    return machine().to_dict()


def _python() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", "ok", f"{version} in {sys.prefix}")
    yield from (_needed(package) for package in ("numpy", "msgspec", "tokenizers", "typer", "rich"))


def _needed(package: str) -> Check:
    try:
        importlib.import_module(package)
    except Exception as error:
        return Check(package, "broken", _words(error), "pip install --force-reinstall chiasm")
    return Check(package, "ok", metadata.version(package))


def _extension() -> Check:
    from .. import kernels

    reason = kernels.why_not()
    if reason is None:
        return Check("C++ kernels", "ok", f"in use ({kernels.BACKEND})")
    fix = "Install a C++ compiler and Python's headers (apt install g++ python3-dev), then reinstall chiasm"
    return Check("C++ kernels", "absent", f"not in use: {reason}; NumPy serves instead, slower", fix)


def _cuda() -> Check:
    from ..kernels import cuda

    reason = cuda.why_not()
    if reason is None:
        return Check("CUDA kernels", "ok", "loaded")
    fix = None
    if "PyCUDA is not installed" in reason:
        fix = "Only for an NVIDIA GPU: pip install 'chiasm[cuda]' (it is built there, with nvcc and the CUDA headers)"
    elif "not compiled" in reason:
        fix = "Put nvcc on the PATH, then reinstall chiasm"
    return Check("CUDA kernels", "absent", f"not in use: {reason}; the CPU serves", fix)


def _backends() -> Iterator[Check]:
    from ..runtime.backends import available

    reasons = available()
    real = [name for name, reason in reasons.items() if reason is None and name != "null"]
    for name, reason in reasons.items():
        if reason is None:
            yield Check(
                f"backend {name}", "ok", "available" if name != "null" else "available (runs nothing; for tests)"
            )
        else:
            fix = {"ort": "pip install 'chiasm[cpu]'", "openvino": "pip install 'chiasm[openvino]'"}.get(name)
            yield Check(f"backend {name}", "absent" if real else "broken", reason, fix)


def _extras() -> Iterator[Check]:
    for extra, modules in EXTRAS.items():
        yield from (_extra(extra, module, purpose) for module, purpose in modules.items())


def _extra(extra: str, module: str, purpose: str) -> Check:
    try:
        found = _find(module, light=extra != "export")
    except ModuleNotFoundError as error:
        lack = f"{error.name or module} is not installed; needed for {purpose}"
        return Check(module, "absent", lack, f"pip install 'chiasm[{extra}]'")
    except Exception as error:
        lack = f"does not import: {_words(error)}; needed for {purpose}"
        return Check(module, "absent", lack, _mend(module, str(error)))
    return Check(module, "ok", f"{found}, for {purpose}")


def _find(module: str, *, light: bool) -> str:
    """The version of an optional package; a light one is imported, since its system libraries may be missing."""
    if light:
        return str(getattr(importlib.import_module(module), "__version__", "installed"))
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(name=module)
    return metadata.version(module)


def _mend(module: str, words: str) -> str:
    """OpenCV with windows needs system libraries that a bare Debian lacks."""
    if module == "cv2" and "lib" in words:
        return "apt install libgl1 libglib2.0-0, or put opencv-python-headless in the place of opencv-python"
    return f"pip install --force-reinstall {'opencv-python' if module == 'cv2' else module}"


def _bundle(word: str, backend: str, precision: str) -> Iterator[Check]:
    """Open the bundle, check every file of it, open every part and run it once."""
    from ..runtime.bundle import open_bundle
    from ..runtime.errors import ChiasmError

    mend = "reinstall chiasm" if word == "reference" else "export the bundle again"
    try:
        path = bundle_path(word)
        model = open_bundle(path).manifest.model
    except ChiasmError as error:
        yield Check("bundle", "broken", str(error), mend if error.fix is None else None)
        return
    yield Check("bundle", "ok", f"{model.name} {model.version} at {path}")
    yield from _parts(path, backend, precision)


def _parts(path: Path, backend: str, precision: str) -> Iterator[Check]:
    from ..bench.parts import try_parts
    from ..runtime.errors import ChiasmError

    try:
        opened = try_parts(str(path), backend, precision)
    except ChiasmError as error:
        yield Check("bundle parts", "broken", str(error))
        return
    others = gpu_variants(path)
    for name, outcome in opened.items():
        broken = isinstance(outcome, ChiasmError)
        yield Check(f"part {name}", "broken" if broken else "ok", f"{outcome}; {others[name]}")
    yield room(path)


def _print(checks: list[Check]) -> None:
    from rich.table import Table

    from ..targets import machine

    out = stdout()
    out.print(str(machine()), soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    marks = {"ok": "[green]ok[/]", "absent": "[yellow]absent[/]", "broken": "[red]broken[/]"}
    from rich.markup import escape

    for check in checks:
        fix = f"\n-> {check.fix}" if check.fix else ""
        table.add_row(marks[check.state], escape(check.name), escape(check.found + fix))
    out.print(table)
    broken = [check.name for check in checks if check.state == "broken"]
    out.print(f"[red]Does not work: {', '.join(broken)}.[/]" if broken else "[green]Ready.[/]")


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
