"""Decoders in a manifest: each kind is read, and every broken promise is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import tiny_manifest
from chiasm.runtime.bundle import open_bundle
from chiasm.runtime.errors import InputError, ManifestError
from chiasm.runtime.manifest import DiffusionDecoder, OnePassDecoder, encode, parse
from drawing_bundles import one_pass_bundle, prompt_bundle


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """`a/b/0/c` → value; a step that is a number indexes a list."""

    def mutate(manifest: dict[str, Any]) -> None:
        at: Any = manifest
        *steps, last = path.split("/")
        for step in steps:
            at = at[int(step)] if isinstance(at, list) else at[step]
        at[int(last) if isinstance(at, list) else last] = value

    return mutate


def _fused(mutate: Callable[[dict[str, Any]], object] = lambda m: None) -> bytes:
    manifest, _ = tiny_manifest()
    mutate(manifest)
    return json.dumps(manifest).encode()


def test_a_decoder_alone_is_a_bundle(tmp_path: Path) -> None:
    manifest = open_bundle(prompt_bundle(tmp_path)).manifest
    assert isinstance(manifest.decoder, DiffusionDecoder)
    assert list(manifest.decoder.prompts) == ["clip", "t5"]
    assert manifest.decoder.schedule.kind == "lcm"
    assert (manifest.modalities, manifest.heads, manifest.fusion) == ((), {}, None)
    with pytest.raises(InputError, match=r"no fusion in it.*use generate"):
        _ = manifest.fused
    assert parse(encode(manifest)) == manifest


def test_one_pass_is_a_bundle(tmp_path: Path) -> None:
    manifest = open_bundle(one_pass_bundle(tmp_path, noise=True)).manifest
    assert isinstance(manifest.decoder, OnePassDecoder)
    assert manifest.decoder.source.width == 24
    assert parse(encode(manifest)) == manifest


def test_modalities_alone_are_a_bundle() -> None:
    def strip(manifest: dict[str, Any]) -> None:
        del manifest["fusion"], manifest["decoder"]
        manifest["heads"] = {}

    manifest = parse(_fused(strip))
    with pytest.raises(InputError, match="use encode"):
        _ = manifest.fused


def test_nothing_at_all_is_no_bundle() -> None:
    def strip(manifest: dict[str, Any]) -> None:
        del manifest["fusion"], manifest["decoder"]
        manifest.update(heads={}, modalities=[])

    with pytest.raises(ManifestError, match="1 to 64 modalities"):
        parse(_fused(strip))


def test_what_a_fused_decoder_leaves_out_is_not_written() -> None:
    written = json.loads(encode(parse(_fused())))["decoder"]
    assert not {"prompts", "encoder", "unprompted"} & set(written)
    assert set(written["schedule"]) == {"kind", "prediction_type", "times"}


FUSED: list[tuple[str, Any, str]] = [
    ("decoder/kind", "magic", "magic"),
    ("decoder/denoiser", "heads", "decoder.denoiser"),
    ("decoder/pictures", {}, "default"),
    ("decoder/pictures/full", "image", "decoder.pictures.full"),
    ("decoder/default", "huge", "decoder.default"),
    ("decoder/guidance", 9.0, "guidance"),
    ("decoder/guidance_range", [5.0, 1.0], "guidance"),
    ("decoder/latent", [4, 8, 8], "latents"),
    ("decoder/latent", [0, 8, 8], "decoder.latent"),
    ("decoder/picture", [32, 32], "picture"),
    ("decoder/picture", [-1, 32], "decoder.picture"),
    ("decoder/encoder", "image", "not started from a picture"),
    ("decoder/steps", [], "decoder.steps"),
    ("decoder/steps", [2, 1], "rising"),
    ("decoder/steps", [0, 1], "1 to 1000"),
    ("decoder/steps", [1, 2, 2000], "1 to 1000"),
    ("decoder/steps", [1, 2, 3, 4], "decoder.schedule, steps"),
    ("decoder/default_steps", 3, "default_steps"),
    ("decoder/schedule/kind", "dpm++", "Invalid enum"),
    ("decoder/schedule/kind", "lcm", "decoder.schedule"),
    ("decoder/schedule/prediction_type", "epsilon", "decoder.schedule, prediction_type"),
    ("decoder/schedule/times", [[1.0, 1.0]], "falling"),
    ("decoder/schedule/times/1", [1.0, 0.0], "falling"),
    ("decoder/schedule/times/1", [0.9, 0.5], "1.0 first"),
    ("decoder/schedule/times/1", [1.0], "each number of steps once"),
    ("decoder/schedule/shift", 3.0, "decoder.schedule, shift"),
    ("decoder/schedule/speed", 3.0, "unknown field"),
]


@pytest.mark.parametrize(("path", "value", "complaint"), FUSED, ids=[f"{p}={str(v)[:20]}" for p, v, _ in FUSED])
def test_a_broken_promise_of_a_fused_decoder_is_named(path: str, value: Any, complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        parse(_fused(_set(path, value)))


def test_a_fused_denoiser_that_is_not_told_has_no_range_of_guidance() -> None:
    def untold(manifest: dict[str, Any], limits: list[float]) -> None:
        inputs = manifest["parts"]["denoiser"]["inputs"]
        inputs[:] = [spec for spec in inputs if spec["name"] != "guidance"]
        manifest["decoder"].update(guidance=1.0, guidance_range=limits)

    assert parse(_fused(lambda m: untold(m, [1.0, 1.0]))).decoder is not None
    with pytest.raises(ManifestError, match="not told"):
        parse(_fused(lambda m: untold(m, [1.0, 3.0])))


PROMPTED: list[tuple[str, Any, str]] = [
    ("decoder/prompts/clip/part", "nobody", "prompt clip, part"),
    ("decoder/prompts/clip/length", 9, "prompt clip, input 'ids'"),
    ("decoder/prompts/clip/length", 0, "prompt clip, length"),
    ("decoder/prompts/clip/pad_id", -1, "pad_id"),
    ("decoder/prompts/clip/tokenizer", "other.json", "tokenizer"),
    ("decoder/prompts/t5/part", "clip", "prompt t5, input 'ids'"),
    ("decoder/prompts", {}, "there is no fusion"),
    ("decoder/prompts/two words", {"part": "clip", "length": 8, "pad_id": 0, "tokenizer": "tokenizer.json"}, "letters"),
    ("decoder/prompts/idle", {"part": "clip", "length": 8, "pad_id": 0, "tokenizer": "tokenizer.json"}, "prompt idle"),
    ("decoder/encoder", "picture", "decoder.encoder, inputs"),
    ("decoder/encoder", "nobody", "decoder.encoder"),
    ("decoder/unprompted", "ones", "Invalid enum"),
    ("decoder/schedule/beta_end", 0.0, "beta_end"),
    ("decoder/schedule/original_inference_steps", 3, "steps"),
    ("parts/clip/outputs/0/shape", [1, 8, 7], "tensor 'clip.tokens'"),
    ("parts/denoiser/inputs/1/shape", [2], "timestep"),
    ("parts/denoiser/outputs/0/name", "noise", "prediction"),
    ("heads", {"x": {"part": "clip", "output": "pooled", "kind": "embedding"}}, "no fusion"),
]


@pytest.mark.parametrize(("path", "value", "complaint"), PROMPTED, ids=[f"{p}={str(v)[:20]}" for p, v, _ in PROMPTED])
def test_a_broken_promise_of_prompts_is_named(tmp_path: Path, path: str, value: Any, complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        open_bundle(prompt_bundle(tmp_path, mutate=_set(path, value)))


def test_a_denoiser_that_fills_in_needs_an_encoder(tmp_path: Path) -> None:
    assert open_bundle(prompt_bundle(tmp_path, fills=True)).manifest.decoder is not None
    with pytest.raises(ManifestError, match="masked picture"):
        open_bundle(prompt_bundle(tmp_path, fills=True, name="other", encoder=None))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("decoder/part", "nobody", "decoder.part"),
        ("decoder/source/height", 21, "tensor 'source'"),
        ("decoder/source/height", 0, "decoder.source"),
        ("decoder/source/std", [0.5, 0.0, 0.5], "std"),
        ("decoder/source/scale", 0.0, "scale"),
        ("decoder/source/colour", 1, "unknown field"),
        ("decoder/picture", [40, 49], "tensor 'picture'"),
        ("parts/turn/inputs/1/name", "mask", "also mask"),
    ],
)
def test_a_broken_promise_of_one_pass_is_named(tmp_path: Path, path: str, value: Any, complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        open_bundle(one_pass_bundle(tmp_path, noise=True, mutate=_set(path, value)))
