"""The language model: learns, is measured in nats per character, and leaves as a Llama that transformers opens."""

from __future__ import annotations

import copy
import json
import math
import pydoc_data.topics
import warnings

import pytest
import torch

from shared.errors import BadData
from shared.params import check_rules, clean, evaluate, price, schema_of
from worker.data.texts import Texts
from worker.families import transformer_lm
from worker.families.transformer_lm import FAMILY, GenerateParams, Sampler, TrainParams
from worker.family import Item
from worker.run import Run

PROSE = "\n\n".join(pydoc_data.topics.topics.values())[:30_000]
MIXED = PROSE[:8000] + "春眠不覺曉，處處聞啼鳥。\t🙂 é\n" * 40
SMALL = {
    "steps": 30,
    "n_layer": 2,
    "n_embd": 32,
    "n_head": 2,
    "block_size": 32,
    "batch_size": 8,
    "validate_every": 15,
}


def train(text=PROSE, seed=1, splits=1, **params):
    """A bare training: (run, all metrics)."""
    run = Run(seed=seed, splits=splits)
    data = text if isinstance(text, Texts) else Texts.from_text(text)
    made = transformer_lm.train(TrainParams(**SMALL | params), data, run)
    return run, [metrics for metrics in made if metrics is not None]


@pytest.fixture(scope="module", params=["characters", "bpe"])
def trained(request, tmp_path_factory):
    """(model, folder) of each kind of tokens, one with a matrix of its own for the output."""
    tied = request.param == "characters"
    run, _ = train(MIXED, tokenizer=request.param, vocab_size=400, tie_embeddings=tied)
    folder = tmp_path_factory.mktemp(request.param)
    transformer_lm.save(run.result, folder)
    return run.result, folder


