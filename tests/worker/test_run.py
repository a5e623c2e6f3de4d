from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from worker.run import Drained, Run


class Part:
    """Batch n is the number n."""

    def batch(self, n, batch_size, seed):
        return torch.full((batch_size, 2), float(n))


def steps_of(run, steps=3):
    return [int(batch[0, 0]) for batch in run.batches(Part(), 2, steps)]


def test_it_needs_no_torch():
    code = "import sys; from worker.run import Run; Run(seed=1); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_batches_come_in_order_and_count_from_one():
    run = Run(seed=1)
    seen = [(run.step, int(batch[0, 0])) for batch in run.batches(Part(), 2, 3)]
    assert seen == [(1, 0), (2, 1), (3, 2)]
    assert (run.step, run.total) == (3, 3)


def test_the_same_seed_gives_the_same_draws():
    def draws():
        Run(seed=5)
        return torch.rand(3).tolist()

    assert draws() == draws()


def test_a_checkpoint_is_restored_at_the_first_top():
    run = Run(seed=1)
    order = []

    def restore():
        order.append("restore")
        run.step = 2

    run.restore = restore
    run.at_top, run.wanted = lambda: order.append("top"), True
    batches = run.batches(Part(), 2, 4)
    assert order == []
    assert int(next(batches)[0, 0]) == 2
    assert order == ["restore", "top"]


def test_a_drain_ends_the_loop_at_its_top():
    run = Run(seed=1)

    def stop():
        raise Drained

    loop = run.batches(Part(), 2, 9)
    next(loop)
    run.at_top, run.wanted = stop, True
    with pytest.raises(Drained):
        next(loop)
    assert run.step == 1


def test_a_drain_after_the_last_step_still_takes_its_snapshot():
    run = Run(seed=1)
    loop = run.batches(Part(), 2, 1)
    next(loop)
    tops = []
    run.at_top, run.wanted = lambda: tops.append(run.step), True
    assert list(loop) == []
    assert tops == [1]


def test_there_is_one_loop():
    run = Run(seed=1)
    steps_of(run)
    with pytest.raises(RuntimeError):
        steps_of(run)


def test_things_are_kept_once_by_a_plain_name_and_before_the_loop():
    run = Run(seed=1)
    model = nn.Linear(1, 1)
    assert run.keep("model", model) is model
    with pytest.raises(ValueError):
        run.keep("model", model)
    with pytest.raises(ValueError):
        run.keep("Model/../x", model)
    with pytest.raises(TypeError):
        run.keep("number", 3)
    run.keep("noise", torch.Generator())
    steps_of(run)
    with pytest.raises(RuntimeError):
        run.keep("late", model)


@pytest.mark.parametrize("splits", [1, 2, 3, 5, 100])
def test_parts_are_the_batch_and_shares_sum_to_one(splits):
    run = Run(seed=1, splits=splits)
    batch = (torch.arange(7), {"y": torch.arange(7) * 2}, None)
    parts = list(run.parts(batch))
    assert len(parts) == min(splits, 7)
    assert math.isclose(sum(share for _, share in parts), 1)
    assert torch.cat([x for (x, _, _), _ in parts]).equal(torch.arange(7))
    assert torch.cat([y["y"] for (_, y, _), _ in parts]).equal(torch.arange(7) * 2)
    assert all(nothing is None for (_, _, nothing), _ in parts)


def test_shares_make_micro_batches_equal_to_the_batch():
    torch.manual_seed(0)
    x = torch.randn(10, 4, dtype=torch.float64)
    model = nn.Linear(4, 1).double()

    def gradient(splits):
        model.zero_grad()
        for part, share in Run(seed=1, splits=splits).parts(x):
            (share * model(part).square().mean()).backward()
        return model.weight.grad.clone()

    assert torch.allclose(gradient(1), gradient(3), rtol=0, atol=1e-14)


def test_the_best_offer_is_the_result():
    run = Run(seed=1)
    model = run.keep("model", nn.Linear(1, 1))
    for value, score in [(1.0, 3.0), (2.0, 1.0), (3.0, 2.0), (4.0, float("nan"))]:
        nn.init.constant_(model.weight, value)
        run.step += 1
        run.offer(model, torch.tensor(score))
    assert (run.best_score, run.best_step) == (1.0, 2)
    assert run.result.weight.item() == 2.0
    assert not run.result.training
    assert not run.result.weight.requires_grad


def test_an_offer_disturbs_neither_model_nor_generators():
    run = Run(seed=1)
    model = run.keep("model", nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    model(torch.randn(4, 2)).sum().backward()
    before = torch.get_rng_state()
    gradient = model[0].weight.grad.clone()
    run.offer(model, 2)
    run.offer(model, 1)
    assert torch.get_rng_state().equal(before)
    assert model.training
    assert model[0].weight.requires_grad
    assert model[0].weight.grad.equal(gradient)
    assert run.best[0].weight.grad is None
    assert run.best[1].num_batches_tracked == 1


def test_a_better_offer_reuses_the_copy_unless_it_is_lent():
    run = Run(seed=1)
    model = run.keep("model", nn.Linear(1, 1))
    run.offer(model, 3)
    first = run.best
    run.offer(model, 2)
    assert run.best is first
    run.lent = True
    nn.init.constant_(model.weight, 9)
    run.offer(model, 1)
    assert run.best is not first
    assert first.weight.item() != 9
    assert not run.lent


def test_what_is_offered_must_be_restorable():
    run = Run(seed=1)
    with pytest.raises(ValueError):
        run.offer(nn.Linear(1, 1), 1)
    run.keep("ema", model := nn.Linear(1, 1))
    run.offer(model, 1)
    assert run.best_name == "ema"


def test_without_an_offer_the_kept_model_is_the_result():
    run = Run(seed=1)
    assert run.result is None
    model = run.keep("model", nn.Linear(1, 1))
    assert run.result is model


def offers(run, *scores, steps=100):
    """The steps that a loop makes which offers these scores, one a step."""
    model = run.keep("model", nn.Linear(1, 1))
    for _ in run.batches(Part(), 2, steps):
        run.offer(model, scores[min(run.step, len(scores)) - 1])
    return run.step


def test_without_patience_it_makes_every_step():
    run = Run(seed=1)
    assert offers(run, 1.0, steps=30) == 30
    assert not run.stopped_early


def test_it_stops_after_so_many_offers_in_a_row_that_were_no_better():
    run = Run(seed=1)
    run.patience = 3
    ended = []
    run.at_end = lambda: ended.append(run.step)
    assert offers(run, 5.0, 6.0, 7.0, 4.0, 4.0, math.nan, 4.5, 1.0) == 7
    assert (run.best_score, run.best_step) == (4.0, 4)
    assert run.stopped_early and run.total == 7 and ended == [7]


def test_an_end_at_the_last_step_is_no_early_one():
    run = Run(seed=1)
    run.patience = 2
    assert offers(run, 1.0, steps=3) == 3
    assert not run.stopped_early
