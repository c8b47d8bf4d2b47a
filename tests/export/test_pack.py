"""Writing a bundle: whole or not at all, and never over something that is not a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from bundles import tiny_bundle, tiny_manifest
from chiasm.export import pack as packing
from chiasm.export.pack import check_target, pack
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import ExportError, ManifestError
from chiasm.runtime.manifest import Manifest, encode, parse


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, dict[str, bytes]]:
    """A manifest and its files."""
    path = tiny_bundle(tmp_path_factory.mktemp("pieces"))
    files = tiny_manifest()[1]
    return parse((path / "manifest.json").read_bytes()), files


def _listing(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()}


def test_writes_a_bundle_that_opens_and_leaves_nothing_else(tmp_path: Path, pieces: Any) -> None:
    manifest, files = pieces
    out = pack(manifest, files, {"verify.json": b"{}\n"}, tmp_path / "new" / "bundle")
    open_bundle(out).check_files()
    assert (out / "verify.json").read_bytes() == b"{}\n"
    assert (out / "manifest.json").read_bytes() == encode(manifest)
    assert [each.name for each in out.parent.iterdir()] == ["bundle"]
    assert (out.stat().st_mode & 0o777) == 0o755


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "move aside"])
def test_replaces_a_bundle_as_a_whole(
    tmp_path: Path, pieces: Any, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, files = pieces
    if not exchange:
        monkeypatch.setattr(packing, "_exchange", lambda first, second: False)
    out = pack(manifest, files, {"old.txt": b"old"}, tmp_path / "bundle")
    pack(manifest, files, {"new.txt": b"new"}, out)
    assert not (out / "old.txt").exists()
    assert (out / "new.txt").read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_bundle_and_nothing_more(
    tmp_path: Path, pieces: Any, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, files = pieces
    out = pack(manifest, files, {}, tmp_path / "bundle")
    before, written = _listing(out), []

    def write(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == 5:
            raise failure

    monkeypatch.setattr(packing, "_write", write)
    expected: Any = ExportError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        pack(manifest, files, {}, out)
    assert len(written) == 5
    assert _listing(out) == before
    assert [each.name for each in tmp_path.iterdir()] == ["bundle"]


def test_a_failed_second_move_puts_the_old_bundle_back(
    tmp_path: Path, pieces: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, files = pieces
    out = pack(manifest, files, {}, tmp_path / "bundle")
    before, real, moves = _listing(out), os.replace, []

    def replace(source: Any, target: Any) -> None:
        moves.append(source)
        if len(moves) == 2:
            raise OSError(5, "Input/output error")
        real(source, target)

    monkeypatch.setattr(packing, "_exchange", lambda first, second: False)
    monkeypatch.setattr(packing.os, "replace", replace)
    with pytest.raises(ExportError, match="Input/output error"):
        pack(manifest, files, {}, out)
    assert _listing(out) == before


def test_refuses_targets_that_are_not_bundles(tmp_path: Path) -> None:
    check_target(tmp_path / "free")
    (tmp_path / "empty").mkdir()
    check_target(tmp_path / "empty")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"...")
    (tmp_path / "file").write_bytes(b"...")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name in ("photos", "file", "link"):
        with pytest.raises(ExportError, match="is not a bundle, so it is not overwritten"):
            check_target(tmp_path / name)
    with pytest.raises(ExportError, match="is not a folder"):
        check_target(tmp_path / "file" / "bundle")


def test_a_manifest_that_breaks_a_promise_is_not_written(tmp_path: Path, pieces: Any) -> None:
    import msgspec

    manifest, files = pieces
    broken = msgspec.structs.replace(manifest, parts={})
    with pytest.raises(ManifestError):
        pack(broken, files, {}, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
