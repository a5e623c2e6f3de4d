"""What is particular to the VAE; what every family must do stands in test_every_family.py."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from shared.errors import BadData
from shared.params import check_rules, evaluate
from tests.worker.families import packed
from worker import link
from worker.families import vae
from worker.families.vae import VAE, GenerateParams, TrainParams
from worker.family import Item
from worker.nn.picture_sampler import chosen_label
from worker.run import Run

LABELS = ["lying", "standing"]
SMALL = {"base_channels": 8, "latent_dim": 4, "batch_size": 8, "kl_warmup_steps": 10}


def small_model(height=8, width=8, channels=1, labels=LABELS, **changes):
    torch.manual_seed(0)
    rest = {"latent_dim": 4, "base_channels": 8, "likelihood": "gaussian"} | changes
    return VAE(channels, height, width, labels, **rest).eval()


def trained(data, **params):
    run = Run(seed=1)
    reports = [
        {name: float(value) for name, value in report.items()}
        for report in vae.train(TrainParams(**{**SMALL, "steps": 3, **params}), data, run)
        if report
    ]
    return run, reports


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A model that knows lying stripes from standing ones."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = packed.pictures(tmp_path_factory.mktemp("stripes"), packed.stripes(64, 8, 8))
    run, reports = trained(data, base_channels=16, steps=150, batch_size=16, validate_every=50)
    yield run.result, reports
    torch.set_num_threads(threads)


@torch.inference_mode()
def made(model, *items):
    sampler = vae.Sampler(model, items[0].params)
    slots = [sampler.admit(item) for item in items]
    finished = {}
    while len(finished) < len(items):
        finished |= {f.slot: f for f in sampler.step()}
    return [finished[slot] for slot in slots]


def pixels(finished):
    assert finished.error is None, finished.error
    return np.asarray(Image.open(io.BytesIO(finished.data)), np.float32)


def item(seed=1, index=0, inputs=None, **params):
    params = GenerateParams(**params)
    return Item(params, seed, index, params.count, inputs or {})


@pytest.fixture
def pictures(tmp_path):
    """Two files: a lying and a standing one."""
    paths = {}
    for name, (data, _) in zip(("image_a", "image_b"), packed.stripes(2, 8, 8), strict=True):
        paths[name] = tmp_path / name
        paths[name].write_bytes(data)
    return paths


# The network


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (33, 33), (100, 100), (128, 128), (9, 31)])
def test_any_size_comes_back_as_it_was(size, channels):
    model = small_model(*size, channels)
    x, label = torch.rand(2, channels, *size), torch.tensor([0, 1])
    mean, logvar = model.encode(x, label)
    assert mean.shape == logvar.shape == (2, 4)
    assert model.decode(mean, label).shape == x.shape
    assert not any("BatchNorm" in type(part).__name__ for part in model.modules())


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_pixel_loss_is_a_negative_log_likelihood(likelihood):
    model = small_model(likelihood=likelihood)
    logits = torch.randn(1, 1, 8, 8)
    x = torch.rand(1, 1, 8, 8).round()
    if likelihood == "bernoulli":
        peer = torch.distributions.Bernoulli(logits=logits)
    else:
        peer = torch.distributions.Normal(logits.sigmoid(), model.log_scale.exp())
    torch.testing.assert_close(model._pixel_loss(logits, x), -peer.log_prob(x))


def test_the_kl_is_that_to_a_standard_normal():
    model = small_model()
    x, label = torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 2])
    mean, logvar = model.encode(x, label)
    peer = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (logvar / 2).exp()), torch.distributions.Normal(0, 1)
    )
    _, kl = model.loss_parts(x, label, torch.zeros(3, 4))
    torch.testing.assert_close(kl, peer, atol=1e-5, rtol=1e-4)


# Training


@pytest.mark.parametrize(
    ("width", "height", "mode", "params"),
    [
        (33, 33, "RGB", {}),
        (28, 12, "L", {"augment": "flip"}),
        (8, 8, "L", {"augment": "shift", "likelihood": "bernoulli", "free_bits": 0.5}),
        (40, 20, "L", {"image_size": 17, "ema_decay": 0.0}),
    ],
)
def test_it_trains_at_any_size_in_grey_or_colour(tmp_path, width, height, mode, params):
    data = packed.pictures(tmp_path, packed.stripes(20, width, height, mode))
    run, reports = trained(data, **params)
    size = params.get("image_size")
    config = run.result.config
    assert (config["width"], config["height"]) == ((size, size) if size else (width, height))
    assert config["channels"] == (3 if mode == "RGB" else 1)
    assert {"loss", "validation_loss", "validation_elbo", "active_units"} <= reports[-1].keys()
    assert pixels(made(run.result, item())[0]).shape[:2] == (config["height"], config["width"])


def test_pictures_without_labels_make_a_model_without_classes(tmp_path):
    files = [(data, None) for data, _ in packed.stripes(20, 8, 8)]
    run, _ = trained(packed.pictures(tmp_path, files))
    assert run.result.config["labels"] == []
    assert vae.describe(run.result)["schema"] == {"class_label": None}
    assert pixels(made(run.result, item())[0]).shape == (8, 8)


def test_labels_become_the_choices_of_the_form(learnt):
    described = vae.describe(learnt[0])
    assert described["schema"]["class_label"]["enum"] == ["", *LABELS]
    assert described["facts"]["classes"] == 2


def test_it_learns_which_class_is_which(learnt):
    model, reports = learnt
    assert reports[-1]["validation_loss"] < reports[49]["validation_loss"]
    for label in LABELS:
        for finished in made(model, *(item(seed, class_label=label) for seed in range(20))):
            across, down = (np.abs(np.diff(pixels(finished), axis=axis)).mean() for axis in (1, 0))
            assert (down > across) == (label == "lying")


def test_validation_is_the_same_each_time_and_touches_no_global_generator(tmp_path):
    data = packed.pictures(tmp_path, packed.stripes(20, 8, 8))
    data.tensors((8, 8), 1)
    part = data.split(0.5, 1).validation
    torch.manual_seed(3)
    before, measured = torch.get_rng_state(), []
    for _ in range(2):
        generator = vae.validate(small_model(), part, TrainParams(**SMALL), Run(seed=3))
        while True:
            try:
                next(generator)
            except StopIteration as end:
                measured.append({name: float(value) for name, value in end.value.items()})
                break
    torch.manual_seed(3)
    assert measured[0] == measured[1]
    assert torch.equal(before, torch.get_rng_state())


def test_free_bits_keep_the_code_in_use(tmp_path):
    data = packed.pictures(tmp_path, packed.stripes(20, 8, 8))
    held = {"beta": 50.0, "steps": 40, "kl_warmup_steps": 0}
    without = trained(data, **held)[1][-1]["kl"]
    with_bits = trained(data, free_bits=2.0, **held)[1][-1]["kl"]
    assert with_bits > 4 * without


def test_averaging_off_keeps_the_last_weights(tmp_path):
    data = packed.pictures(tmp_path, packed.stripes(20, 8, 8))
    run, _ = trained(data, ema_decay=0.0)
    last = run.kept["model"].state_dict()
    assert all(torch.equal(last[name], value) for name, value in run.result.state_dict().items())


@pytest.mark.parametrize(
    ("facts", "image_size", "fine"),
    [
        ({"width_min": 8, "width_max": 8, "height_min": 9, "height_max": 9}, 0, True),
        ({"width_min": 8, "width_max": 9, "height_min": 9, "height_max": 9}, 0, False),
        ({"width_min": 8, "width_max": 9, "height_min": 9, "height_max": 9}, 32, True),
        ({"width_min": 7, "width_max": 7, "height_min": 9, "height_max": 9}, 0, False),
        ({"width_min": 200, "width_max": 200, "height_min": 9, "height_max": 9}, 0, False),
        ({"width_min": 8, "width_max": 8, "height_min": 8, "height_max": 8}, 5, False),
    ],
)
def test_the_size_must_fit_the_pictures(facts, image_size, fine):
    rules = [list(rule) for rule in vae.FAMILY.train_rules]
    values = TrainParams(image_size=image_size).model_dump()
    problems = check_rules(rules, {**facts, **values})
    assert [problem["pointer"] for problem in problems] == [] if fine else ["/params/image_size"]


@pytest.mark.parametrize(("size", "base"), [(8, 32), (28, 16), (64, 8)])
def test_the_price_is_near_the_work(size, base):
    model = small_model(size, size, base_channels=base)
    with FlopCounterMode(display=False) as counter:
        losses, kl = model.loss_parts(
            torch.rand(1, 1, size, size), torch.tensor([0]), torch.zeros(1, 4)
        )
        (losses.sum() + kl.sum()).backward()
    facts = {"height_max": size, "width_max": size}
    values = TrainParams(steps=1, batch_size=1, base_channels=base).model_dump()
    priced = evaluate(vae.FAMILY.train_cost["flops"], {**facts, **values})
    assert 0.7 < priced / counter.get_total_flops() < 1.4


# Generating


def test_rules_ask_for_the_pictures_that_a_mode_needs():
    rules = [list(rule) for rule in vae.FAMILY.generate_rules]

    def missing(**params):
        problems = check_rules(rules, GenerateParams(**params).model_dump())
        return [problem["pointer"].rpartition("/")[2] for problem in problems]

    assert missing(mode="sample") == []
    assert missing(mode="reconstruct") == ["image_a"]
    assert missing(mode="interpolate", image_a="x") == ["image_b"]
    assert missing(mode="interpolate", image_a="x", image_b="y") == []


def test_a_reconstruction_is_near_its_picture_whatever_the_seed(learnt, pictures):
    one, other = (
        made(learnt[0], item(seed, mode="reconstruct", class_label="lying", inputs=pictures))[0]
        for seed in (1, 2)
    )
    assert one.data == other.data
    real = np.asarray(Image.open(pictures["image_a"]), np.float32)
    assert ((pixels(one) - real) ** 2).mean() < 0.02 * 255**2


def test_further_reconstructions_vary(learnt, pictures):
    wanted = {"mode": "reconstruct", "inputs": pictures, "temperature": 2.0}
    first, second = made(learnt[0], *(item(9, index, **wanted) for index in (0, 1)))
    assert first.data != second.data


def test_a_blend_goes_from_one_picture_to_the_other(learnt, pictures):
    items = [item(n, n, mode="interpolate", count=5, inputs=pictures) for n in range(5)]
    steps = made(learnt[0], *items)
    ends = [
        made(learnt[0], item(mode="reconstruct", inputs={"image_a": pictures[name]}))[0]
        for name in ("image_a", "image_b")
    ]
    assert [steps[0].data, steps[-1].data] == [end.data for end in ends]
    distances = [np.abs(pixels(step) - pixels(ends[0])).mean() for step in steps]
    assert distances == sorted(distances) and distances[-1] > 0


def test_temperature_zero_draws_the_same_picture_for_every_seed(learnt):
    items = [item(seed, class_label="lying", temperature=0.0) for seed in (1, 2)]
    one, other = made(learnt[0], *items)
    assert one.data == other.data


def test_without_a_class_each_sample_draws_its_own(learnt):
    drawn = {int(chosen_label(item(seed), LABELS)) for seed in range(20)}
    assert drawn == {0, 1}


@pytest.mark.parametrize("mode", ["sample", "reconstruct"])
def test_before_it_is_encoded_every_float_is_the_same_among_strangers(mode, learnt, pictures):
    def floats(*items):
        kept = []
        sampler = vae.Sampler(learnt[0], items[0].params)
        painted = sampler._painted
        sampler._painted = lambda codes: kept.append(painted(codes)) or kept[-1]
        for each in items:
            sampler.admit(each)
        sampler.step()
        return torch.cat(kept)

    strangers = [item(seed, 1, mode=mode, inputs=pictures) for seed in range(2, 9)]
    mine = item(1, 1, mode=mode, inputs=pictures)
    with torch.inference_mode():
        (alone,) = floats(mine)
        for place in (0, 4, 7):
            among = floats(*strangers[:place], mine, *strangers[place:])[place]
            assert torch.equal(alone, among), place
        assert torch.equal(alone, floats(mine, *strangers[:2])[0])


def test_a_picture_that_cannot_be_read_is_refused(learnt, tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"no picture")
    sampler = vae.Sampler(learnt[0], GenerateParams())
    for inputs in ({"image_a": broken}, {}):
        with pytest.raises(BadData):
            sampler.admit(item(mode="reconstruct", inputs=inputs))
    with pytest.raises(BadData):
        sampler.admit(item(class_label="unheard"))
    assert sampler.room() == vae.Sampler(learnt[0], GenerateParams()).room()


@pytest.mark.parametrize("where", ["code", "paint"])
def test_an_error_ends_one_slot_only(learnt, where):
    sampler = vae.Sampler(learnt[0], GenerateParams())
    slots = [sampler.admit(item(seed)) for seed in (1, 2)]
    code, paint = sampler.code, sampler.paint

    def failing(model, wanted, pictures):
        if wanted.seed == 1 and where == "code":
            raise RuntimeError("no")
        return code(model, wanted, pictures)

    def failing_too(model, z, labels):
        if where == "paint" and (z == first).all(1).any():
            raise RuntimeError("no")
        return paint(model, z, labels)

    first, _ = code(learnt[0], item(1), {})
    sampler.code, sampler.paint = failing, failing_too
    with torch.inference_mode():
        finished = {f.slot: f for f in sampler.step()}
    assert isinstance(finished[slots[0]].error, RuntimeError)
    assert finished[slots[1]].data


def test_small_pictures_are_painted_together_and_large_ones_one_a_step():
    params = GenerateParams()
    small = vae.Sampler(small_model(8, 8), params)
    assert (small.pictures_a_step, small.width) == (16, 8)
    large = vae.Sampler(small_model(128, 128, base_channels=64), params)
    assert (large.pictures_a_step, large.width) == (1, 1)


def test_where_company_shows_pictures_are_painted_one_by_one(monkeypatch):
    """As on a device whose sums depend on the place in a batch."""
    paint = vae.paint

    def by_place(model, z, labels):
        return paint(model, z, labels) * (1 - torch.arange(len(z)).view(-1, 1, 1, 1) / 1000)

    monkeypatch.setattr(vae, "paint", by_place)
    assert vae.Sampler(small_model(8, 8), GenerateParams()).width == 1


def test_a_png_carries_nothing_but_pixels(learnt):
    finished = made(learnt[0], item())[0]
    with Image.open(io.BytesIO(finished.data)) as picture:
        assert picture.mode == "L" and picture.info == {}


# On disk


def test_its_folder_loads_with_the_hub_mixin(learnt, tmp_path):
    from huggingface_hub import PyTorchModelHubMixin

    class Model(VAE, PyTorchModelHubMixin):
        pass

    vae.save(learnt[0], tmp_path)
    model = Model.from_pretrained(str(tmp_path)).eval()
    z, label = torch.randn(1, 4), torch.tensor([1])
    assert torch.equal(model.decode(z, label), learnt[0].decode(z, label))
    card = (tmp_path / "README.md").read_text()
    assert "from_pretrained" in card and "{" not in card


# In the runner


def test_a_runner_trains_it_draws_previews_and_blends(start_runner, pictures):
    runner = start_runner(["vae"])
    folder = runner.inputs / "data"  # it may read nothing elsewhere
    data = packed.pictures(folder, packed.stripes(20, 8, 8))
    here = link.DatasetHere(folder=str(folder), facts=data.facts)
    runner.start("t.1", "train", "vae", {**SMALL, "steps": 5}, dataset=here)
    done = runner.end_of("t.1")
    assert done.type == "done", done
    assert done.model.schema_["properties"]["class_label"]["enum"] == ["", *LABELS]
    assert [p.media_type for p in runner.said("preview", "t.1")] == ["image/png"] * 8
    params = {"mode": "interpolate", "count": 3, "image_a": "a", "image_b": "b"}
    inputs = {name: str(path.rename(folder / name)) for name, path in pictures.items()}
    runner.generate("g.1", "vae", params, runner.model_of("t.1"), inputs=inputs)
    assert runner.end_of("g.1").type == "done"
    outputs = runner.said("output", "g.1")
    assert sorted(output.index for output in outputs) == [0, 1, 2]
    for output in outputs:
        with Image.open(runner.out("g.1") / output.file) as picture:
            assert picture.size == (8, 8) and "AIGC" in picture.info
