"""What the stages of the decoder are made of: weights of pixels, Muon for kernels, distillation, the recogniser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training the reference model needs the extra 'export'")
pytest.importorskip("cv2", reason="drawing scenes needs the extra 'camera'")

from chiasm.reference import CHECKPOINT  # noqa: E402
from chiasm.reference.sampling import renoise  # noqa: E402
from chiasm.reference.stages._steps import ConvMuon, rate  # noqa: E402
from chiasm.reference.stages.autoencoder import pixel_weights  # noqa: E402
from chiasm.reference.stages.distill import consistency_loss  # noqa: E402
from chiasm.reference.stages.recogniser import TEST_SEED, load_recogniser, render_pictures  # noqa: E402
from chiasm.runtime.errors import CheckpointError  # noqa: E402


def test_the_main_object_counts_as_much_as_the_rest() -> None:
    inside = np.zeros((2, 64, 64), bool)
    inside[0, 20:40, 20:40] = True
    weight = pixel_weights(np.packbits(inside, axis=2), "cpu")
    grown = weight[0, 0] > 1
    assert torch.allclose(weight.mean((1, 2, 3)), torch.ones(2), atol=1e-5)
    assert int(grown.sum()) == 22 * 22
    assert float(weight[0, 0][grown].sum()) > float(weight[0, 0][~grown].sum())
    assert torch.equal(weight[1], torch.ones(1, 64, 64))


def test_rate_warms_up_then_falls() -> None:
    shares = [rate(step, 1000) for step in range(1000)]
    assert shares[:100] == sorted(shares[:100])
    assert shares[100:] == sorted(shares[100:], reverse=True)
    assert shares[0] == pytest.approx(0.01)
    assert shares[-1] == pytest.approx(0.01, abs=1e-4)


def test_muon_moves_the_kernel_itself_by_an_orthogonal_step() -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 8, 3, bias=False)
    before = conv.weight.detach().clone()
    muon = ConvMuon([conv.weight])
    muon.param_groups[0].update(lr=0.1, weight_decay=0.0)
    conv(torch.randn(2, 4, 8, 8)).square().sum().backward()
    muon.step()
    moved = (before - conv.weight.detach()).flatten(1)
    values = torch.linalg.svdvals(moved)
    assert values.min() > 0.5 * values.max() > 0
    muon.zero_grad()
    assert conv.weight.grad is None


class Flow(torch.nn.Module):
    """The exact velocity towards one point, off by `error` in its belief of that point."""

    def __init__(self, goal: torch.Tensor, error: float = 0.0) -> None:
        super().__init__()
        self.goal = goal + error

    def forward(self, x: torch.Tensor, t: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return (x - self.goal) / t.clamp_min(1e-6).view(-1, 1, 1, 1)


def test_a_student_that_agrees_along_the_trajectory_has_no_loss() -> None:
    torch.manual_seed(0)
    goal, noise = torch.randn(6, 2, 4, 4), torch.randn(6, 2, 4, 4)
    path = torch.stack([renoise(goal, noise, 1 - point / 12) for point in range(13)])
    rest = torch.zeros(6, 3), torch.ones(6)
    exact = Flow(goal)
    assert consistency_loss(exact, exact, path, *rest) < 1e-6
    assert consistency_loss(Flow(goal, 0.3), exact, path, *rest) > 0.1


def test_a_missing_or_foreign_recogniser_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"recogniser\.safetensors is missing"):
        load_recogniser(tmp_path)
    (tmp_path / "recogniser.safetensors").write_bytes((CHECKPOINT / "heads.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="does not hold a recogniser"):
        load_recogniser(tmp_path)
    (tmp_path / "recogniser.safetensors").write_bytes(b"\x08")
    with pytest.raises(CheckpointError, match="does not hold a recogniser"):
        load_recogniser(tmp_path)


def test_the_shipped_recogniser_reads_true_pictures() -> None:
    pictures, truth = render_pictures(range(TEST_SEED + 50_000, TEST_SEED + 50_100))
    weather, thing = load_recogniser(CHECKPOINT)(pictures)
    assert np.mean((weather == truth[:, 0]) & (thing == truth[:, 1])) >= 0.95
