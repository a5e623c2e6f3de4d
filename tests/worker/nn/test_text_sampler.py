"""Continuous batching: a text is the same alone and among strangers, and nobody's slot leaks."""

from __future__ import annotations

import pytest
import torch

from shared.errors import BadData
from worker.families.transformer_lm import Sampler, Shape, Transformer
from worker.family import Item
from worker.nn.text_params import TextParams
from worker.nn.text_sampler import TextSampler
from worker.nn.tokens import byte_pairs, characters

ALPHABET = "abcdefghijklmnopqrstuvwxyz \n.,"


@pytest.fixture(autouse=True)
def as_the_runner_does():
    with torch.inference_mode():
        yield


def make_model(block_size=48, seed=0, tokens=None):
    """Untrained, with weights large enough to have opinions."""
    with torch.inference_mode(mode=False):
        torch.manual_seed(seed)
        tokens = tokens or characters([ALPHABET])
        model = Transformer(Shape(tokens.size, block_size, 2, 4, 64), tokens, start=3).eval()
        for weight in model.parameters():
            weight.requires_grad_(False)
            if weight.dim() > 1:
                weight *= 8
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


def item(seed=1, **params):
    return Item(TextParams(**{"max_new_tokens": 30, **params}), seed, index=0, count=1)


def finish(sampler, *items, most=3000):
    """Admits all, steps until all are done; results in the order of the items."""
    slots = [sampler.admit(one) for one in items]
    done = {}
    for _ in range(most):
        done |= {made.slot: made for made in sampler.step()}
        if all(slot in done for slot in slots):
            return [done[slot] for slot in slots]
    raise AssertionError("the sampler does not come to an end")


def text_of(made):
    assert made.error is None
    return made.data.decode()


STRANGERS = [
    {"prompt": "the cat sat on the mat " * n, "max_new_tokens": 5 + 9 * n, "top_k": n, "seed": n}
    for n in range(7)
]


class Watched(TextSampler):
    """Notes the logits of each row that writes, by its seed."""

    def _logits(self):
        logits = super()._logits()
        for row, scores in zip(self.writing.rows, logits.tolist(), strict=True):
            if row.params is not None:
                self.__dict__.setdefault("seen", {}).setdefault(row.seed, []).append(scores)
        return logits


@pytest.mark.parametrize("late", [0, 1, 9])
def test_same_bits_alone_and_among_seven_strangers(model, late):
    mine = item(seed=99, prompt="once upon a time", max_new_tokens=80, top_p=0.95)
    alone = Watched(model, mine.params)
    [first] = finish(alone, mine)
    crowd = Watched(model, mine.params)
    for stranger in STRANGERS[:5]:
        crowd.admit(item(**stranger))
    for _ in range(late):
        crowd.step()
    *_, second = finish(crowd, *[item(**s) for s in STRANGERS[5:]], mine)
    assert text_of(first) == text_of(second)
    assert alone.seen[99] == crowd.seen[99]  # floats before encoding, bit for bit


def test_fixed_shapes_give_the_same_bits_too(model):
    mine = item(seed=99, prompt="once upon a time", max_new_tokens=60)
    samplers = [Watched(model, mine.params) for _ in range(2)]
    for sampler in samplers:
        sampler.fixed = True
    finish(samplers[0], mine)
    finish(samplers[1], *[item(**s) for s in STRANGERS], mine)
    assert samplers[0].seen[99] == samplers[1].seen[99]


def test_the_probe_finds_this_processor_steady_and_leaves_nothing_behind(model):
    sampler = Sampler(model, TextParams())
    assert not sampler.fixed
    assert sampler.room() == sampler.slots == 32
    assert sampler.step() == []


def test_a_row_that_depends_on_company_makes_the_shapes_fixed(model, monkeypatch):
    monkeypatch.setattr("worker.nn.text_sampler.agree", lambda *_: False)
    assert Sampler(model, TextParams()).fixed


def test_seeds_differ_and_repeat(model):
    sampler = Sampler(model, TextParams())
    a, b, again = finish(sampler, item(seed=1), item(seed=2), item(seed=1))
    assert a.data == again.data != b.data


def test_sampling_touches_no_global_generator(model):
    before = torch.get_rng_state()
    finish(Sampler(model, TextParams()), item())
    assert torch.equal(before, torch.get_rng_state())


