"""The recurrent language model: its state goes on, its sampler writes what its layers compute, its folder opens."""

from __future__ import annotations

import json
import pydoc_data.topics

import pytest
import torch
import torch.nn.functional as F

from shared.errors import BadData
from shared.params import check_rules, price
from worker.data.texts import Texts
from worker.families import lstm
from worker.families.lstm import FAMILY, GenerateParams, Recurrent, Sampler, TrainParams
from worker.family import Item
from worker.nn.tokens import characters
from worker.run import Run

PROSE = "\n\n".join(pydoc_data.topics.topics.values())[:20_000]
MIXED = PROSE[:8000] + "春眠不覺曉，處處聞啼鳥。\t🙂 é\n" * 40
SMALL = {
    "steps": 20,
    "hidden_size": 40,
    "embedding_size": 24,
    "block_size": 16,
    "batch_size": 8,
    "validate_every": 10,
}
KINDS = {
    "lstm": {"cell": "lstm", "n_layer": 2},
    "gru": {"cell": "gru", "n_layer": 2},
    "tied": {"tie_embeddings": True},
    "tied, one size": {"tie_embeddings": True, "embedding_size": 40, "cell": "gru"},
    "bpe": {"tokenizer": "bpe", "vocab_size": 400, "tie_embeddings": True},
}


def train(text=MIXED, seed=1, splits=1, **params):
    """A bare training: (run, all metrics)."""
    run = Run(seed=seed, splits=splits)
    data = text if isinstance(text, Texts) else Texts.from_text(text)
    made = lstm.train(TrainParams(**SMALL | params), data, run)
    return run, [metrics for metrics in made if metrics is not None]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=KINDS)
def trained(request, one_thread, tmp_path_factory):
    """(model, folder) of each kind."""
    run, _ = train(**KINDS[request.param])
    folder = tmp_path_factory.mktemp("model")
    lstm.save(run.result, folder)
    return run.result, folder


def weights_of(run):
    return list(run.kept["model"].parameters())


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# Training


def by_hand(steps, text=PROSE, **params):
    """The first losses and the memory after them, by one plain forward pass over all that the streams read."""
    params = TrainParams(**SMALL | params)
    torch.manual_seed(1)
    tokens = lstm.make_tokens(params, Texts.from_text(text), None)
    model = lstm.make_model(params, tokens, 0)
    streams = lstm.Streams(torch.from_numpy(tokens.encode_all([text])), params.block_size)
    batches = [streams.batch(n, params.batch_size, 1) for n in range(steps)]
    assert all(goes_on.all() for _, _, goes_on in batches[1:]) and not batches[0][2].any()
    x, y = (torch.cat([batch[member] for batch in batches], dim=1) for member in (0, 1))
    with torch.no_grad():
        logits, memory = model(x, model.blank(params.batch_size))
        losses = F.cross_entropy(logits.transpose(1, 2), y, reduction="none")
    return losses.unflatten(1, (steps, -1)).mean((0, 2)), memory


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("splits", [1, 3])
def test_the_state_goes_on_from_step_to_step(cell, splits, monkeypatch):
    monkeypatch.setattr("worker.data.texts.NEW_BEGINNINGS", 0.0)
    still = {"learning_rate": 1e-6, "weight_decay": 0.0, "validation_fraction": 0.0, "steps": 4}
    still |= {"cell": cell, "n_layer": 2, "text": PROSE}
    losses, memory = by_hand(**still)
    run, made = train(splits=splits, **still)
    measured = torch.stack([metrics["loss"] for metrics in made])
    torch.testing.assert_close(measured, losses, atol=1e-4, rtol=0)
    torch.testing.assert_close(run.state["memory"], memory, atol=1e-4, rtol=0)
    assert not run.state["memory"].requires_grad


