"""Facts about devices, and how to recognise the one we are on."""

from __future__ import annotations

from .catalogue import find_target, releases_of, targets
from .machine import Machine, machine, packages
from .schema import Target, TargetError

__all__ = ["Machine", "Target", "TargetError", "find_target", "machine", "packages", "releases_of", "targets"]
