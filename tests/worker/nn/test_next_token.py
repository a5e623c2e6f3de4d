"""Choosing tokens: every row by its own settings, as transformers' own processors would."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from worker.nn.next_token import NextToken, keep_top_k, keep_top_p, penalised
from worker.nn.text_params import TextParams


@pytest.fixture
def scores():
    return torch.randn(6, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 3


def reference_top_p(row, p):
    order = np.argsort(-row, kind="stable")
    weights = np.exp(row - row.max())
    weights /= weights.sum()
    kept, total = [], 0.0
    for n in order:
        kept.append(n)
        total += weights[n]
        if total >= p:
            break
    return set(kept)


def test_top_k_keeps_each_rows_own_number(scores):
    k = torch.tensor([[0], [1], [2], [7], [50], [100]])
    kept = keep_top_k(scores, k, 100).isfinite().sum(-1)
    assert kept.tolist() == [50, 1, 2, 7, 50, 50]
    assert keep_top_k(scores, k, 100)[3].argmax() == scores[3].argmax()


def test_top_p_keeps_the_fewest_that_reach_it(scores):
    p = torch.tensor([[1.0], [0.9], [0.5], [0.1], [0.001], [0.99]], dtype=torch.float64)
    kept = keep_top_p(scores, p).isfinite()
    for row in range(1, 6):
        expected = reference_top_p(scores[row].numpy(), p[row].item())
        assert set(kept[row].nonzero()[:, 0].tolist()) == expected
    assert kept[0].all()


def test_the_penalty_makes_used_tokens_less_likely_whatever_their_sign(scores):
    used = torch.zeros_like(scores, dtype=torch.bool)
    used[:, ::2] = True
    after = penalised(scores, used, torch.full((6, 1), 1.5, dtype=torch.float64))
    assert (after[used] < scores[used]).all()
    assert torch.equal(after[~used], scores[~used])


def test_it_agrees_with_transformers(scores):
    from transformers.generation import logits_process as theirs

    ids = torch.randint(50, (6, 9), generator=torch.Generator().manual_seed(1))
    used = torch.zeros(6, 50, dtype=torch.bool).scatter(1, ids, True)
    expected = theirs.RepetitionPenaltyLogitsProcessor(1.3)(ids, scores.clone())
    expected = theirs.TemperatureLogitsWarper(0.7)(ids, expected)
    expected = theirs.TopKLogitsWarper(12)(ids, expected)
    expected = theirs.TopPLogitsWarper(0.8)(ids, expected)
    column = torch.ones(6, 1, dtype=torch.float64)
    ours = penalised(scores, used, 1.3 * column) / 0.7
    ours = keep_top_p(keep_top_k(ours, 12 * column.long(), 12), 0.8 * column)
    assert torch.allclose(ours, expected)


def test_a_rows_choice_depends_on_its_own_settings_only(scores):
    params = [
        TextParams(temperature=0.0),
        TextParams(temperature=1.0),
        TextParams(top_k=3),
        TextParams(top_p=0.5),
        TextParams(repetition_penalty=2.0),
        TextParams(temperature=3.0, top_k=10, top_p=0.9, repetition_penalty=0.8),
    ]
    logits = scores.float()
    used = scores > 1
    seeds, positions = [5, 6, 7, 8, 9, 10], [0, 1, 2, 3, 4, 5]
    together = NextToken(params, seeds, logits.device)(logits, used, positions)
    for n in range(6):
        alone = NextToken(params[n : n + 1], seeds[n : n + 1], logits.device)
        assert alone(logits[n : n + 1], used[n : n + 1], positions[n : n + 1]) == together[n]
    assert together[0] == logits[0].argmax()


def test_draws_follow_the_probabilities():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(6000, 3)
    params = [TextParams(temperature=2.0)] * 6000
    chosen = NextToken(params, range(6000), logits.device)(logits, None, [3] * 6000)
    shares = torch.bincount(chosen) / 6000
    assert torch.allclose(shares, (logits[0] / 2).softmax(-1), atol=0.02)
