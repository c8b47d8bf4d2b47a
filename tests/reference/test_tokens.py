"""Batches as a stream delivers them: fresh ones are true, old ones often are not, notes on exits always are."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (pip install 'chiasm[export]')")

from chiasm.reference.dataset import ATTRIBUTES, CAPTIONS  # noqa: E402
from chiasm.reference.metrics import SUBSETS  # noqa: E402
from chiasm.reference.stages._tokens import TokenBank  # noqa: E402

SCENES = 200
EXIT = tuple(ATTRIBUTES).index("blocked_exit")


@pytest.fixture
def bank() -> TokenBank:
    """Every token says which scene (first value) and which variant (second value) it comes from."""

    def tokens(variants: int, count: int) -> torch.Tensor:
        made = torch.zeros(SCENES, variants, count, 128, dtype=torch.float16)
        made[..., 0] = torch.arange(SCENES)[:, None, None]
        made[..., 1] = torch.arange(variants)[None, :, None]
        return made

    rng = np.random.default_rng(0)
    truth = torch.from_numpy(
        np.stack([rng.integers(0, len(values), SCENES) for values in ATTRIBUTES.values()], axis=1).astype(np.int64)
    )
    return TokenBank((tokens(2, 16), tokens(7, 8), tokens(2, 8), tokens(2, 8)), torch.zeros(SCENES, 128), truth)


def _sources(batch: object, modality: int) -> torch.Tensor:
    return batch.tokens[modality][:, 0, 0].long()  # type: ignore[attr-defined]


def test_fresh_packets_are_new_and_true(bank: TokenBank) -> None:
    batch = bank.batch(np.random.default_rng(1), 300, "cpu", "fresh")
    assert (batch.age == 0).all()
    for modality in range(4):
        assert (_sources(batch, modality) == batch.rows).all()
    assert (batch.truth == bank.truth[batch.rows]).all()


@pytest.mark.parametrize("delivery", ["slow", "stream"])
def test_the_older_the_less_true(bank: TokenBank, delivery: str) -> None:
    batch = bank.batch(np.random.default_rng(2), 6000, "cpu", delivery)
    for modality in range(4):
        wrong, age = (_sources(batch, modality) != batch.rows).numpy(), batch.age[:, modality].numpy()
        young, old = wrong[age < 0.1].mean(), wrong[age > 2.0].mean()
        assert young < 0.15
        assert old > young + (0.15 if (modality, delivery) == (1, "slow") else 0.5)


def test_words_on_exits_outlive_the_rest(bank: TokenBank) -> None:
    batch = bank.batch(np.random.default_rng(3), 3000, "cpu", "stream")
    sources = _sources(batch, 1)
    assert (sources != batch.rows).float().mean() > 0.2
    assert (bank.truth[sources, EXIT] == bank.truth[batch.rows, EXIT]).all()


def test_a_blocked_exit_always_has_its_note(bank: TokenBank) -> None:
    batch = bank.batch(np.random.default_rng(4), 3000, "cpu")
    variants, blocked = batch.tokens[1][:, 0, 1], bank.truth[_sources(batch, 1), EXIT] > 0
    assert (variants[blocked] >= CAPTIONS).all()
    assert (variants[~blocked] < CAPTIONS).any()


def test_every_subset_is_drawn(bank: TokenBank) -> None:
    batch = bank.batch(np.random.default_rng(5), 3000, "cpu")
    drawn = {tuple(np.flatnonzero(row).tolist()) for row in batch.presence.numpy()}
    assert drawn == set(SUBSETS)
