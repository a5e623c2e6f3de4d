"""What must hold for every family, tested once for all: a new file gets its tests by existing.

Files are those of worker/families and of the folders in ATELIER_FAMILY_PATH.
"""

from __future__ import annotations

import json
import math
import os
import random

import pytest
import torch

from shared.errors import BadData
from shared.params import check_rules, clean, evaluate, price, schema_of
from tests.device import DEVICE
from tests.worker.families.family_case import (
    FamilyCase,
    assert_modes_are_clean,
    assert_same_output,
    inference,
    random_state,
    same_state,
)
from worker.device import choose_steady_kernels
from worker.family import family_files

FOLDERS = [path for path in os.environ.get("ATELIER_FAMILY_PATH", "").split(":") if path]
FILES = family_files([], FOLDERS)
MINE = 101  # the seed of the request that is looked at; the strangers have others


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file.stem)
def case(request, tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    choose_steady_kernels(torch, strict=True)
    yield FamilyCase(request.param, tmp_path_factory.mktemp(request.param.stem))
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=["train", "generate"])
def action(request, case):
    if getattr(case.family, request.param) is None:
        pytest.skip(f"does not {request.param}")
    return request.param


# What is announced


def test_the_announcement_is_plain_json(case):
    announcement = case.family.announcement("doc")
    text = json.dumps(announcement, allow_nan=False)
    assert json.loads(text) == announcement
    assert "$ref" not in text and "$defs" not in text


def test_it_says_what_it_is_for(case):
    family = case.family
    assert case.module.__doc__ and family.title and family.summary
    assert family.modality in ("text", "image", "audio", "video")
    assert family.dataset_kind in ("text", "images")
    assert family.version >= 1


def test_every_parameter_is_a_promise(case, action):
    schema = schema_of(getattr(case.family, action))
    assert schema["properties"] and schema.get("additionalProperties") is False
    assert "required" not in schema
    for name, field in schema["properties"].items():
        assert name.isidentifier() and name.islower(), name
        assert field.get("title") and len(field["title"]) <= 40, name
        description = field.get("description", "")
        assert description.endswith(".") and 10 <= len(description) <= 160, name
        assert "default" in field, name
        assert_bounded(name, field)


def assert_bounded(name, field):
    for part in field.get("anyOf", [field]):
        if part.get("type") in ("integer", "number") and "enum" not in part:
            assert "minimum" in part or "exclusiveMinimum" in part, name
            assert "maximum" in part or "exclusiveMaximum" in part, name
        if part.get("type") == "string" and not {"enum", "const"} & part.keys():
            assert "maxLength" in part, name
        if part.get("type") == "array":
            assert "maxItems" in part, name


def test_its_example_and_its_defaults_are_valid(case, action):
    schema = schema_of(getattr(case.family, action))
    presets = [values for *_, values in getattr(case.family, f"{action}_presets")]
    for values in (getattr(case.family, f"{action}_example"), {}, *presets):
        full, problems = clean(schema, values)
        assert problems == []
        getattr(case.family, action).model_validate(full)


def test_its_example_obeys_its_rules(case, action):
    rules = [list(rule) for rule in getattr(case.family, f"{action}_rules")]
    values, _ = clean(
        schema_of(getattr(case.family, action)), getattr(case.family, f"{action}_example")
    )
    assert check_rules(rules, {**facts_for(case, action), **values}) == []
    for _, parameter, message in rules:
        assert parameter in values and message


def test_its_costs_are_finite_and_positive(case, action):
    costs = getattr(case.family, f"{action}_cost")
    assert "flops" in costs or not case.ours
    values, _ = clean(
        schema_of(getattr(case.family, action)), getattr(case.family, f"{action}_example")
    )
    for name, amount in price(costs, {**facts_for(case, action), **values}).items():
        assert amount is not None and math.isfinite(amount) and amount > 0, name


def facts_for(case, action):
    if action == "train":
        return case.data().facts
    return case.module.describe(case.whole().model)["facts"]


def test_values_of_batch_by_are_parameters(case):
    assert set(case.family.batch_by) <= set(case.family.generate.model_fields)


# Training


def test_it_trains_and_its_loss_falls(case):
    """Networks that play against each other have no loss that falls: what they offer grows better instead."""
    reports, scores = case.whole().metrics, case.whole().scores
    assert reports and all(math.isfinite(v) for report in reports for v in report.values())
    losses = [report["loss"] for report in reports if "loss" in report]
    assert losses or scores or not case.ours
    if losses:
        assert sum(losses[-5:]) / 5 < sum(losses[:3]) / 3
    elif (
        scores and DEVICE == "cpu"
    ):  # so few steps tell nothing for certain: with a GPU's draws they tell less
        assert scores[-1] < scores[0]


def test_the_same_seed_makes_the_same_files(case):
    assert case.train().files == case.whole().files


def test_another_seed_makes_another_model(case):
    if any("loss" in name for name in case.whole().metrics[-1]):
        assert case.train(seed=2).files != case.whole().files


def test_resumed_from_any_checkpoint_it_makes_the_same_files(case):
    """Within an epoch, right before and after a validation, from what lies on disk."""
    whole = case.whole()
    assert sorted(whole.checkpoints) == [2, 7, 8, 13, 20]
    for step, checkpoint in whole.checkpoints.items():
        assert case.train(resume=checkpoint).files == whole.files, f"resumed at {step}"


