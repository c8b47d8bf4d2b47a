"""The denoiser: shapes, what it depends on, and that it can learn a flow."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the torch modules need the extra 'export'")

from chiasm.export.modules.denoiser import Denoiser  # noqa: E402

SMALL = {"channels": 4, "size": 4, "patch": 2, "width": 24, "depth": 2, "heads": 3, "state": 6}


def small(seed: int = 0) -> Denoiser:
    """A small denoiser with all weights random (a fresh one answers zero)."""
    torch.manual_seed(seed)
    net = Denoiser(**SMALL)
    for each in net.parameters():
        torch.nn.init.normal_(each, std=0.1)
    return net.eval()


def inputs(size: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "latents": torch.randn(size, 4, 4, 4),
        "timestep": torch.rand(size),
        "state": torch.randn(size, 6),
        "guidance": torch.full((size,), 2.0),
    }


def test_the_shipped_size_is_within_its_budget() -> None:
    from chiasm.reference.stages.denoiser import make_denoiser

    net = make_denoiser()
    assert sum(each.numel() for each in net.parameters()) <= 2_400_000
    zeros = net(torch.zeros(1, 8, 8, 8), torch.zeros(1), torch.zeros(1, 256), torch.ones(1))
    assert zeros.shape == (1, 8, 8, 8)


def test_a_fresh_denoiser_predicts_zero() -> None:
    assert torch.count_nonzero(Denoiser(**SMALL)(**inputs())) == 0


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    net, feed = small(), inputs(3)
    whole = net(**feed)
    for row in range(3):
        alone = net(**{name: value[row : row + 1] for name, value in feed.items()})
        assert torch.allclose(whole[row : row + 1], alone, atol=1e-5)


@pytest.mark.parametrize("name", ["latents", "timestep", "state", "guidance"])
def test_every_input_matters(name: str) -> None:
    net, feed = small(), inputs()
    changed = net(**(feed | {name: feed[name] + 0.5}))
    assert (changed - net(**feed)).abs().max() > 1e-4


def test_every_position_sees_every_other() -> None:
    net, feed = small(), inputs(1)
    feed["latents"].requires_grad_()
    net(**feed)[0, 0, 0, 0].backward()
    assert torch.all(feed["latents"].grad.abs().sum(1) > 0)


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="patch 3 must divide size 4"):
        Denoiser(**(SMALL | {"patch": 3}))


def test_it_learns_the_flow_of_two_latents() -> None:
    from chiasm.reference.stages.denoiser import flow_loss

    torch.manual_seed(0)
    net = Denoiser(**SMALL)
    state = torch.eye(6)[:2].repeat(32, 1)
    x0 = torch.randn(2, 4, 4, 4).repeat(32, 1, 1, 1)
    adam = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(120):
        loss = flow_loss(net, x0, state)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
