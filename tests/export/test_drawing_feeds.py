"""What the parts of a decoder are fed with when their variants are compared and their INT8 ranges set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawing_bundles import one_pass_bundle, prompt_bundle

pytest.importorskip("onnx", reason="the export package's extra")

from chiasm.export.calibrate import Feeds, feeds_of, parts_in_order
from chiasm.export.captures import without_captures
from chiasm.export.drawing_feeds import captured, drawing_parts
from chiasm.export.sessions import Runner
from chiasm.kernels import plan_steps
from chiasm.runtime.bundle import Bundle, open_bundle
from chiasm.runtime.errors import ExportError


def _feeds(bundle: Bundle, count: int = 12, trajectories: int | None = None, seed: int = 0) -> dict[str, list[Feeds]]:
    manifest = bundle.manifest
    sets = without_captures(captured(manifest.modalities, manifest.decoder), 3).sets
    source = feeds_of(manifest, bundle.read, sets, count, seed)
    return {
        part: source.take(part, Runner(bundle.graph(part, "fp32")), count, trajectories)
        for part in parts_in_order(manifest)
    }


@pytest.mark.parametrize("kind", [{}, {"told": True}, {"fills": True}, {"unprompted": "zeros"}])
def test_every_part_is_fed_as_it_would_be_in_use(tmp_path: Path, kind: dict[str, Any]) -> None:
    bundle = open_bundle(prompt_bundle(tmp_path, **kind))
    manifest, feeds = bundle.manifest, _feeds(bundle)
    decoder: Any = manifest.decoder
    assert list(feeds) == ["clip", "t5", "encoder", "denoiser", "picture", "picture.tiny"]
    for part, own in feeds.items():
        assert own, part
        for feed in own:
            shapes = {each.name: (each.shape, each.dtype) for each in manifest.parts[part].inputs}
            assert {name: (value.shape, str(value.dtype)) for name, value in feed.items()} == shapes
    times = {float(feed["timestep"][0]) for feed in feeds["denoiser"]}
    planned = {step.time for steps in decoder.steps for step in plan_steps(decoder.schedule, steps).steps}
    assert len(feeds["denoiser"]) == 12
    assert times <= planned
    assert len(times) > 2
    assert len({feed["latents"].tobytes() for feed in feeds["picture"]}) == len(feeds["picture"]) >= 8
    empty = {feed["clip.tokens"].tobytes() for feed in feeds["denoiser"]}
    assert len(empty) > (2 if kind.get("told") else 3) - 1
    if kind.get("unprompted") == "zeros":
        assert any(not feed["clip.tokens"].any() for feed in feeds["denoiser"])


def test_the_same_seed_gives_the_same_feeds(tmp_path: Path) -> None:
    bundle = open_bundle(prompt_bundle(tmp_path))
    first, again, other = (_feeds(bundle, seed=seed)["denoiser"][0]["latents"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_slow_denoiser_is_sampled_with_few_steps(tmp_path: Path) -> None:
    bundle = open_bundle(prompt_bundle(tmp_path, steps=(2, 4, 50), default_steps=50))
    feeds = _feeds(bundle, count=40, trajectories=2)
    assert len(feeds["denoiser"]) == 4 + 2 * 4  # two ways of four steps, one of them guided
    assert len(feeds["picture"]) == 2


@pytest.mark.parametrize("noise", [False, True])
def test_a_generator_is_fed_with_prepared_pictures(tmp_path: Path, noise: bool) -> None:
    bundle = open_bundle(one_pass_bundle(tmp_path, noise=noise))
    feeds = _feeds(bundle)["turn"]
    assert len(feeds) == 3
    assert all(feed["source"].shape == (1, 3, 20, 24) and ("noise" in feed) == noise for feed in feeds)


def test_what_captures_are_needed(tmp_path: Path) -> None:
    manifest = open_bundle(prompt_bundle(tmp_path)).manifest
    assert [each.name for each in captured(manifest.modalities, manifest.decoder)] == ["prompt", "picture"]
    blind = open_bundle(prompt_bundle(tmp_path, name="blind.chiasm", encoder=None)).manifest
    assert [each.name for each in captured((), blind.decoder)] == ["prompt"]
    assert "encoder" not in drawing_parts(blind.decoder)
    assert captured((), None) == ()
    with pytest.raises(ExportError, match=r"captures for 'prompt'.*--calibration prompt=PATH"):
        feeds_of(manifest, lambda name: b"", {}, 4)
