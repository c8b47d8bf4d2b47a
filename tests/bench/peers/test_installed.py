"""Sizes are those of a package and of all that it requires."""

from __future__ import annotations

from chiasm.bench.peers.installed import installed_mib


def test_requirements_are_followed() -> None:
    found = installed_mib(("chiasm",))
    assert found is not None
    assert {"chiasm", "numpy", "msgspec", "typer"} <= set(found)
    assert "torch" not in found
    assert all(size >= 0 for size in found.values())
    assert found["numpy"] > 1


def test_what_is_not_installed_has_no_size() -> None:
    assert installed_mib(("a-package-that-nobody-has",)) is None
