"""Finds the compiled kernels, and remembers why when they are not in use."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["ABI", "BACKEND", "compiled", "kernels", "why_not"]

ABI = 4
"""The signatures that this Python code calls. The extension carries the number it was built with."""


def _load() -> tuple[ModuleType | None, str | None]:
    if find_spec("._ext", __package__) is None:
        return None, "the extension was not built: no C++ compiler (GCC or Clang) or no Python headers at install"
    try:
        from . import _ext
    except ImportError as error:
        return None, f"the extension does not load: {error}"
    if _ext.ABI != ABI:
        return None, f"the extension is of another version (found {_ext.ABI}, expected {ABI}): install again"
    return _ext, None


compiled, _reason = _load()
BACKEND = "c++" if compiled else "numpy"
"""What runs the kernels: "c++" (compiled) or "numpy" (the reference)."""


kernels: Any = compiled or import_module(".reference", __package__)
"""The module that runs them: the extension, or its NumPy twin."""


def why_not() -> str | None:
    """Why the compiled kernels are not in use; None when they are."""
    return _reason
