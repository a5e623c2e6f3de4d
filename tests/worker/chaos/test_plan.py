"""The plan of a soak: the same seed is the same plan, and it holds what a soak must hold."""

from __future__ import annotations

from collections import Counter

from worker.chaos import plan


def made(seed=1, seconds=600.0, **more):
    return plan.make(seed, seconds, **{"lease": 5.0, "real": True, "own_redis": True} | more)


def test_the_same_seed_is_the_same_plan():
    assert made(3) == made(3)
    assert made(3) != made(4)


def test_ten_minutes_hold_all_that_is_promised():
    whole = made()
    families = Counter(order.family for order in whole.orders)
    tests = families["sleep_steps"] + families["deaf"]
    assert len(whole.orders) >= 300 and tests >= 0.9 * len(whole.orders)
    assert all(families[name] >= 5 for name in ("lstm", "transformer_lm", "vae", "gan", "tiny"))
    assert len(whole.faults) >= 200 and {f.kind for f in whole.faults} == set(plan.FAULTS)
    assert {order.cancel for order in whole.orders} == {"", *plan.CANCELS}
    assert any(order.copies > 1 for order in whole.orders)


def test_orders_and_faults_come_in_order_and_before_the_end():
    for things in (made().orders, made().faults):
        times = [thing.at for thing in things]
        assert times == sorted(times) and times[-1] < 600


def test_what_waits_for_a_training_comes_after_it():
    orders = {order.number: order for order in made().orders}
    chained = [order for order in orders.values() if order.after is not None]
    assert chained
    for order in chained:
        before = orders[order.after]
        assert before.kind == "train" and before.at < order.at and before.user == order.user


def test_the_redis_of_others_is_not_killed():
    kinds = {fault.kind for fault in made(own_redis=False).faults}
    assert "flush" in kinds and not kinds & plan.NOT_OURS


def test_without_torch_only_test_families_run():
    assert {order.family for order in made(real=False).orders} == set(plan.TEST_FAMILIES)
