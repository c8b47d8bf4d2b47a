"""The six fusion kinds: one contract, no NaN on any subset, absent means absent, weights that mean something."""

from __future__ import annotations

from itertools import combinations

import pytest

torch = pytest.importorskip("torch", reason="the modules are torch modules (pip install 'chiasm[export]')")

from chiasm.export.modules.fusion import FUSIONS  # noqa: E402
from chiasm.export.modules.fusion.common import COUNTS  # noqa: E402
from chiasm.export.modules.heads import Heads  # noqa: E402
from chiasm.export.modules.layers import masked_softmax  # noqa: E402

SUBSETS = [members for size in range(1, 5) for members in combinations(range(4), size)]


def _presence() -> torch.Tensor:
    return torch.tensor([[float(m in members) for m in range(4)] for members in SUBSETS])


def _tokens(batch: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(batch, count, 128) for count in COUNTS)


@pytest.fixture(params=sorted(FUSIONS))
def head(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    return FUSIONS[request.param]().eval()


def test_contract_on_all_subsets(head: torch.nn.Module) -> None:
    presence = _presence()
    with torch.no_grad():
        state, weights = head(*_tokens(15), presence, torch.rand(15, 4) * 3)
    assert state.shape == (15, 256)
    assert weights.shape == (15, 4)
    assert torch.isfinite(state).all()
    assert torch.allclose(weights.sum(dim=1), torch.ones(15), atol=1e-4)
    assert (weights[presence == 0] == 0).all()
    assert (weights[presence == 1] > 0).all()


def test_an_absent_modality_can_carry_anything(head: torch.nn.Module) -> None:
    presence, age = _presence(), torch.zeros(15, 4)
    tokens = _tokens(15)
    junk = tuple(
        torch.where(presence[:, m, None, None] > 0, t, 50.0 * torch.randn_like(t)) for m, t in enumerate(tokens)
    )
    other_age = torch.where(presence > 0, age, torch.full_like(age, 7.0))
    with torch.no_grad():
        first, second = head(*tokens, presence, age), head(*junk, presence, other_age)
    assert torch.allclose(first[0], second[0], atol=1e-4)
    assert torch.allclose(first[1], second[1], atol=1e-5)


def test_every_present_modality_matters(head: torch.nn.Module) -> None:
    presence, age = torch.ones(1, 4), torch.zeros(1, 4)
    tokens = _tokens(1)
    with torch.no_grad():
        before = head(*tokens, presence, age)[0]
        for m in range(4):
            changed = tuple(torch.randn_like(t) if i == m else t for i, t in enumerate(tokens))
            assert not torch.allclose(before, head(*changed, presence, age)[0], atol=1e-3)


def test_nobody_present_is_still_a_number(head: torch.nn.Module) -> None:
    with torch.no_grad():
        state, weights = head(*_tokens(1), torch.zeros(1, 4), torch.zeros(1, 4))
    assert torch.isfinite(state).all()
    assert torch.isfinite(weights).all()


def test_half_precision_stays_finite(head: torch.nn.Module) -> None:
    """Masks and staleness of an hour must survive FP16."""
    presence, age = _presence().half(), torch.full((15, 4), 3600.0).half()
    with torch.no_grad():
        state, weights = head.half()(*(t.half() for t in _tokens(15)), presence, age)
    assert torch.isfinite(state).all()
    assert torch.isfinite(weights).all()


def test_adaptive_weight_falls_with_age() -> None:
    torch.manual_seed(0)
    head = FUSIONS["adaptive"]().eval()
    tokens, presence = _tokens(1), torch.ones(1, 4)
    for m in range(4):
        seen = []
        for seconds in (0.0, 0.1, 0.5, 1.0, 3.0):
            age = torch.zeros(1, 4)
            age[0, m] = seconds
            with torch.no_grad():
                seen.append(float(head(*tokens, presence, age)[1][0, m]))
        assert seen == sorted(seen, reverse=True)
        assert seen[-1] < seen[0]


def test_masked_softmax() -> None:
    scores = torch.tensor([[1.0, 2.0, 3.0], [5.0, -5.0, 0.0]])
    mask = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    found = masked_softmax(scores, mask)
    assert torch.allclose(found[0, [0, 2]], torch.softmax(torch.tensor([1.0, 3.0]), 0), atol=1e-5)
    assert found[0, 1] == 0
    assert (found[1] == 0).all()


def test_heads() -> None:
    embedding, hazard, weather, kind = Heads()(torch.randn(3, 256))
    assert torch.allclose(embedding.norm(dim=1), torch.ones(3), atol=1e-3)
    assert (hazard.shape, weather.shape, kind.shape) == ((3, 7), (3, 4), (3, 7))
