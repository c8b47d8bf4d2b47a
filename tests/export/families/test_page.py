"""docs/families.md is what the families say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the export package's extra")

from chiasm.export.families.__main__ import page


def test_the_page_is_up_to_date(root: Path) -> None:
    kept = (root / "docs" / "families.md").read_text(encoding="utf-8")
    assert kept == page(), "run: python -m chiasm.export.families > docs/families.md"
