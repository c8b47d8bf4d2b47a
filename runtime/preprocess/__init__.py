"""Raw capture → the tensors that the manifest describes."""

from __future__ import annotations

from .preparer import Preparer

__all__ = ["Preparer"]
