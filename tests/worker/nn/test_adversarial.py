from __future__ import annotations

import math

import pytest
import torch

from worker.nn.adversarial import generator_loss, gradient_penalty, judge_loss, slopes

LOSSES = ("relativistic", "non_saturating", "wasserstein")


@pytest.mark.parametrize("kind", LOSSES)
def test_the_judge_wants_real_above_drawn_and_the_generator_the_opposite(kind):
    low, high = torch.full((3,), -2.0), torch.full((3,), 2.0)
    assert judge_loss(kind, real=high, fake=low) < judge_loss(kind, real=low, fake=high)
    assert generator_loss(kind, real=high, fake=high) < generator_loss(kind, real=high, fake=low)


def test_undecided_losses_are_those_of_a_coin():
    nought = torch.zeros(4)
    assert judge_loss("relativistic", nought, nought) == pytest.approx(math.log(2))
    assert judge_loss("non_saturating", nought, nought) == pytest.approx(2 * math.log(2))
    assert judge_loss("wasserstein", nought, nought) == 0


def test_the_relativistic_loss_sees_differences_only():
    real, fake = torch.randn(5), torch.randn(5)
    for loss in (judge_loss, generator_loss):
        moved = loss("relativistic", real + 7, fake + 7)
        torch.testing.assert_close(loss("relativistic", real, fake), moved)


def test_slopes_are_squared_gradients_that_can_be_learnt_from():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    pictures = torch.ones(2, 1, 1, 2, requires_grad=True)
    squares = slopes((pictures.flatten(1) * weight).sum(1), pictures)
    assert squares.tolist() == [25.0, 25.0]
    squares.mean().backward()
    assert weight.grad.tolist() == [6.0, 8.0]


def test_the_gradient_penalty_is_0_at_a_slope_of_1_and_finite_at_0():
    real, fake = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    for factor, penalty in ((1.0, 0.0), (3.0, 4.0), (0.0, 1.0)):
        weight = torch.tensor(factor / 2, requires_grad=True)  # four pixels
        found = gradient_penalty(lambda x, _, w=weight: (w * x).flatten(1).sum(1), real, fake, None)
        assert found.item() == pytest.approx(penalty, abs=1e-4)
        found.backward()
        assert torch.isfinite(weight.grad)
