"""What is particular to the GAN; what every family must do stands in test_every_family.py."""

from __future__ import annotations

import io
import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from shared.errors import BadData
from shared.params import check_rules, evaluate
from tests.worker.families import packed
from worker.families import gan
from worker.families.gan import GenerateParams, Generator, Judge, TrainParams
from worker.family import Item
from worker.run import Run

LABELS = ["lying", "standing"]
SMALL = {"base_channels": 8, "latent_dim": 4, "batch_size": 8}


def small_model(height=8, width=8, channels=1, labels=LABELS, **changes):
    torch.manual_seed(0)
    rest = {"latent_dim": 4, "base_channels": 8, "network": "conv"} | changes
    return Generator(channels, height, width, labels, **rest).eval()


def trained(data, splits=1, **params):
    run = Run(seed=1, splits=splits)
    reports = [
        {name: float(value) for name, value in report.items()}
        for report in gan.train(TrainParams(**{**SMALL, "steps": 3, **params}), data, run)
        if report
    ]
    return run, reports


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def bars(folder):
    """Lying and standing bars, each as bright as it likes: what is varied here is easy to learn."""
    files = []
    for n in range(64):
        light = 80 + random.Random(n).randrange(170)
        label = LABELS[n % 2]

        def grey(x, y, light=light, label=label):
            return light if (y if label == "lying" else x) % 4 < 2 else 0

        files.append((packed.png_of(8, 8, "L", grey), label))
    return packed.pictures(folder, files)


