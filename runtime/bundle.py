"""Opening a bundle: the manifest checked, every listed file there and of its size, every hash checked before use."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from .engines import engine_folder
from .errors import BundleError, HashError, InputError, PrecisionError, UnsafePathError
from .external_data import Fetch, inline_external_data
from .hints import did_you_mean
from .manifest import MAX_BYTES, ExternalFile, Manifest, Modality, Variant, parse
from .values import OnnxGraph, Origin

__all__ = ["INLINE", "Bundle", "open_bundle", "resolve_bundle"]

INLINE = 8 * 2**20
"""External data of a graph up to so many bytes are put inside it; larger ones are mapped from their files."""
_AGAIN = "Export the bundle again, or copy it again from where it came"
_CHUNK = 4 * 2**20
_SMALL = 2**16
"""A tensor of at most so many bytes is put inside in any case: it may be a shape, which a backend must see at once."""


class Bundle:
    """A folder whose manifest has been checked. Holds no file open; a file is hash-checked before it is used."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._hashes = _hashes(manifest)
        self._checked: dict[str, tuple[int, ...]] = {}

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r}, {self.manifest.model.name} {self.manifest.model.version})"

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that the manifest names, each once."""
        return tuple(self._hashes)

    def read(self, file: str) -> bytes:
        """Bytes of a file that the manifest names, after its size and SHA-256 were checked on these very bytes."""
        if file not in self._hashes:
            raise UnsafePathError(
                "Not a file of this bundle", found=ascii(file), expected="one that the manifest names"
            )
        sha256, size = self._hashes[file]
        data = _read(self.path, file)
        if size is not None and len(data) != size:
            raise _damaged(self.path / file, f"{len(data)} bytes", size)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise _damaged(self.path / file, f"SHA-256 {found}", sha256)
        return data

    def check(self, file: str) -> Path:
        """Check size and SHA-256 of a file that the manifest names without holding it in memory; where it really is.

        A file that was checked before and has not been written since is not read again.
        """
        sha256, size = self._hashes[file]
        real, facts = _regular(self.path, file)
        stamp = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        if self._checked.get(file) != stamp:
            if size is not None and facts.st_size != size:
                raise _damaged(self.path / file, f"{facts.st_size} bytes", size)
            found = _hash(real)
            if found != sha256:
                raise _damaged(self.path / file, f"SHA-256 {found}", sha256)
            self._checked[file] = stamp
        return real

    def check_files(self) -> None:
        """Read every file and check its hash; for `inspect` and `doctor`, since opening checks only names and sizes."""
        for file in self._hashes:
            self.check(file)

    def variant(self, part: str, precision: str) -> Variant:
        """The variant of a part in a precision; PrecisionError lists what there is."""
        if part not in self.manifest.parts:
            raise InputError("No such part", found=part, expected=f"one of {', '.join(self.manifest.parts)}")
        variants = {variant.precision: variant for variant in self.manifest.parts[part].variants}
        for name, variant in variants.items():
            if name == precision:
                return variant
        raise PrecisionError(
            f"Part {part} has no variant of this precision", found=precision, expected=f"one of {', '.join(variants)}"
        )

    def outside(self, part: str, precision: str) -> tuple[str, ...]:
        """The files of external data that stay outside the graph of a variant; none up to `INLINE` bytes in all."""
        external = self.variant(part, precision).external
        return tuple(item.file for item in external) if sum(item.bytes for item in external) > INLINE else ()

    def graph(self, part: str, precision: str, *, check: bool = True) -> OnnxGraph:
        """The ONNX graph of a variant, its external data hash-checked.

        Up to `INLINE` bytes of them are put inside. More stay in their files, for the backend to map: every reference
        then names a listed, checked file in the graph's own folder. Without `check` those files (see `outside`)
        were not hashed yet: whoever asks for that must `check` them before anything that comes of them is used.
        """
        variant = self.variant(part, precision)
        apart = any(part == modality.part for modality in self.manifest.modalities)
        origin = Origin(part, precision, variant.digest, engine_folder(self.path), apart)
        if not self.outside(part, precision):
            whole = inline_external_data(self.read(variant.file), self._inside(variant))
            return OnnxGraph(whole, origin=origin)
        for item in variant.external if check else ():
            self.check(item.file)
        graph = inline_external_data(self.read(variant.file), self._outside(variant))
        folder = _regular(self.path, variant.file)[0].parent
        return OnnxGraph(graph, folder, sum(item.bytes for item in variant.external), origin)

    def _inside(self, variant: Variant) -> Fetch:
        """Gives the checked bytes of a reference."""
        loaded: dict[str, bytes] = {}

        def fetch(location: str, offset: int, length: int | None) -> memoryview:
            file = _external(variant, location)
            data = loaded[file] if file in loaded else loaded.setdefault(file, self.read(file))
            return memoryview(data)[offset : _end(variant.file, file, offset, length, len(data))]

        return fetch

    def _outside(self, variant: Variant) -> Fetch:
        """Lets a large tensor stay in its file, if that is listed and lies beside the graph; gives the small ones."""
        sizes = {item.file: item.bytes for item in variant.external}
        folder, _, _ = variant.file.rpartition("/")

        def fetch(location: str, offset: int, length: int | None) -> bytes | None:
            file = _external(variant, location)
            end = _end(variant.file, file, offset, length, sizes[file])
            if end - offset <= _SMALL:
                return _read(self.path, file, limit=end - offset, start=offset)
            if file != (f"{folder}/{location}" if folder else location):
                raise UnsafePathError(
                    f"{variant.file} names external data in a roundabout way", found=ascii(location[:200]),
                    expected="a plain path from the graph's folder",
                )  # fmt: skip
            return None

        return fetch

    def modality(self, name: str) -> Modality:
        """The modality of that name; InputError lists the names."""
        for modality in self.manifest.modalities:
            if modality.name == name:
                return modality
        names = ", ".join(modality.name for modality in self.manifest.modalities)
        raise InputError("No such modality", found=name, expected=f"one of {names}")


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle folder: manifest parsed and checked; every file it names is there, inside, and of its size.

    Raises a BundleError (ManifestError, SchemaVersionError, UnsafePathError, HashError) that says what is wrong.
    """
    folder = _named(path)
    try:
        kind = os.stat(folder).st_mode
    except (OSError, ValueError) as error:
        fix = did_you_mean(str(path), ["reference"]) or "Check the path and its spelling"
        raise BundleError(
            "No bundle here", found=_reason(error), expected=f"a folder at {str(folder)!a}", fix=fix
        ) from None
    if not stat.S_ISDIR(kind):
        fix = f"Name the folder: {folder.parent}" if folder.name == "manifest.json" else "Name the bundle's folder"
        raise BundleError("A bundle is a folder", found=f"the file {folder}", fix=fix)
    manifest = parse(_read(folder, "manifest.json", limit=MAX_BYTES + 1))
    bundle = Bundle(folder, manifest)
    for file, (_, size) in bundle._hashes.items():
        found = _regular(folder, file)[1].st_size
        if size is not None and found != size:
            raise _damaged(folder / file, f"{found} bytes", size)
    return bundle


