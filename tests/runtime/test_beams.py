"""Beam search over all texts there are, against trying them all; and how a search ends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from chiasm.runtime.beams import Found, Limits, beam_search, greedy_search, log_softmax
from hypothesis import given, settings
from hypothesis import strategies as st

VOCABULARY, EOS = 4, 3
Tables = np.ndarray


def run(search: object, prompt: list[int], table: Tables, limits: Limits) -> Found:
    """Answers a search from logits that depend on how many tokens there are and on the last one."""
    texts = [list(prompt)] * limits.beams
    going = search(prompt, table[len(prompt)][[prompt[-1]]], limits)  # type: ignore[operator]
    try:
        asked = next(going)
        while True:
            texts = [[*texts[beam], token] for beam, token in asked]
            asked = going.send(np.stack([table[len(text)][text[-1]] for text in texts]))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def tables(seed: int) -> Tables:
    return np.random.default_rng(seed).normal(0, 2, (8, VOCABULARY, VOCABULARY)).astype(np.float32)


def likeliest(table: Tables, prompt: list[int], longest: int, penalty: float) -> float:
    """The best score of any text that ends, or is as long as texts may be."""
    best = -np.inf
    for count in range(1, longest - len(prompt) + 1):
        for tail in itertools.product(range(VOCABULARY), repeat=count):
            if EOS in tail[:-1] or (tail[-1] != EOS and count < longest - len(prompt)):
                continue
            text, score = list(prompt), 0.0
            for token in tail:
                score += float(log_softmax(table[len(text)][[text[-1]]])[0, token])
                text.append(token)
            best = max(best, score / count**penalty)
    return best


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 2), st.integers(1, 3), st.sampled_from([0.0, 0.5, 1.0]))
def test_enough_beams_find_the_likeliest_text(seed: int, given_: int, new: int, penalty: float) -> None:
    """With a beam for every text that runs on, and no end before the longest, nothing is missed."""
    table, prompt = tables(seed), [0, 1][:given_]
    limits = Limits(len(prompt) + new, EOS, 64, penalty, "never")
    found = run(beam_search, prompt, table, limits)
    assert found.score == pytest.approx(likeliest(table, prompt, limits.longest, penalty), abs=1e-4)
    score, text = 0.0, list(prompt)
    for token in found.tokens[len(prompt) :]:
        score += float(log_softmax(table[len(text)][[text[-1]]])[0, token])
        text.append(token)
    assert found.score == pytest.approx(score / (len(text) - len(prompt)) ** penalty, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_greedy_takes_the_likeliest_each_time(seed: int, new: int) -> None:
    table, limits = tables(seed), Limits(1 + new, EOS)
    found = run(greedy_search, [0], table, limits)
    text = [0]
    while len(text) < limits.longest and text[-1] != EOS:
        text.append(int(table[len(text)][text[-1]].argmax()))
    assert list(found.tokens) == text


@pytest.mark.parametrize("early", [True, False, "never"])
def test_texts_never_run_past_their_end(early: bool | str) -> None:
    for seed in range(30):
        for beams in (1, 2):
            limits = Limits(6, EOS, beams, 1.0, early)
            found = run(beam_search, [0], tables(seed), limits)
            assert len(found.tokens) <= 6
            assert EOS not in found.tokens[:-1]
            assert found.tokens[-1] == EOS or len(found.tokens) == 6
