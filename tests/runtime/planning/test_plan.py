"""Plans of the reference bundle and of Stable Diffusion 1.5 in its true sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bundles import tiny_bundle
from chiasm.runtime.bundle import Bundle, open_bundle
from chiasm.runtime.errors import HashError, InputError
from chiasm.runtime.planning.count import count_graph
from chiasm.runtime.planning.memory import total
from chiasm.runtime.planning.plan import Plan, plan, target_named
from chiasm.runtime.planning.uses import idle, uses
from drawing_bundles import one_pass_bundle, prompt_bundle
from sd15 import sd15_bundle

MIB = 2**20
WEIGHTS = {"clip": 123_060_480, "denoiser": 859_520_964, "picture": 49_490_199}
"""Numbers of weights; test_sd15.py holds them to diffusers and transformers."""


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(sd15_bundle(tmp_path_factory.mktemp("sd15")))


@pytest.fixture(scope="module")
def reference(root: Path) -> Bundle:
    return open_bundle(root / "reference" / "bundle")


def _plan(bundle: Bundle, name: str, **settings: Any) -> Plan:
    return plan(bundle, target_named(name), **settings)


def test_sd15_in_fp32_does_not_fit_on_four_gigabytes(sd15: Bundle) -> None:
    made = _plan(sd15, "jetson-orin-nano-4gb", precision="fp32")
    assert made.verdict == "does not fit"
    weights = {line.what: line.mib for line in made.need if line.what.startswith("weights")}
    assert weights == {
        f"weights of {name}, fp32": pytest.approx(number * 4 / MIB, rel=1e-5) for name, number in WEIGHTS.items()
    }
    assert made.need_mib == pytest.approx(sum(line.mib for line in made.need))
    assert made.have_mib == 4096 - 585 - 1638
    assert made.need_mib > made.have_mib + made.spare_mib


def test_what_fits_on_four_gigabytes(sd15: Bundle) -> None:
    """INT8, once services are off: the sum says by how much."""
    made = _plan(sd15, "jetson-orin-nano-4gb")
    assert made.verdict == "tight"
    assert {part.precision for part in made.parts} == {"int8-trt"}
    assert "FP16 does not fit" in made.parts[0].why
    assert made.have_mib is not None
    assert made.have_mib < made.need_mib < made.have_mib + made.spare_mib
    by = {each.precision: each for each in made.alternatives}
    assert (by["fp32"].verdict, by["fp16"].verdict, by["int8-trt"].verdict) == ("does not fit", "does not fit", "tight")
    assert by["fp32"].smallest == "jetson-orin-nano-8gb"
    assert by["fp32"].need_mib > by["fp16"].need_mib > by["int8-trt"].need_mib == pytest.approx(made.need_mib)


def test_memory_that_is_given_decides(sd15: Bundle) -> None:
    assert _plan(sd15, "jetson-orin-nano-4gb", available_mib=3200.0).verdict == "fits"
    small = _plan(sd15, "jetson-orin-nano-4gb", available_mib=1000.0)
    assert small.verdict == "does not fit"
    assert small.have_mib == 1000.0
    assert small.spare_mib == 0.0


def test_one_part_is_exchanged_where_that_is_enough(sd15: Bundle) -> None:
    made = _plan(sd15, "jetson-orin-nano-4gb", available_mib=2400.0)
    assert made.verdict == "fits"
    assert {part.part: part.precision for part in made.parts} == {
        "clip": "fp16", "denoiser": "int8-trt", "picture": "fp16"
    }  # fmt: skip


def test_where_it_fits_fp16_is_taken(sd15: Bundle) -> None:
    made = _plan(sd15, "jetson-orin-nano-8gb-super")
    assert made.verdict == "fits"
    assert {part.precision for part in made.parts} == {"fp16"}
    assert "tensor cores" in made.parts[0].why


def test_the_denoiser_counts_its_steps_and_its_guidance(sd15: Bundle) -> None:
    made = _plan(sd15, "rtx-4090", steps=2)
    denoiser = next(part for part in made.parts if part.part == "denoiser")
    assert denoiser.runs == {"draw": 4}
    assert "2 steps x 2, guidance 7.5" in denoiser.how
    assert denoiser.count.operations["fp16"] == pytest.approx(803e9, rel=0.01)
    draw = made.tasks[0]
    assert draw.task == "draw"
    arithmetic = sum((part.bound.arithmetic or 0.0) * part.runs["draw"] for part in made.parts)
    assert draw.bound.arithmetic == pytest.approx(arithmetic)
    assert draw.bound.arithmetic == pytest.approx((4 * 803e9 + 2515e9 + 2 * 13e9) / 330.3e12, rel=0.01)


def test_guidance_of_one_needs_one_run(tmp_path: Path) -> None:
    bundle = open_bundle(sd15_bundle(tmp_path, precisions=("fp16",), guidance=1.0))
    assert {use.part: use.runs for use in uses(bundle.manifest)} == {"clip": 1, "denoiser": 4, "picture": 1}


def test_weights_are_not_read(sd15: Bundle) -> None:
    """Their hashes are wrong, and nobody notices: only graphs are read. A damaged graph is noticed."""
    with pytest.raises(HashError):
        sd15.graph("clip", "fp16")
    assert _plan(sd15, "l4").verdict == "fits"


def test_a_damaged_graph_is_refused(tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path)
    graph = path / "parts" / "image.fp32.onnx"
    data = bytearray(graph.read_bytes())
    data[50] ^= 1
    graph.write_bytes(bytes(data))
    with pytest.raises(HashError, match=r"image\.fp32\.onnx is damaged"):
        _plan(open_bundle(path), "l4")


def test_the_reference_bundle_on_a_cpu(reference: Bundle) -> None:
    made = _plan(reference, "arm-cpu")
    assert made.verdict == "fits"
    assert {part.part: part.precision for part in made.parts}["image"] == "int8-cpu"
    assert {task.task for task in made.tasks} == {"decide", "draw"}
    assert made.idle == ("fuse.early", "fuse.middle", "fuse.late", "fuse.hybrid", "fuse.gated", "picture.tiny")
    assert not any(part.count.unknown for part in made.parts)
    assert made.need_mib == pytest.approx(76, abs=3)
    assert "one of its kind" in made.notes[0]


def test_another_fusion(reference: Bundle) -> None:
    parts = [part.part for part in _plan(reference, "l4", fusion="early").parts]
    assert "fuse.early" in parts
    assert "fuse.adaptive" not in parts


def test_memory_that_is_not_known(reference: Bundle) -> None:
    made = _plan(reference, "x86-cpu")
    assert made.verdict == "not known"
    assert made.have is None
    assert made.have_mib is None
    assert any("--memory" in note for note in made.notes)
    assert _plan(reference, "x86-cpu", available_mib=50.0).verdict == "does not fit"


def test_a_part_in_a_precision_that_it_has_not(sd15: Bundle, tmp_path: Path) -> None:
    made = _plan(sd15, "l4", precision="int8")
    assert {part.precision for part in made.parts} == {"int8-trt"}
    assert made.parts[0].why == "asked for"
    tiny = open_bundle(tiny_bundle(tmp_path))
    assert {part.precision for part in _plan(tiny, "l4").parts} == {"fp32"}
    with pytest.raises(InputError, match="found int8, expected auto, fp32"):
        _plan(tiny, "l4", precision="int8")


def test_bundles_that_only_draw(tmp_path: Path) -> None:
    words = open_bundle(prompt_bundle(tmp_path, told=True))
    found = {use.part: use.runs for use in uses(words.manifest)}
    assert found == {"clip": 1, "t5": 1, "denoiser": 4, "picture": 1}
    assert idle(words.manifest, uses(words.manifest)) == ("encoder", "picture.tiny")
    turned = open_bundle(one_pass_bundle(tmp_path))
    assert [use.part for use in uses(turned.manifest)] == ["turn"]
    assert _plan(turned, "arm-cpu").verdict == "fits"
    with pytest.raises(InputError, match="has no steps"):
        uses(turned.manifest, steps=2)
    with pytest.raises(InputError, match="does not decide"):
        uses(turned.manifest, fusion="early")


def test_what_is_asked_for_must_be_there(reference: Bundle) -> None:
    with pytest.raises(InputError, match="no such number of steps"):
        _plan(reference, "l4", steps=3)
    with pytest.raises(InputError, match="No such fusion"):
        _plan(reference, "l4", fusion="tardy")
    with pytest.raises(InputError, match="jetson-orin-nano-4gb"):
        target_named("orin-nano-4gb")


def test_the_sum_is_the_sum(sd15: Bundle) -> None:
    made = _plan(sd15, "jetson-agx-orin-64gb")
    assert made.have is not None
    assert total(made.have) == made.have_mib
    assert [line.what for line in made.need[-5:]] == [
        "inputs and outputs", "activations", "scratch", "CUDA and TensorRT", "Python and chiasm"
    ]  # fmt: skip
    assert all(line.source for line in (*made.have, *made.need))


def test_on_a_card_each_encoder_has_activations_of_its_own(reference: Bundle) -> None:
    card, board = (
        {line.what: line.mib for line in _plan(reference, name, precision="fp16").need}
        for name in ("l4", "jetson-agx-orin-64gb")
    )
    encoders = [
        count_graph(reference.read(reference.variant(part, "fp16").file)).activations / MIB
        for part in ("image", "text", "audio", "radar")
    ]
    assert card["activations of encoders"] == pytest.approx(sum(encoders))
    assert "activations of encoders" not in board
    assert board["activations"] >= max(encoders)
    assert card["scratch"] == pytest.approx(0.35 * (sum(encoders) + card["activations"]))