def test_a_row_that_begins_anew_has_an_empty_state(monkeypatch):
    seen = []
    plain = Recurrent.forward
    monkeypatch.setattr(
        Recurrent, "forward", lambda self, x, memory: seen.append(memory) or plain(self, x, memory)
    )
    monkeypatch.setattr("worker.data.texts.NEW_BEGINNINGS", 0.3)
    train(PROSE[:2100], steps=40, validation_fraction=0.0)
    streams = lstm.Streams(torch.zeros(2101), 16)
    empty = torch.stack([memory.flatten(1).eq(0).all(1) for memory in seen])
    begins = torch.stack([~streams.batch(n, 8, 1)[2] for n in range(40)])
    assert torch.equal(empty, begins)
    assert begins.all(1).sum() >= 3  # at the wrap of an epoch all do
    assert 0.2 < begins.float().mean() < 0.6


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_micro_batches_change_only_the_rounding(kind):
    (one, a), (three, b) = (train(splits=splits, **KINDS[kind]) for splits in (1, 3))
    assert float(a[0]["loss"]) == pytest.approx(float(b[0]["loss"]), abs=1e-5)
    assert float(a[-1]["loss"]) == pytest.approx(float(b[-1]["loss"]), abs=1e-2)
    torch.testing.assert_close(one.state["memory"], three.state["memory"], atol=0.05, rtol=0.1)


