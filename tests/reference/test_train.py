"""Training: stages in order, resumed after a kill, and a checkpoint that export can read."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch (pip install 'chiasm[export]')")


from chiasm.export.modules.encoders import ImageEncoder, PatchImageEncoder  # noqa: E402
from chiasm.export.weights import build_module  # noqa: E402
from chiasm.reference import train as training  # noqa: E402
from chiasm.reference.context import Context, Stage  # noqa: E402
from chiasm.reference.dataset import ATTRIBUTES, MODALITIES, SPLITS, open_scenes  # noqa: E402
from chiasm.reference.metrics import SUBSETS  # noqa: E402
from chiasm.reference.stages import find_stages, in_order  # noqa: E402
from chiasm.reference.stages._tokens import load_encoders  # noqa: E402
from chiasm.reference.stages.image_student import equalise, student_losses  # noqa: E402
from chiasm.runtime.errors import ChiasmError  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

PERCEPTION = ("data", "tokenizer", "encoders", "image_student", "fusion", "streams", "fusion_kinds")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every perception stage once, at --quick sizes."""
    folder = tmp_path_factory.mktemp("work")
    for name in PERCEPTION:
        assert training.train(folder, stage=name, quick=True, device="cpu") == [name]
    return folder


def test_stages_are_found_and_ordered() -> None:
    stages = find_stages()
    assert set(PERCEPTION) <= set(stages)
    order = [stage.name for stage in in_order(stages)]
    for stage in stages.values():
        assert all(order.index(need) < order.index(stage.name) for need in stage.needs)


def test_a_circle_of_needs_is_refused() -> None:
    stages = {name: Stage(name, (need,), lambda ctx: None) for name, need in (("a", "b"), ("b", "a"))}
    with pytest.raises(ValueError, match="need each other"):
        in_order(stages)


def test_rendered_scenes_agree_with_their_description(work: Path) -> None:
    scenes = open_scenes(work / "data" / "train")
    assert scenes.images.shape == (len(scenes), 64, 64, 3)
    assert scenes.sound.shape == (len(scenes), 16000)
    assert scenes.radar.shape == (len(scenes), 32, 32)
    assert scenes.facts.shape == (len(scenes), len(MODALITIES), len(ATTRIBUTES))
    truth = torch.tensor([scenes.attributes[name].tolist() for name in ATTRIBUTES]).T
    facts = torch.from_numpy(scenes.facts.copy()).long()
    assert ((facts < 0) | (facts == truth[:, None])).all(), "what a modality says is true"
    assert {len(lines) for lines in scenes.captions} == {4}


def test_splits_never_share_a_seed() -> None:
    ranges = sorted(SPLITS.values())
    for (first, count), (following, _) in pairwise(ranges):
        assert first + count <= following


def test_a_finished_stage_is_not_run_again(work: Path) -> None:
    assert training.train(work, stage="tokenizer", quick=True, device="cpu") == []


def test_a_folder_of_another_run_is_refused(work: Path) -> None:
    with pytest.raises(ChiasmError, match="holds another run"):
        training.train(work, stage="tokenizer", seed=1, quick=True, device="cpu")


def test_every_stage_leaves_a_log(work: Path) -> None:
    for name in PERCEPTION:
        log = json.loads((work / name / "log.json").read_text())
        assert log["seconds"] >= 0
        assert log["result"]
    subsets = json.loads((work / "fusion" / "log.json").read_text())["result"]
    assert len(SUBSETS) == 15
    assert len([name for name in subsets if name.split("+")[0] in MODALITIES]) == 15