LEARNING = {"base_channels": 16, "batch_size": 16, "steps": 200, "validate_every": 50}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A model that knows lying bars from standing ones."""
    run, reports = trained(bars(tmp_path_factory.mktemp("bars")), **LEARNING | {"steps": 300})
    return run.result, reports


@torch.inference_mode()
def made(model, *items):
    sampler = gan.Sampler(model, items[0].params)
    slots = [sampler.admit(item) for item in items]
    finished = {}
    while len(finished) < len(items):
        finished |= {f.slot: f for f in sampler.step()}
    return [finished[slot] for slot in slots]


def pixels(finished):
    assert finished.error is None, finished.error
    return np.asarray(Image.open(io.BytesIO(finished.data)), np.float32)


def item(seed=1, index=0, **params):
    params = GenerateParams(**params)
    return Item(params, seed, index, params.count)


# The networks


@pytest.mark.parametrize("network", ["conv", "mlp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (33, 33), (128, 128), (9, 31)])
def test_any_size_is_drawn_and_judged(size, channels, network):
    model = small_model(*size, channels, network=network)
    x = model(torch.randn(2, 4), torch.tensor([0, 1]))
    assert x.shape == (2, channels, *size)
    assert x.abs().max() <= 1
    judge = Judge(model.config)
    assert judge(x, torch.tensor([0, 1])).shape == (2,)
    assert not any("BatchNorm" in type(p).__name__ for n in (model, judge) for p in n.modules())


@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_no_picture_depends_on_its_batch(network):
    model = small_model(network=network)
    judge = Judge(model.config)
    z, labels = torch.randn(6, 4), torch.tensor([0, 1, 1, 0, 1, 0])
    x = model(z, labels)
    torch.testing.assert_close(model(z[2:3], labels[2:3]), x[2:3])
    torch.testing.assert_close(judge(x[2:3], labels[2:3]), judge(x, labels)[2:3])


def test_the_class_matters_to_both():
    model = small_model()
    z = torch.randn(1, 4)
    one, other = (model(z, torch.tensor([label])) for label in (0, 1))
    assert not torch.equal(one, other)
    judge = Judge(model.config)
    scores = [judge(one, torch.tensor([label])).item() for label in (0, 1)]
    assert scores[0] != scores[1]


# Training


@pytest.mark.parametrize(
    ("width", "height", "mode", "params"),
    [
        (33, 33, "RGB", {}),
        (28, 12, "L", {"augment": "flip", "loss": "non_saturating"}),
        (8, 8, "L", {"augment": "shift", "loss": "wasserstein", "ema_decay": 0.0}),
        (40, 20, "L", {"image_size": 17, "network": "mlp", "judge_rate": 2.0}),
    ],
)
def test_it_trains_at_any_size_in_grey_or_colour(tmp_path, width, height, mode, params):
    data = packed.pictures(tmp_path, packed.stripes(20, width, height, mode))
    run, reports = trained(data, **params)
    size = params.get("image_size")
    config = run.result.config
    assert (config["width"], config["height"]) == ((size, size) if size else (width, height))
    assert config["channels"] == (3 if mode == "RGB" else 1)
    penalty = "gradient_penalty" if params.get("loss") == "wasserstein" else "r1"
    names = {"loss_d", "loss_g", "score_real", "score_fake", "distance", penalty}
    assert reports[-1].keys() == names
    assert all(math.isfinite(value) for report in reports for value in report.values())
    assert pixels(made(run.result, item())[0]).shape[:2] == (config["height"], config["width"])


def test_it_learns_which_class_is_which_and_how_varied_it_is(learnt):
    model, reports = learnt
    measured = [report["distance"] for report in reports if "distance" in report]
    assert len(measured) == 6 and min(measured) < measured[0] / 2
    assert_knows_classes(model)
    light = [
        pixels(f).max() for f in made(model, *(item(n, class_label="lying") for n in range(40)))
    ]
    assert np.std(light) > 15  # of the real ones: 49


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["non_saturating", "wasserstein"])
def test_the_other_losses_learn_it_too(tmp_path, loss):
    run, _ = trained(bars(tmp_path), loss=loss, **LEARNING)
    assert_knows_classes(run.result)


@pytest.mark.slow
def test_the_mlp_learns_it_too(tmp_path):
    run, _ = trained(bars(tmp_path), network="mlp", **LEARNING)
    assert_knows_classes(run.result)


def assert_knows_classes(model):
    for label in LABELS:
        for finished in made(model, *(item(seed, class_label=label) for seed in range(20))):
            across, down = (np.abs(np.diff(pixels(finished), axis=axis)).mean() for axis in (1, 0))
            assert (down > across) == (label == "lying")


def test_micro_batches_penalise_and_report_as_the_whole_does(tmp_path):
    """With no noise in the draws, two halves add up to the whole."""
    data = packed.pictures(tmp_path, packed.stripes(20, 8, 8))
    data.tensors((8, 8), 1)
    batch = data.split(0.2, 1).train.batch(0, 8, 1)
    found = []
    for splits in (1, 2):
        model = small_model(latent_dim=4)
        with torch.no_grad():
            model.painter.start.weight[:, :4] = 0
            for block in model.painter.blocks:
                block.film.weight[:, :4] = 0
        judge = Judge(model.config)
        optimizer = torch.optim.SGD(judge.parameters(), lr=0.1)
        run = Run(seed=1, splits=splits)
        torch.manual_seed(0)
        sums = gan.judge_step(model, judge, optimizer, batch, TrainParams(**SMALL), run)
        found.append((sums, judge.state_dict()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_kept_is_the_running_mean(tmp_path):
    data = packed.pictures(tmp_path, packed.stripes(20, 8, 8))
    for decay, same in ((0.0, True), (0.99, False)):
        run, _ = trained(data, ema_decay=decay)
        last = run.kept["model"].state_dict()
        equal = [torch.equal(last[name], v) for name, v in run.result.state_dict().items()]
        assert all(equal) == same
        assert run.best_name == "average"


def test_pictures_without_labels_make_a_model_without_classes(tmp_path):
    files = [(data, None) for data, _ in packed.stripes(30, 8, 8)]
    run, _ = trained(packed.pictures(tmp_path, files))
    assert run.result.config["labels"] == []
    assert gan.describe(run.result)["schema"] == {"class_label": None}
    assert pixels(made(run.result, item())[0]).shape == (8, 8)


def test_labels_become_the_choices_of_the_form(learnt):
    described = gan.describe(learnt[0])
    assert described["schema"]["class_label"]["enum"] == ["", *LABELS]
    assert described["facts"]["classes"] == 2


def test_one_held_out_picture_is_too_little_to_measure_on(tmp_path):
    files = [(data, None) for data, _ in packed.stripes(12, 8, 8)]
    data = packed.pictures(tmp_path, files)
    with pytest.raises(BadData):
        trained(data)
    rules = [list(rule) for rule in gan.FAMILY.train_rules]
    for fraction, pointers in ((0.1, ["/params/validation_fraction"]), (0.2, [])):
        values = TrainParams(validation_fraction=fraction).model_dump()
        problems = check_rules(rules, {**data.facts, **values})
        assert [problem["pointer"] for problem in problems] == pointers
    trained(data, validation_fraction=0.2)


class NoModules:
    """The counter's tracker of modules does not bear a gradient of a gradient."""

    parents, is_bw = frozenset({"Global"}), False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize(
    ("size", "base", "network"),
    [(8, 32, "conv"), (28, 16, "conv"), (64, 8, "conv"), (28, 8, "mlp")],
)
def test_the_price_is_near_the_work(size, base, network):
    params = TrainParams(steps=1, batch_size=2, base_channels=base, network=network)
    sizes = {"base_channels": base, "latent_dim": params.latent_dim}
    model = small_model(size, size, network=network, **sizes)
    judge, run = Judge(model.config), Run(seed=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch = torch.rand(2, 1, size, size), torch.tensor([0, 1])
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = NoModules()
    with counter:
        gan.judge_step(model, judge, optimizer, batch, params, run)
        gan.painter_step(model, judge, optimizer, batch, params, run)
    facts = {"height_max": size, "width_max": size, "channels": 1}
    priced = evaluate(gan.FAMILY.train_cost["flops"], {**facts, **params.model_dump()})
    assert 0.7 < priced / counter.get_total_flops() < 1.4


# Generating


def test_a_way_goes_from_the_picture_of_one_seed_to_that_of_the_other(learnt):
    wanted = {"mode": "interpolate", "seed_a": 11, "seed_b": 12, "class_label": "lying"}
    way = made(learnt[0], *(item(90 + n, n, count=7, **wanted) for n in range(7)))
    ends = made(learnt[0], *(item(seed, class_label="lying") for seed in (11, 12)))
    assert [way[0].data, way[-1].data] == [end.data for end in ends]
    distances = [np.abs(pixels(step) - pixels(ends[0])).mean() for step in way]
    assert distances[0] == 0 and distances[-1] > 0
    assert len({step.data for step in way}) > 2


def test_a_way_leads_from_class_to_class_where_none_is_named(learnt):
    classes = {seed: pixels_lie(made(learnt[0], item(seed))[0]) for seed in range(20)}
    lying = next(seed for seed, lies in classes.items() if lies)
    standing = next(seed for seed, lies in classes.items() if not lies)
    wanted = {"mode": "interpolate", "seed_a": lying, "seed_b": standing, "count": 3}
    way = made(learnt[0], *(item(5, n, **wanted) for n in range(3)))
    assert pixels_lie(way[0]) and not pixels_lie(way[-1])
    assert way[0].data == made(learnt[0], item(lying))[0].data


def pixels_lie(finished):
    across, down = (np.abs(np.diff(pixels(finished), axis=axis)).mean() for axis in (1, 0))
    return down > across


def test_a_way_of_one_picture_is_its_middle(learnt):
    wanted = {"mode": "interpolate", "seed_a": 3, "seed_b": 4, "class_label": "lying"}
    (alone,) = made(learnt[0], item(1, 0, count=1, **wanted))
    three = made(learnt[0], *(item(1, n, count=3, **wanted) for n in range(3)))
    assert alone.data == three[1].data


def test_temperature_zero_draws_the_same_picture_for_every_seed(learnt):
    cold = made(learnt[0], *(item(seed, class_label="lying", temperature=0.0) for seed in (1, 2)))
    assert cold[0].data == cold[1].data


def test_without_a_class_each_sample_draws_its_own(learnt):
    assert {pixels_lie(made(learnt[0], item(seed))[0]) for seed in range(20)} == {True, False}


@pytest.mark.parametrize("mode", ["sample", "interpolate"])
@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_before_it_is_encoded_every_float_is_the_same_among_strangers(network, mode):
    def floats(*items):
        kept = []
        sampler = gan.Sampler(model, items[0].params)
        painted = sampler._painted
        sampler._painted = lambda codes: kept.append(painted(codes)) or kept[-1]
        for each in items:
            sampler.admit(each)
        sampler.step()
        return torch.cat(kept)

    model = small_model(28, 28, network=network)
    strangers = [item(seed, 1, mode=mode) for seed in range(2, 9)]
    mine = item(1, 1, mode=mode)
    with torch.inference_mode():
        (alone,) = floats(mine)
        for place in (0, 4, 7):
            among = floats(*strangers[:place], mine, *strangers[place:])[place]
            assert torch.equal(alone, among), place
        assert torch.equal(alone, floats(mine, *strangers[:2])[0])


def test_a_class_that_it_does_not_know_is_refused(learnt):
    sampler = gan.Sampler(learnt[0], GenerateParams())
    with pytest.raises(BadData):
        sampler.admit(item(class_label="unheard"))


# On disk


def test_its_folder_loads_with_the_hub_mixin(learnt, tmp_path):
    from huggingface_hub import PyTorchModelHubMixin

    class Model(Generator, PyTorchModelHubMixin):
        pass

    gan.save(learnt[0], tmp_path)
    model = Model.from_pretrained(str(tmp_path)).eval()
    z, label = torch.randn(1, 4), torch.tensor([1])
    assert torch.equal(model(z, label), learnt[0](z, label))
    card = (tmp_path / "README.md").read_text()
    assert "from worker.families.gan import Generator" in card and "{" not in card
