"""The samplers against closed forms."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training the reference model needs the extra 'export'")

from chiasm.reference.sampling import TIMESTEPS, few_steps, fresh_noise, guided, many_steps, renoise  # noqa: E402


class Straight(torch.nn.Module):
    """The exact velocity of a flow whose data are one point, `goal` (or `goal` + the state's first value)."""

    def __init__(self, goal: float) -> None:
        super().__init__()
        self.goal = goal

    def forward(self, x: torch.Tensor, t: torch.Tensor, state: torch.Tensor, guidance: torch.Tensor) -> torch.Tensor:
        goal = self.goal + state[:, :1].reshape(-1, 1, 1, 1)
        return (x - goal) / t.reshape(-1, 1, 1, 1)


def test_renoise_is_a_straight_line() -> None:
    x0, noise = torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1)
    assert renoise(x0, noise, 0.25).flatten().tolist() == [0.25, 0.25]
    assert renoise(x0, noise, torch.tensor([0.0, 1.0])).flatten().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("steps", ["1", "2", "4"])
def test_few_steps_reach_the_only_point_there_is(steps: str) -> None:
    noise = fresh_noise(int(steps), (3, 2, 4, 4), seed=0)
    made = list(few_steps(Straight(0.7), torch.zeros(3, 5), noise, TIMESTEPS[steps], 1.0))
    assert len(made) == int(steps)
    assert all(torch.allclose(x0, torch.full_like(x0, 0.7), atol=1e-5) for x0 in made)


def test_few_steps_follow_the_written_formula() -> None:
    class Odd(torch.nn.Module):
        def forward(
            self, x: torch.Tensor, t: torch.Tensor, state: torch.Tensor, guidance: torch.Tensor
        ) -> torch.Tensor:
            return torch.tanh(x) * guidance.view(-1, 1, 1, 1) + t.view(-1, 1, 1, 1)

    noise, times = fresh_noise(2, (1, 1, 2, 2), seed=3), [1.0, 0.5]
    first = noise[0] - 1.0 * (torch.tanh(noise[0]) * 2 + 1.0)
    x = 0.5 * first + 0.5 * noise[1]
    second = x - 0.5 * (torch.tanh(x) * 2 + 0.5)
    made = list(few_steps(Odd(), torch.zeros(1, 1), noise, times, 2.0))
    assert torch.allclose(made[0], first)
    assert torch.allclose(made[1], second)


def test_a_noise_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="found 1 noises, expected one for each of the 2 steps"):
        next(few_steps(Straight(0.0), torch.zeros(1, 1), fresh_noise(1, (1, 1, 2, 2), 0), [1.0, 0.5], 1.0))


def test_noise_depends_on_the_seed_alone() -> None:
    assert torch.equal(fresh_noise(2, (1, 3), 5), fresh_noise(2, (1, 3), 5))
    assert not torch.equal(fresh_noise(2, (1, 3), 5), fresh_noise(2, (1, 3), 6))


def test_guidance_extrapolates_away_from_the_null_state() -> None:
    x, t, state = torch.zeros(1, 1, 1, 1), torch.ones(1), torch.tensor([[0.5]])
    velocity = [guided(Straight(0.0), x, t, state, torch.tensor([scale])).item() for scale in (0.0, 1.0, 3.0)]
    assert velocity == pytest.approx([0.0, -0.5, -1.5])


@pytest.mark.parametrize("heun", [True, False])
def test_many_steps_go_from_the_noise_to_the_point(heun: bool) -> None:
    noise = fresh_noise(1, (2, 1, 2, 2), seed=0)[0]
    path = list(many_steps(Straight(0.3), torch.zeros(2, 4), noise, 8, torch.ones(2), heun=heun))
    assert len(path) == 9
    assert torch.equal(path[0], noise)
    assert torch.allclose(path[4], renoise(torch.full_like(noise, 0.3), noise, 0.5), atol=1e-5)
    assert torch.allclose(path[-1], torch.full_like(noise, 0.3), atol=1e-5)


def test_the_published_times_start_at_pure_noise_and_fall() -> None:
    for steps, times in TIMESTEPS.items():
        assert len(times) == int(steps)
        assert times[0] == 1.0
        assert sorted(times, reverse=True) == times
