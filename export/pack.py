"""Writes a bundle: all files into a folder beside it, flushed to disk, then swapped in. Nothing half written is ever
seen.

Where the system can exchange two names (Linux), a bundle that is replaced is there at every moment, the old one or
the new. Elsewhere it is moved aside first and put back if the second move fails.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ..runtime.errors import ChiasmError, ExportError
from ..runtime.manifest import (
    SCHEMA,
    ExternalFile,
    Manifest,
    Part,
    Precision,
    Tolerances,
    Variant,
    check,
    encode,
)  # fmt: skip
from ..runtime.values import TensorSpec
from .assembly import Assembly

__all__ = ["Specs", "beside", "check_target", "graph_file", "make_manifest", "make_variant", "pack"]

Specs = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def graph_file(part: str, precision: str) -> str:
    """Where the graph of a variant lies in the bundle."""
    return f"parts/{part}.{precision}.onnx"


def make_variant(
    part: str,
    precision: str,
    graph: bytes,
    opset: int,
    error: float,
    cosine: float,
    external: tuple[ExternalFile, ...] = (),
) -> Variant:
    """The manifest's entry for one graph and the files that it refers to."""
    return msgspec.convert(
        {
            "precision": precision, "file": graph_file(part, precision), "sha256": sha256(graph), "bytes": len(graph),
            "opset": opset, "max_relative_error": error, "cosine": cosine, "external": msgspec.to_builtins(external),
        },
        Variant,
    )  # fmt: skip


def make_manifest(
    assembly: Assembly,
    specs: Mapping[str, Specs],
    variants: Mapping[str, tuple[Variant, ...]],
    preferred: Mapping[str, Precision],
    tolerances: Tolerances,
    files: Mapping[str, bytes],
) -> Manifest:
    """The manifest of an assembly. Not checked: a draft without variants serves preprocessing while exporting."""
    from .. import __version__

    parts = {
        part: Part(
            inputs=inputs, outputs=outputs, variants=variants.get(part, ()), preferred=preferred.get(part, "fp32")
        )
        for part, (inputs, outputs) in specs.items()
    }
    return Manifest(
        schema=SCHEMA,
        model=assembly.model,
        modalities=assembly.modalities,
        parts=parts,
        fusion=assembly.fusion,
        heads=dict(assembly.heads),
        tolerances=tolerances,
        files={name: sha256(data) for name, data in files.items()},
        decoder=assembly.decoder,
        spaces=dict(assembly.spaces),
        captioner=assembly.captioner,
        chiasm=__version__,
    )


def check_target(out: Path) -> None:
    """`ExportError` unless `out` is free, an empty folder, or a bundle that may be replaced, in a writable place."""
    _try_place(out)
    if not out.exists() and not out.is_symlink():
        if out.parent.exists() and not out.parent.is_dir():
            raise ExportError(f"{out.parent} is not a folder", fix="Choose another --out.")
        return
    bundle = out.is_dir() and not out.is_symlink() and (out / "manifest.json").is_file()
    if not bundle and not (out.is_dir() and not out.is_symlink() and not any(out.iterdir())):
        raise ExportError(
            f"{out} exists and is not a bundle, so it is not overwritten",
            found="a folder without manifest.json" if out.is_dir() else "a file or a link",
            expected="a new name, an empty folder, or a bundle",
            fix="Choose another --out, or remove it yourself.",
        )


def _try_place(out: Path) -> None:
    """Make and remove a folder where `out` will be: better to fail now than after an hour of exporting."""
    try:
        if not out.name:
            raise ExportError(f"{out} cannot be a bundle", expected="the name of a new folder")
        with suppress(FileNotFoundError, NotADirectoryError):
            os.stat(out)  # a name that the system cannot take is refused here
        place = next(folder for folder in out.absolute().parents if folder.exists())
        if place.is_dir():
            os.rmdir(tempfile.mkdtemp(prefix=f".{out.name[:40]}.", dir=place))
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise ExportError(f"Cannot write the bundle {out}", found=reason, fix="Choose another --out.") from error


def pack(
    manifest: Manifest,
    graphs: Mapping[str, bytes],
    files: Mapping[str, bytes],
    out: Path,
    weights: Mapping[str, Path] | None = None,
) -> Path:
    """Write the bundle `out`. `graphs` by file name in the manifest; `files` are all others (also unlisted reports).

    `weights`: files that the graphs refer to, durable and on the disk of `out`; they are moved. Raises `ExportError`
    when it cannot be written, and `ManifestError` when the manifest breaks a promise.
    """
    check(manifest)
    check_target(out)
    with _sibling(out) as folder:
        for name, data in {**graphs, **files, "manifest.json": encode(manifest)}.items():
            _write(folder / name, data)
        for name, path in (weights or {}).items():
            os.replace(path, folder / name)
        for each in (folder / "parts", folder):
            _flush_folder(each)
        _swap(folder, out)
        _flush_folder(out.parent)
    return out


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A new folder beside `out`, removed at the end with whatever is in it by then, and so are parents made for it."""
    made = [folder for folder in out.absolute().parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
        folder.chmod(0o755)
    except OSError as error:
        raise ExportError(f"Cannot write beside {out}", found=error.strerror, fix="Choose another --out.") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def _sibling(out: Path) -> Iterator[Path]:
    """`beside`, in which whatever the system refuses is an `ExportError`."""
    with beside(out) as folder:
        try:
            yield folder
        except ChiasmError:
            raise
        except OSError as error:
            raise ExportError(f"Cannot write the bundle {out}", found=error.strerror or str(error)) from error


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder durable; not every system can."""
    with suppress(OSError, AttributeError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _swap(folder: Path, out: Path) -> None:
    """Put `folder` in the place of `out`; afterwards `folder` holds what was there before, if anything was."""
    if not out.exists():
        os.replace(folder, out)
    elif not _exchange(folder, out):
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".old", dir=out.parent))
        os.replace(out, aside)
        try:
            os.replace(folder, out)
        except OSError:
            os.replace(aside, out)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step with renameat2(2), where there is one."""
    at_cwd, exchange = -100, 2
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    return bool(rename(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), exchange) == 0)