def test_resumed_with_accumulation_it_makes_the_same_files(case):
    whole = case.train(splits=2, snapshots_at=(7,))
    assert case.train(splits=2, resume=whole.checkpoints[7]).files == whole.files


def test_a_cancelled_training_closes_at_any_yield_and_leaves_nothing_behind(case):
    for yields in (1, 2, 8, 9):
        generator = case.steps_on(case.data())
        for _ in range(yields):
            next(generator)
        generator.close()
        assert_modes_are_clean()


def test_it_refuses_data_that_is_too_little(case):
    data = case.data(items=1)
    if not all(evaluate(rule, data.facts) for rule, _ in case.family.accepts):
        return
    try:
        for _ in case.steps_on(data):
            pass
    except BadData:
        return
    assert not case.ours, "it trained on next to nothing"


# The model


def test_saved_and_loaded_it_makes_the_same_outputs_and_files(case):
    model = case.whole().model
    loaded = case.module.load(case.saved(model), torch.device(DEVICE))
    items = case.items([1, 2], model)
    before, after = case.generate(model, items), case.generate(loaded, items)
    assert [made.data for made in before] == [made.data for made in after]
    assert case.files_of(loaded) == case.whole().files


def test_weights_are_safetensors(case):
    suffixes = {name.rpartition(".")[2] for name in case.whole().files}
    assert suffixes <= {"safetensors", "json", "md", "txt"}


def test_it_describes_itself_in_plain_json(case):
    model = case.whole().model
    described = case.module.describe(model)
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert set(described["schema"]) <= set(case.family.generate.model_fields)
    values, problems = clean(case.schema_of_model(model), {})
    assert problems == []
    case.family.generate.model_validate(values)


def test_its_previews_can_be_drawn(case):
    model = case.whole().model
    for preview in case.family.previews:
        values, problems = clean(case.schema_of_model(model), preview)
        assert problems == []
        params = case.family.generate.model_validate(values)
        assert getattr(params, "count", 1) <= 16


# Sampling


def test_every_output_is_a_file(case):
    model = case.whole().model
    for made in case.generate(model, case.items([1, 2, 3], model)):
        assert made.error is None
        assert isinstance(made.data, bytes) and made.data
        assert "/" in made.media_type and made.suffix.isalnum()
        assert all(isinstance(value, (int, float)) for value in made.metrics.values())


def test_different_seeds_make_different_outputs(case):
    model = case.whole().model
    made = case.generate(model, case.items(range(8), model))
    assert len({finished.data for finished in made}) > 1


def test_the_same_seed_alone_and_among_strangers_makes_the_same(case):
    model = case.whole().model
    (alone,) = case.generate(model, case.items([MINE], model))
    for place in (0, 3, 7):
        seeds = [1, 2, 3, 4, 5, 6, 7]
        seeds.insert(place, MINE)
        crowd = case.generate(model, case.items(seeds, model))
        assert_same_output(alone, crowd[place])


def test_who_joins_in_the_middle_changes_nothing(case):
    model = case.whole().model
    mine, *strangers = case.items([MINE, 1, 2, 3], model)
    (alone,) = case.generate(model, [mine])
    with inference():
        sampler = case.sampler(model, [mine])
        slot, made = sampler.admit(mine), None
        while made is None:
            if strangers and sampler.room():
                sampler.admit(strangers.pop())
            made = next((f for f in sampler.step() if f.slot == slot), None)
    assert_same_output(alone, made)


def test_cancel_of_one_request_leaves_the_others_as_they_are(case):
    model = case.whole().model
    items = case.items([MINE, 1, 2, 3], model)
    undisturbed = case.generate(model, items)
    with inference():
        sampler = case.sampler(model, items)
        slots = [sampler.admit(item) for item in items]
        sampler.drop(slots[1])
        made = {finished.slot: finished for finished in sampler.step()}
        if slots[2] not in made:
            sampler.drop(slots[2])
        for _ in range(100_000):
            if {slots[0], slots[3]} <= made.keys():
                break
            made |= {finished.slot: finished for finished in sampler.step()}
    assert slots[1] not in made
    for n in (0, 3):
        assert_same_output(undisturbed[n], made[slots[n]])


def test_room_is_given_back(case):
    model = case.whole().model
    items = case.items([1, 2], model)
    with inference():
        sampler = case.sampler(model, items)
        room = sampler.room()
        assert room >= 2
        slots = [sampler.admit(item) for item in items]
        assert len(set(slots)) == 2 and sampler.room() == room - 2
        sampler.drop(slots[0])
        while not sampler.step():
            pass
        assert sampler.room() == room


def test_looking_at_an_output_does_not_change_it(case):
    model = case.whole().model
    (item,) = case.items([MINE], model)
    (alone,) = case.generate(model, [item])
    with inference():
        sampler = case.sampler(model, [item])
        slot, made = sampler.admit(item), []
        while not made:
            sampler.peek(slot)
            made = sampler.step()
    assert_same_output(alone, made[0])


def test_sampling_touches_no_global_generator(case):
    model = case.whole().model
    torch.manual_seed(5)
    random.seed(5)
    before = random_state()
    case.generate(model, case.items([1, 2, 3], model))
    assert same_state(before, random_state())
    assert_modes_are_clean()
