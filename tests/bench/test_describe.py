from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the original is a torch model")


def test_captions_are_compared_with_the_original(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from chiasm.bench.zoo.captions import blip
    from chiasm.bench.zoo.describe import main
    from chiasm.export import Settings, export

    blip(tmp_path / "blip-base", "tiny")
    export(tmp_path / "blip-base", tmp_path / "blip.chiasm", settings=Settings(("fp32",), checks=3, rounds=1))
    main(["--work", str(tmp_path), "--size", "tiny", "--pictures", "2"])
    out = capsys.readouterr().out
    assert "caption.step fp32" in out
    assert out.count("2 of 2 captions the same") == 6
    assert "3 beams, 2 pictures" in out