def resolve_bundle(path: str | Path) -> Path:
    """A path as it is, but the word `reference` is the bundle that ships with chiasm (`./reference` is a folder)."""
    if path != "reference":
        return _named(path)
    shipped = Path(__file__).parent.parent / "reference" / "bundle"
    if not (shipped / "manifest.json").is_file():
        raise BundleError(
            "The reference bundle is not part of this installation",
            expected=f"a bundle at {shipped}",
            fix="Make it: chiasm export reference --out reference/bundle",
        )
    return shipped


def _named(path: str | Path) -> Path:
    """An empty word would be the current folder, which nobody meant."""
    if not isinstance(path, str | os.PathLike):
        raise BundleError("Not a bundle's folder", found=type(path).__name__, expected="a path, or 'reference'")
    if path == "":
        raise BundleError("No bundle is named", found="", expected="a bundle's folder, or the word 'reference'")
    return Path(path)


def _hashes(manifest: Manifest) -> dict[str, tuple[str, int | None]]:
    """file → (SHA-256, size or None where the manifest gives none)."""
    found: dict[str, tuple[str, int | None]] = {}
    for part in manifest.parts.values():
        for variant in part.variants:
            entries: tuple[Variant | ExternalFile, ...] = (variant, *variant.external)
            found.update({entry.file: (entry.sha256, entry.bytes) for entry in entries})
    found.update({file: (sha256, None) for file, sha256 in manifest.files.items()})
    return found


def _external(variant: Variant, location: str) -> str:
    """A location is relative to its graph's folder; it must be a file that the variant lists."""
    listed = [item.file for item in variant.external]
    steps = [*variant.file.split("/")[:-1], *location.split("/")]
    file = "/".join(step for step in steps if step != ".")
    if location.startswith("/") or ".." in steps or file not in listed:
        raise UnsafePathError(
            f"{variant.file} refers to external data that the manifest does not list",
            found=ascii(location[:200]),
            expected=", ".join(listed) or "no external data",
            fix="Do not use this bundle unless you know who wrote it",
        )
    return file


def _end(graph: str, file: str, offset: int, length: int | None, size: int) -> int:
    """Where a reference ends in its file; BundleError when that is beyond the file's end."""
    end = size if length is None else offset + length
    if not offset <= end <= size:
        raise BundleError(f"{graph} reads past the end of {file}", found=end, expected=f"≤ {size}")
    return end


def _damaged(path: Path, found: str, expected: object) -> HashError:
    return HashError(f"{path} is damaged", found=found, expected=expected, fix=_AGAIN)


def _hash(path: Path) -> str:
    """SHA-256 of a file of any size."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as stream:
            buffer = memoryview(bytearray(_CHUNK))
            while count := stream.readinto(buffer):
                digest.update(buffer[:count])
    except OSError as error:
        raise BundleError(f"{path} cannot be read", found=_reason(error)) from None
    return digest.hexdigest()


def _regular(folder: Path, file: str) -> tuple[Path, os.stat_result]:
    """Where the file really is, and its facts: a regular file inside the folder, whatever links say."""
    try:
        root, real = os.path.realpath(folder), os.path.realpath(folder / file, strict=True)
        facts = os.stat(real)
    except (OSError, ValueError) as error:
        wanted = str(folder / file)
        raise BundleError(f"The bundle lacks {file}", found=_reason(error), expected=wanted, fix=_AGAIN) from None
    if os.path.commonpath([root, real]) != root:
        raise UnsafePathError(
            "A file of the bundle is a link that leaves it",
            found=f"{file} → {real}",
            expected="files inside the bundle",
            fix="Copy the file into the bundle in place of the link",
        )
    if not stat.S_ISREG(facts.st_mode):
        raise BundleError(f"{folder / file} is not a file", found=stat.filemode(facts.st_mode), fix=_AGAIN)
    return Path(real), facts


def _read(folder: Path, file: str, limit: int = -1, start: int = 0) -> bytes:
    """The bytes of a file, at most `limit` of them, from `start` on."""
    real, _ = _regular(folder, file)
    try:
        with open(real, "rb") as stream:
            stream.seek(start)
            return stream.read(limit)
    except OSError as error:
        raise BundleError(f"{folder / file} cannot be read", found=_reason(error)) from None


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