def test_dropout_is_repeatable_and_does_something():
    runs = [train(seed=seed, dropout=0.3, n_layer=2)[0] for seed in (1, 1, 2)]
    assert same(weights_of(runs[0]), weights_of(runs[1]))
    assert not same(weights_of(runs[0]), weights_of(runs[2]))
    assert not same(weights_of(runs[0]), weights_of(train(n_layer=2)[0]))
    model, ids = runs[0].kept["model"], torch.zeros(1, 4, dtype=torch.int64)
    assert not torch.equal(model(ids, model.blank(1))[0], model(ids, model.blank(1))[0])
    model.eval()
    assert torch.equal(model(ids, model.blank(1))[0], model(ids, model.blank(1))[0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_and_keeps_the_best(kind):
    run, made = train(PROSE, steps=80, validate_every=40, **KINDS[kind])
    scores = [metrics["validation_loss"] for metrics in made if "validation_loss" in metrics]
    assert len(scores) == 2 and run.best_score == min(scores)
    losses = [float(metrics["loss"]) for metrics in made]
    assert sum(losses[-5:]) / 5 < losses[0] - 0.5


def test_validation_reads_on_and_is_per_character():
    run, made = train(tokenizer="bpe", vocab_size=400)
    model, text = run.kept["model"].eval(), MIXED[int(len(MIXED) * 0.9) :]
    row = torch.from_numpy(model.tokens.encode_all([text])).long()[None]
    with torch.no_grad():  # fewer than 2,048 tokens: one row, in one piece here
        logits, _ = model(row[:, :-1], model.blank(1))
        nats = F.cross_entropy(logits[0], row[0, 1:]).item()
    assert made[-1]["validation_loss_per_token"] == pytest.approx(nats, abs=1e-4)
    per_character = nats * row.shape[1] / len(text)
    assert made[-1]["validation_loss"] == pytest.approx(per_character, abs=1e-4)


def test_a_long_held_out_text_is_read_in_rows_between_which_the_device_is_lent():
    run, _ = train()
    streams = lstm.Streams(torch.zeros(40_000, dtype=torch.int32), 1)
    loans = sum(1 for _ in lstm.validate(run.kept["model"], streams, 100, run.device))
    assert loans == 13  # 32 rows of 1,249 tokens


def test_without_held_out_text_the_last_model_is_the_result():
    run, made = train(validation_fraction=0.0)
    assert run.best is None and run.result is run.kept["model"]
    assert not any("validation_loss" in metrics for metrics in made)


def test_text_shorter_than_a_passage_is_refused():
    with pytest.raises(BadData, match="tokens"):
        train("short", validation_fraction=0.0)
    rules = [list(rule) for rule in FAMILY.train_rules]
    facts = TrainParams(block_size=2000).model_dump() | {"characters": 2100}
    assert [problem["pointer"] for problem in check_rules(rules, facts)] == ["/params/block_size"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_price_counts_what_is_computed(kind):
    params = TrainParams(**SMALL | KINDS[kind])
    run, _ = train(**{**KINDS[kind], "steps": 1})
    model = run.kept["model"]
    weights = sum(w.numel() for w in model.parameters() if w.dim() > 1)
    if not params.tie_embeddings:
        weights -= model.embed.weight.numel()  # looked up, not multiplied
    priced = price(FAMILY.train_cost, params.model_dump())
    # a text of few kinds of character is priced as one of a hundred
    assert 0.8 < priced["flops"] / (20 * 8 * 16 * 6 * weights) < 1.5
    assert priced["bytes"] > 16 * weights * 0.8


# Writing


def finished(model, all_params, seed=3):
    with torch.inference_mode():
        sampler = Sampler(model, all_params[0])
        slots = [
            sampler.admit(Item(params, seed + n, n, len(all_params)))
            for n, params in enumerate(all_params)
        ]
        done = {}
        while len(done) < len(slots):
            done |= {made.slot: made for made in sampler.step()}
    return [done[slot] for slot in slots]


def texts(model, all_params, seed=3):
    made = finished(model, all_params, seed)
    assert all(one.error is None for one in made)
    return [one.data.decode() for one in made]


def untrained(cell, hidden_size=48, n_layer=2, **changes):
    """With weights large enough to have opinions."""
    torch.manual_seed(0)
    tokens = characters(["abcdefghijklmnopqrstuvwxyz \n.,"])
    model = Recurrent(tokens.size, cell, n_layer, hidden_size, 32, start=3, **changes).eval()
    model.tokens = tokens
    for weight in model.requires_grad_(False).parameters():
        weight *= 4
    return model


@torch.inference_mode()
def greedy(model, prompt, count):
    """By the training's own forward pass, everything read anew for each token."""
    ids, text = model.tokens.encode(prompt).tolist(), prompt
    for _ in range(count):
        logits = model(torch.tensor([ids]), model.blank(1))[0][0, -1]
        logits[model.tokens.unknown] = -torch.inf
        ids.append(int(logits.argmax()))
        if ids[-1] == model.tokens.end:
            break
        text += model.tokens.pieces[ids[-1]].decode()
    return text


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("tied", [False, True])
def test_greedy_equals_the_forward_pass_of_training(cell, tied):
    model = untrained(cell, tie_embeddings=tied)
    prompts = ["a", "some longer words to begin with, ", "x y z " * 40]
    wanted = [GenerateParams(prompt=p, temperature=0.0, max_new_tokens=60) for p in prompts]
    assert texts(model, wanted) == [greedy(model, prompt, 60) for prompt in prompts]


class Noted(lstm.TextSampler):
    """Notes the logits of each row that writes, by its seed."""

    def _logits(self):
        logits = super()._logits()
        for row, scores in zip(self.writing.rows, logits.tolist(), strict=True):
            self.__dict__.setdefault("seen", {}).setdefault(row.seed, []).append(scores)
        return logits


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("hidden_size", [37, 256])  # an odd one ends within a vector register
@pytest.mark.parametrize("late", [0, 3])
def test_every_float_is_the_same_alone_and_among_strangers(cell, hidden_size, late, monkeypatch):
    monkeypatch.setattr(lstm, "TextSampler", Noted)
    model = untrained(cell, hidden_size)

    def logits(place, *strangers):
        items = [
            Item(GenerateParams(prompt="abc de " * n, max_new_tokens=9 + n), n, 0, 1)
            for n in strangers
        ]
        mine = Item(GenerateParams(prompt="once upon a time " * 9, max_new_tokens=50), 99, 0, 1)
        with torch.inference_mode():
            sampler = Sampler(model, mine.params)
            for item in items[:place]:
                sampler.admit(item)
            for _ in range(late):
                sampler.step()
            slot = sampler.admit(mine)
            for item in items[place:]:
                sampler.admit(item)
            while slot not in [made.slot for made in sampler.step()]:
                pass
        return sampler.seen[99]

    assert logits(0) == logits(4, 1, 2, 3, 5, 6, 7, 8) == logits(9, *range(1, 31))


def test_the_probe_finds_this_processor_steady(trained):
    with torch.inference_mode():
        sampler = Sampler(trained[0], GenerateParams())
    assert not sampler.fixed and sampler.room() == 32


def test_a_row_that_joins_later_begins_with_an_empty_state():
    """Its place in the memory holds what a finished text left there."""
    model = untrained("lstm")
    wanted = GenerateParams(prompt="", max_new_tokens=30)
    with torch.inference_mode():
        sampler = Sampler(model, wanted)
        made = []
        for _ in range(3):
            sampler.admit(Item(wanted, 5, 0, 1))
            while not (done := sampler.step()):
                pass
            made += [one.data for one in done]
    assert made[0] == made[1] == made[2]


def test_a_prompt_is_read_to_its_beginning_however_long_a_chunk_a_step():
    model = untrained("gru")
    with torch.inference_mode():
        sampler = Sampler(model, GenerateParams())
        slot = sampler.admit(Item(GenerateParams(prompt="ab" * 500, max_new_tokens=1), 1, 0, 1))
        steps = 0
        while not (done := sampler.step()):
            assert sampler.peek(slot).text == "ab" * 500
            steps += 1
    assert steps == 999 // 64 and done[0].metrics["prompt_tokens"] == 1000


def test_a_large_model_reads_shorter_chunks_and_writes_the_same(monkeypatch):
    model = untrained("lstm")
    wanted = [GenerateParams(prompt="once upon a time " * 5, max_new_tokens=30)] * 3
    usual = texts(model, wanted)
    for weights, chunk in ((3 * 8 * 2 * 48**2, 3), (0, 1)):
        monkeypatch.setattr("worker.nn.states.CHUNK_WEIGHTS", weights)
        with torch.inference_mode():
            assert Sampler(model, wanted[0]).chunk == chunk
        assert texts(model, wanted) == usual


def test_numbers_that_are_not_finite_end_one_text_only():
    model = untrained("lstm")
    model.embed.weight[model.tokens.encode("z")[0]] = torch.nan
    wanted = [GenerateParams(prompt=p, max_new_tokens=5, temperature=0) for p in ("z", "ab")]
    bad, good = finished(model, wanted)
    assert isinstance(bad.error, BadData)
    assert good.error is None


# On disk and elsewhere


def test_a_loaded_model_is_the_saved_one(trained):
    model, folder = trained
    again = lstm.load(folder, torch.device("cpu"))
    assert not again.training and again.config == model.config
    assert same(again.state_dict().values(), model.state_dict().values())
    params = [GenerateParams(prompt="The ", max_new_tokens=40)]
    assert texts(again, params) == texts(model, params)


def test_its_folder_loads_with_the_hub_mixin_and_auto_tokenizer(trained):
    from huggingface_hub import PyTorchModelHubMixin
    from transformers import AutoTokenizer

    class Model(Recurrent, PyTorchModelHubMixin):
        pass

    model, folder = trained
    opened = Model.from_pretrained(str(folder)).eval()
    text = "  The 春 end,\n of it. "
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)(text).input_ids])
    assert ids[0].tolist() == model.tokens.encode(text).tolist()
    for ours, theirs in zip(model(ids, model.blank(1)), opened(ids, opened.blank(1)), strict=True):
        assert torch.equal(ours, theirs)


def test_the_folder_holds_a_card_and_no_pickle(trained):
    names = {file.name for file in trained[1].iterdir()}
    assert names == {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    card = (trained[1] / "README.md").read_text()
    assert "from_pretrained" in card and "{" not in card


def test_description_narrows_the_schema_and_prices_generation(trained):
    described = lstm.describe(trained[0])
    assert described["schema"] == {"top_k": {"maximum": trained[0].tokens.size}}
    facts = GenerateParams().model_dump() | described["facts"]
    assert all(cost > 0 for cost in price(FAMILY.generate_cost, facts).values())
    json.dumps(described)
