"""What TensorRT-RTX compiles for the GPU that is here when an engine first runs: kept beside the engine, for next time.

    engines/<key>/runtime-<gpu>.cache    SHA-256 of the rest (32 bytes), then the vendor's bytes

The vendor checks its version, GPU and driver itself and refuses what does not fit. The file may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["RuntimeCache"]


class RuntimeCache:
    """The cache of one engine on the GPU of that name, put into a runtime configuration. A context must be current.

    `note`: why what lies there is not used, None where it is used or nothing lies there.
    """

    def __init__(self, config: Any, place: Path, gpu: str) -> None:
        self._path = place / f"runtime-{re.sub('[^a-z0-9]+', '-', gpu.lower()).strip('-')}.cache"
        self._cache = config.create_runtime_cache()
        self._found = b""
        self.note = self._load()
        config.set_runtime_cache(self._cache)

    def _load(self) -> str | None:
        try:
            found = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"its runtime cache is not used: {error.strerror} at {self._path}; kernels are compiled anew"
        if hashlib.sha256(found[32:]).digest() != found[:32]:
            return f"its runtime cache is not used: {self._path} is damaged; kernels are compiled anew"
        if not self._cache.deserialize(found[32:]):
            return f"its runtime cache is not used: {self._path} is of another version, GPU or driver; kernels are " \
                   "compiled anew"  # fmt: skip
        self._found = found
        return None

    def keep(self) -> None:
        """Write what there is now, in one piece, if it is not what was read. On a disk that takes nothing: nothing."""
        made = self._cache.serialize()
        data = b"" if made is None else bytes(made)
        whole = hashlib.sha256(data).digest() + data
        if not data or whole == self._found or not self._path.parent.is_dir():
            return
        new = self._path.with_suffix(".new")
        with suppress(OSError):
            new.write_bytes(whole)
            new.replace(self._path)
