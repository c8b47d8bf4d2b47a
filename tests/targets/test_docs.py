from __future__ import annotations

from pathlib import Path

from chiasm.targets.__main__ import page
from chiasm.targets.catalogue import targets


def test_the_page_of_targets_is_up_to_date(root: Path) -> None:
    made = page()
    assert (root / "docs" / "targets.md").read_text("utf-8") == made, "run: python -m chiasm.targets > docs/targets.md"
    assert all(f"## {name}\n" in made for name in targets())