@pytest.fixture(scope="module")
def opened(trained):
    """(model, tokenizer) as anyone else would open the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoModelForCausalLM, AutoTokenizer
    folder = trained[1]
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


# The description


def test_every_parameter_has_a_default_bounds_title_and_sentence():
    for params in (TrainParams, GenerateParams):
        params()
        for name, field in schema_of(params)["properties"].items():
            assert field["title"] and field["description"].endswith("."), name
            bounded = {"enum", "maximum", "maxLength", "maxItems"} & set(field)
            assert bounded or field["type"] == "boolean", name
            assert "default" in field, name


def test_examples_obey_schema_and_rules():
    announced = FAMILY.announcement()["actions"]
    for action in announced.values():
        values, problems = clean(action["schema"], action["example"])
        facts = {"characters": 465_000, "items": 1, "bytes": 465_000} | values
        assert problems == [] == check_rules(action["rules"], facts)


def test_rules_refuse_odd_heads_and_too_little_held_out_text():
    rules = [list(rule) for rule in FAMILY.train_rules]
    facts = TrainParams(n_embd=36, n_head=4, block_size=64).model_dump() | {"characters": 500}
    assert {problem["pointer"] for problem in check_rules(rules, facts)} == {
        "/params/n_embd",
        "/params/block_size",
    }
    assert not evaluate(FAMILY.accepts[0][0], {"characters": 1999})


@pytest.mark.parametrize("tokenizer", ["characters", "bpe"])
def test_the_price_counts_what_is_computed(tokenizer):
    params = TrainParams(**SMALL | {"tokenizer": tokenizer, "vocab_size": 400})
    run, _ = train(MIXED, steps=1, tokenizer=tokenizer, vocab_size=400)
    weights = sum(p.numel() for p in run.kept["model"].parameters() if p.dim() > 1)
    # 6 a weight and token; attention: 12 a token, width and token looked back on, half of them masked
    expected = 30 * 8 * 32 * (6 * weights + 6 * 2 * 32 * 32)
    priced = price(FAMILY.train_cost, params.model_dump())
    assert 0.7 < priced["flops"] / expected < 1.5
    assert priced["bytes"] > 16 * weights * 0.8


# Training


def test_loss_falls_and_is_validated_and_the_best_is_kept():
    run, made = train(steps=60, validate_every=20, learning_rate=1e-2)
    losses = [float(metrics["loss"]) for metrics in made]
    assert len(losses) == 60
    assert losses[0] == pytest.approx(math.log(run.result.tokens.size), abs=0.3)
    assert sum(losses[-5:]) / 5 < losses[0] - 0.8
    scores = [m["validation_loss"] for m in made if "validation_loss" in m]
    assert len(scores) == 3 and run.best_score == min(scores)


def test_validation_is_the_loss_of_held_out_text_per_character():
    run, made = train(MIXED, tokenizer="bpe", vocab_size=400)
    model, text = run.kept["model"].eval(), MIXED[int(len(MIXED) * 0.9) :]
    row = torch.from_numpy(model.tokens.encode_all([text])).long()
    count = (len(row) - 1) // 32
    x, y = row[: 32 * count].view(count, 32), row[1 : 32 * count + 1].view(count, 32)
    with torch.no_grad():
        nats = torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).item()
    assert made[-1]["validation_loss_per_token"] == pytest.approx(nats, abs=1e-4)
    assert made[-1]["validation_loss"] == pytest.approx(nats * len(row) / len(text), abs=1e-4)


def test_without_held_out_text_the_last_model_is_the_result():
    run, made = train(validation_fraction=0.0)
    assert run.best is None and run.result is run.kept["model"]
    assert not any("validation_loss" in metrics for metrics in made)


def test_micro_batches_change_only_the_rounding():
    a, b = train()[1], train(splits=3)[1]
    assert float(a[0]["loss"]) == pytest.approx(float(b[0]["loss"]), abs=1e-5)
    assert float(a[-1]["loss"]) == pytest.approx(float(b[-1]["loss"]), abs=1e-2)


def test_the_same_seed_gives_the_same_weights():
    first, second, other = (train(seed=seed, dropout=0.2)[0].result for seed in (1, 1, 2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.head.weight, other.head.weight)


def snapshot(run):
    kept = {name: copy.deepcopy(thing.state_dict()) for name, thing in run.kept.items()}
    return {"step": run.step, "kept": kept, "random": torch.get_rng_state()}


def restore(run, saved):
    for name, state in saved["kept"].items():
        run.kept[name].load_state_dict(copy.deepcopy(state))
    run.step = saved["step"]
    torch.set_rng_state(saved["random"])


@pytest.mark.parametrize("step", [1, 15, 22])
def test_a_training_resumes_bit_for_bit(step):
    params = TrainParams(**SMALL | {"dropout": 0.1, "tokenizer": "bpe", "vocab_size": 350})
    saved = []

    def keep_one():
        if run.step == step:
            saved.append(snapshot(run))

    run = Run(seed=4, splits=2)
    run.wanted, run.at_top = True, keep_one
    whole = list(transformer_lm.train(params, Texts.from_text(PROSE), run))
    again = Run(seed=4, splits=2)
    again.restore = lambda: restore(again, saved[0])
    rest = list(transformer_lm.train(params, Texts.from_text(PROSE), again))
    assert float(whole[-1]["loss"]) == float(rest[-1]["loss"])
    for a, b in zip(run.kept["model"].parameters(), again.kept["model"].parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_rate_rises_and_falls():
    rates = [m["learning_rate"] for m in train(steps=40, learning_rate=0.01)[1]]
    assert rates[0] == pytest.approx(0.0025) and max(rates) == rates[3] == 0.01
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(0.01 * 0.03)


def test_text_shorter_than_the_context_is_refused():
    with pytest.raises(BadData, match="tokens"):
        train("short", validation_fraction=0.0)
    with pytest.raises(BadData, match="tokens"):
        train(PROSE[:500], block_size=64)


def test_many_documents_are_set_apart_and_an_empty_prompt_begins_one():
    poems = Texts.from_text(*[f"poem {n}: {'la ' * (n % 7)}end." for n in range(200)])
    run, _ = train(poems, steps=120, learning_rate=1e-2)
    assert run.result.start == run.result.tokens.end
    made = generate(run.result, [GenerateParams(temperature=0.3, max_new_tokens=60)] * 3)
    assert all(text.startswith("poem ") and text.endswith("end.") for text in made)


def test_one_document_begins_after_a_line_break():
    model = train(steps=1)[0].result
    assert model.tokens.pieces[model.start] == b"\n"
    assert train("no line break. " * 300, steps=1)[0].result.start not in (0, 1)


# On disk and elsewhere


def generate(model, all_params, seed=3):
    with torch.inference_mode():
        sampler = Sampler(model, all_params[0])
        slots = [
            sampler.admit(Item(params, seed + n, n, len(all_params)))
            for n, params in enumerate(all_params)
        ]
        done = {}
        while len(done) < len(slots):
            done |= {made.slot: made.data.decode() for made in sampler.step()}
    return [done[slot] for slot in slots]


def test_a_loaded_model_is_the_saved_one(trained):
    model, folder = trained
    again = transformer_lm.load(folder, torch.device("cpu"))
    assert not again.training
    ids = torch.arange(32)[None] % model.tokens.size
    assert torch.equal(again(ids), model(ids))
    params = [GenerateParams(prompt="The ", max_new_tokens=40)]
    assert generate(again, params) == generate(model, params)


def test_the_folder_holds_no_code_and_no_pickle(trained):
    names = {file.name for file in trained[1].iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert "auto_map" not in json.loads((trained[1] / "config.json").read_text())


def test_transformers_computes_the_same_logits(trained, opened):
    ids = torch.randint(trained[0].tokens.size, (3, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (opened[0](ids).logits - trained[0](ids)).abs().max() < 1e-5


def test_transformers_tokenizer_round_trips_exactly(trained, opened):
    text = "  春眠不覺曉，🙂 é\n\n\tThe end,  of it. \n "
    ids = opened[1](text).input_ids
    assert ids == trained[0].tokens.encode(text).tolist()
    assert opened[1].decode(ids) == opened[1].decode(ids, skip_special_tokens=True) == text


def test_greedy_equals_transformers_generate(trained, opened):
    prompt = "The 春"
    ids = torch.tensor([opened[1](prompt).input_ids])
    length = 32 - ids.shape[1]
    theirs = opened[0].generate(ids, max_new_tokens=length, do_sample=False, use_cache=True)
    params = GenerateParams(prompt=prompt, temperature=0.0, max_new_tokens=length)
    assert generate(trained[0], [params]) == [opened[1].decode(theirs[0])]


def test_description_narrows_the_schema_and_prices_generation(trained):
    described = transformer_lm.describe(trained[0])
    schema = schema_of(GenerateParams)
    for name, narrowed in described["schema"].items():
        assert narrowed.items() <= {**schema["properties"][name], **narrowed}.items()
        assert narrowed["maximum"] <= schema["properties"][name]["maximum"]
    facts = GenerateParams().model_dump() | described["facts"]
    assert all(cost > 0 for cost in price(FAMILY.generate_cost, facts).values())
    json.dumps(described)
