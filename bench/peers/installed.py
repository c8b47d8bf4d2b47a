"""Bytes that pip leaves on the disk for each way of running a model: a package and all that it needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

__all__ = ["WAYS", "installed_mib"]

WAYS = {
    "chiasm": ("chiasm", "onnxruntime"),
    "transformers eager": ("transformers", "torch", "pillow"),
    "ONNX Runtime": ("onnxruntime", "transformers", "pillow"),
    "OpenVINO": ("openvino", "transformers", "pillow"),
    "diffusers": ("diffusers", "transformers", "torch"),
}
"""Way → the packages that one would name to pip. Without `pillow` no processor of pictures."""

_OURS = ("cli", "bench", "reference", "export", "runtime", "kernels", "targets")


def installed_mib(roots: Sequence[str]) -> dict[str, float] | None:
    """Package → MiB of its files, with everything that it requires (no extras); None when a root is not installed."""
    sizes: dict[str, float] = {}
    queue = list(roots)
    while queue:
        name = _plain(queue.pop())
        if name in sizes:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            if name in map(_plain, roots):
                return None
            continue  # needed on another system or Python only
        if name == "chiasm":  # as a wheel holds it, even where the checkout itself is what is imported
            sizes[name] = sum(_folder(Path(__file__).parents[2] / each) for each in _OURS)
            queue += [_plain(each) for each in found.requires or () if _wanted(each)]
            continue
        files = [each.locate() for each in found.files or ()]
        sizes[name] = sum(path.stat().st_size for path in map(_as_path, files) if path.is_file()) / 2**20
        queue += [_plain(each) for each in found.requires or () if _wanted(each)]
    return sizes


def _folder(place: Path) -> float:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) / 2**20


def _as_path(place: object) -> Path:
    return Path(str(place))


def _plain(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", match.group(0)).lower() if match else ""


def _wanted(requirement: str) -> bool:
    return "extra" not in requirement.partition(";")[2]
