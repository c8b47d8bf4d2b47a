"""Facts about devices, and how to recognise the one we are on."""

from __future__ import annotations

from .machine import Machine, machine, packages

__all__ = ["Machine", "machine", "packages"]