def test_checkpoint_is_whole_and_half_precision(work: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    counts = training.write_checkpoint(work, tmp_path / "checkpoint")
    config = json.loads((tmp_path / "checkpoint" / "config.json").read_text())
    kinds = config["fusion"]["kinds"]
    assert sorted(kinds) == ["adaptive", "early", "gated", "hybrid", "late", "middle"]
    for part in (*MODALITIES, *kinds.values(), "heads"):
        tensors = load_file(tmp_path / "checkpoint" / f"{part}.safetensors")
        assert {t.dtype for t in tensors.values()} <= {torch.float16, torch.int64}
        module = build_module(part, config["modules"][part])
        module.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
        assert counts[part] > 0
    assert (tmp_path / "checkpoint" / "tokenizer.json").exists()
    assert not list((tmp_path / "checkpoint").glob("*.part"))


def test_the_picture_encoder_that_ships_is_the_student(work: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    training.write_checkpoint(work, tmp_path / "checkpoint")
    config = json.loads((tmp_path / "checkpoint" / "config.json").read_text())
    assert config["modules"]["image"]["kind"] == "image_patches"
    student = load_file(work / "image_student" / "parts" / "image.safetensors")
    shipped = load_file(tmp_path / "checkpoint" / "image.safetensors")
    assert all(torch.equal(shipped[name].float(), student[name].half().float()) for name in student)
    teacher = load_encoders(Context(work, "tiny", device="cpu"))["image"]
    assert isinstance(teacher, ImageEncoder), "fusion learns from the tokens that the student imitates"


def test_a_student_that_says_the_same_loses_nothing() -> None:
    torch.manual_seed(0)
    tokens, embedding = torch.randn(8, 16, 128), torch.nn.functional.normalize(torch.randn(8, 128), dim=1)
    others = torch.nn.functional.normalize(torch.randn(8, 2, 128), dim=2)
    same = student_losses((tokens, embedding), tokens, embedding, others)
    assert {name: float(loss) for name, loss in same.items()} == pytest.approx(dict.fromkeys(same, 0.0), abs=1e-6)
    apart = student_losses((tokens + 0.5, -embedding), tokens, embedding, others)
    assert float(apart["tokens"]) == pytest.approx(0.25, rel=1e-5)
    assert float(apart["embedding"]) == pytest.approx(2.0)
    assert float(apart["relations"]) > 1.0


def test_equalised_channels_say_the_same_in_more_equal_ranges() -> None:
    torch.manual_seed(0)
    net = PatchImageEncoder((6, 8, 8)).eval()
    with torch.no_grad():
        net.patches.norm.weight.copy_(torch.tensor([9.0, 0.1, 1.0, 0.02, 3.0, 1.0]))
        pixels = torch.rand(4, 3, 64, 64) * 2 - 1
        before, ranges = net(pixels), net.patches(pixels).amax((0, 2, 3))
        equalise([net.patches, *net.stages], pixels)
        after, nearer = net(pixels), net.patches(pixels).amax((0, 2, 3))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert float(nearer.max() / nearer.min()) < 0.2 * float(ranges.max() / ranges.min())


def test_states_are_saved_for_the_decoder(work: Path) -> None:
    import numpy as np

    states = np.load(work / "fusion" / "states.npy")
    assert states.shape == (len(open_scenes(work / "data" / "train")), 4, 256)
    assert np.isfinite(states).all()
    assert states.std() > 0.1


def _steps(work: Path, total: int, die_at: int | None = None) -> torch.Tensor:
    """A tiny stage that trains for ``total`` steps, or is killed before one."""
    ctx = Context(work, "tiny", device="cpu")
    ctx.seed_torch("net")
    net = torch.nn.Linear(3, 2)
    adam = torch.optim.AdamW(net.parameters(), lr=0.1)
    state = ctx.resume({"net": net}, {"adam": adam})
    for step in ctx.steps(state, total, "steps"):
        if step == die_at:
            ctx.save(state)
            raise KeyboardInterrupt
        rows = torch.from_numpy(ctx.rng("batch", step).standard_normal((4, 3))).float()
        loss = (net(rows) * torch.rand(4, 2)).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return net.weight.detach()


def test_a_killed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = _steps(tmp_path / "whole", 7)
    with pytest.raises(KeyboardInterrupt):
        _steps(tmp_path / "killed", 7, die_at=4)
    resumed = _steps(tmp_path / "killed", 7)
    assert torch.equal(whole, resumed)


def test_nothing_is_pickled(work: Path) -> None:
    kept = {path.suffix for path in work.rglob("*") if path.is_file()}
    assert kept <= {".json", ".safetensors", ".npy", ""}, kept


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--stage", "nonsense"], "unknown stage"),
        (["--device", "abacus"], "unknown device"),
        (["--stage", "fusion"], "has not finished"),
    ],
)
def test_bad_orders_are_one_line_and_exit_2(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    import typer

    app = typer.Typer()
    app.command()(training.main)
    result = CliRunner().invoke(app, ["--work", str(tmp_path), *arguments])
    assert result.exit_code == 2
    assert complaint in result.output
    assert "Traceback" not in result.output


def test_a_missing_part_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ChiasmError, match="run the stage that trains it"):
        Context(tmp_path, "x").weights("image")
