"""chiasm: several senses, one decision, on a small computer.

    import chiasm
    pipeline = chiasm.load("reference")          # or the path of any bundle
    result = pipeline(image=frame, text="Dispatch: the left exit is blocked.")
    print(result.labels["hazard"], result.weights)

`load` opens a bundle and returns a `Pipeline`. Everything else a program needs is in `chiasm.runtime`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runtime import ChiasmError, Packet, Pipeline, Result, load

__version__ = "0.1.0"
__all__ = ["ChiasmError", "Packet", "Pipeline", "Result", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import the runtime on first use, so that `import chiasm` costs nothing."""
    if name in __all__:
        from . import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module 'chiasm' has no attribute {name!r}; it has {', '.join(__all__)}")
