"""Will a bundle run on a device, and how fast at best? Counted on its graphs, without opening or running one."""

from __future__ import annotations

__all__: list[str] = []