def reference(model, prompt, count, penalty=1.0):
    """Greedy decoding by the plain forward pass, the whole window anew for each token."""
    window, text = model.tokens.encode(prompt).tolist(), prompt.encode()
    used = set(window)
    for _ in range(count):
        if len(window) > model.shape.block_size:
            window = window[-(model.shape.block_size // 2) :]
        logits = model(torch.tensor([window]))[0, -1]
        logits[model.tokens.unknown] = -torch.inf
        for token in used:
            logits[token] *= 1 / penalty if logits[token] > 0 else penalty
        window.append(int(logits.argmax()))
        used.add(window[-1])
        text += model.tokens.pieces[window[-1]]
        if window[-1] == model.tokens.end:
            break
    return text.decode()


@pytest.mark.parametrize("block_size", [9, 48, 100])
@pytest.mark.parametrize("prompt", ["a", "some longer words to begin with, ", "x y z " * 40])
def test_greedy_equals_the_plain_forward_pass_also_beyond_the_context(prompt, block_size):
    model = make_model(block_size)
    prompt = prompt[:block_size]
    [made] = finish(
        Sampler(model, TextParams()), item(prompt=prompt, temperature=0.0, max_new_tokens=150)
    )
    assert text_of(made) == reference(model, prompt, 150)


def test_a_prompt_beyond_the_context_is_kept_in_the_text_but_only_its_end_is_read(model):
    short, long = "the end of it all, " * 2, "z" * 500 + "the end of it all, " * 20
    sampler = Sampler(model, TextParams())
    made = finish(sampler, item(prompt=long), item(prompt=long[-48:]), item(prompt=short))
    assert text_of(made[0]).startswith(long)
    assert text_of(made[0])[len(long) :] == text_of(made[1])[48:]


def test_stops_end_the_text_before_them(model):
    sampler = Sampler(model, TextParams())
    whole = text_of(finish(sampler, item(include_prompt=False, max_new_tokens=60))[0])
    stop = whole[20:23]
    [made] = finish(
        sampler, item(include_prompt=False, max_new_tokens=60, stop=["never there", stop])
    )
    assert text_of(made) == whole[: whole.index(stop)]
    assert made.metrics["ended"] == 1.0
    assert made.metrics["tokens"] == whole.index(stop) + len(stop)


def test_a_stop_in_the_prompt_stops_nothing(model):
    [made] = finish(Sampler(model, TextParams()), item(prompt="aqaqaq", stop=["aqaqaq"]))
    assert text_of(made).startswith("aqaqaq")


def with_head(model, token, factor):
    """The model with one row of its output matrix scaled."""
    weight = model.head.weight.clone()
    weight[token] *= factor
    model.head.weight = torch.nn.Parameter(weight, requires_grad=False)
    return model


def test_the_end_of_a_document_ends_the_text():
    model = make_model()
    model = with_head(model, model.tokens.end, 2)
    items = [item(seed=n, prompt="abc", max_new_tokens=300) for n in range(5)]
    for made in finish(Sampler(model, TextParams()), *items):
        assert made.metrics["ended"] == 1.0 and made.metrics["tokens"] < 300
        assert len(text_of(made)) == 3 + made.metrics["tokens"] - 1


def test_an_empty_prompt_starts_a_document(model):
    [made] = finish(Sampler(model, TextParams()), item(max_new_tokens=7))
    assert len(text_of(made)) == 7
    assert made.metrics == {"tokens": 7, "prompt_tokens": 1, "ended": 0.0}
    assert made.media_type == "text/plain; charset=utf-8" and made.suffix == "txt"


def test_unknown_characters_are_named(model):
    with pytest.raises(BadData, match="'É', 'Ü'"):
        Sampler(model, TextParams()).admit(item(prompt="abc É Ü É"))


def test_unknown_is_never_written():
    model = make_model()
    model = with_head(model, model.tokens.unknown, 100)
    [made] = finish(Sampler(model, TextParams()), item(temperature=2.0, include_prompt=False))
    assert len(text_of(made)) == made.metrics["tokens"] == 30


def test_peek_shows_the_text_so_far_and_nothing_of_others(model):
    sampler = Sampler(model, TextParams())
    slot = sampler.admit(item(prompt="hello ", max_new_tokens=40))
    sampler.admit(item(seed=2, prompt="other "))
    shown = [sampler.peek(slot).text]
    for _ in range(60):
        made = sampler.step()
        if any(one.slot == slot for one in made):
            break
        shown.append(sampler.peek(slot).text)
    [final] = [one.data.decode() for one in made if one.slot == slot]
    assert shown[0] == "hello "
    assert all(final.startswith(text) for text in shown)
    assert len(set(shown)) > 30
    assert sampler.peek(slot) is None


def test_streaming_never_splits_a_character():
    model = make_model(tokens=byte_pairs(["春眠不覺曉 🙂"], 300))
    sampler = Sampler(model, TextParams())
    slot = sampler.admit(item(prompt="春🙂", max_new_tokens=60, temperature=2.0))
    before = ""
    while not (made := sampler.step()):
        text = sampler.peek(slot).text
        assert text.startswith(before)
        before = text
    assert made[0].data.decode().startswith(before)


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_drop_frees_the_slot_and_disturbs_nobody(model, steps):
    mine = item(seed=5, prompt="keep ")
    [expected] = finish(Sampler(model, TextParams()), mine)
    sampler = Sampler(model, TextParams())
    gone = [sampler.admit(item(seed=n, prompt="drop me please " * 5)) for n in range(3)]
    slot = sampler.admit(mine)
    for _ in range(steps):
        sampler.step()
    for one in gone:
        sampler.drop(one)
        sampler.drop(one)
    assert sampler.room() == sampler.slots - 1
    made = [one for _ in range(60) for one in sampler.step()]
    assert [one.slot for one in made] == [slot]
    assert made[0].data == expected.data
    assert sampler.room() == sampler.slots


def test_rows_beyond_the_readers_and_leaving_in_any_order_stay_themselves(model):
    items = [
        item(seed=n, prompt="word " * (n % 5), max_new_tokens=1 + (13 * n) % 40) for n in range(32)
    ]
    sampler = Sampler(model, TextParams())
    together = finish(sampler, *items)
    assert sampler.room() == 32
    for n in range(0, 32, 5):
        assert finish(sampler, items[n])[0].data == together[n].data


def test_an_error_ends_one_slot_only(model, monkeypatch):
    sampler = Sampler(model, TextParams())
    plain = sampler._logits

    def broken():
        logits = plain()
        for place, row in enumerate(sampler.writing.rows):
            if row.seed == 13:
                logits[place, 4] = torch.nan
        return logits

    monkeypatch.setattr(sampler, "_logits", broken)
    bad, good = finish(sampler, item(seed=13), item(seed=1))
    assert isinstance(bad.error, BadData) and good.error is None
    assert good.data == finish(Sampler(model, TextParams()), item(seed=1))[0].data


def test_the_repetition_penalty_counts_prompt_and_result(model):
    rows = [
        item(prompt="abcdefgh ", temperature=0.0, repetition_penalty=p, max_new_tokens=60)
        for p in (1.0, 1.5, 3.0)
    ]
    plain, light, heavy = map(text_of, finish(Sampler(model, TextParams()), *rows))
    assert plain == reference(model, "abcdefgh ", 60)
    assert light == reference(model, "abcdefgh ", 60, penalty=1.5)
    assert heavy == reference(model, "abcdefgh ", 60, penalty=3.0)
    assert light != plain != heavy


@pytest.mark.parametrize(("most_weights", "used"), [(10**9, 1), (0, 3)])
def test_a_small_model_writes_on_one_thread_and_gives_the_others_back(
    model, monkeypatch, most_weights, used
):
    monkeypatch.setattr("worker.nn.steady.SMALL", most_weights)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        sampler = TextSampler(model, TextParams())
        seen = []
        write = sampler._write
        monkeypatch.setattr(
            sampler, "_write", lambda: (seen.append(torch.get_num_threads()), write())[1]
        )
        finish(sampler, item(max_new_tokens=3))
        assert set(seen) == {used}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_small_model_writes_the_same_bits_on_any_number_of_threads(model):
    before, made = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            sampler = TextSampler(model, TextParams())
            made.append(sampler._probe(range(4)))
    finally:
        torch.set_num_threads(before)
    assert not made[0].isnan().any()
    assert torch.equal(*made)
