"""The recipes in docs/recipes.md are recipes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the export package's extra")

from chiasm.export.recipe import read_recipe


def test_every_recipe_of_the_docs_is_read(root: Path, tmp_path: Path) -> None:
    found = re.findall(r"```toml\n(.*?)```", (root / "docs" / "recipes.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) >= 2
    for index, text in enumerate(found):
        path = tmp_path / f"{index}.toml"
        path.write_text(text, encoding="utf-8")
        read_recipe(path)
