"""A generative adversarial network for pictures (Goodfellow et al. 2014, arXiv:1406.2661): one network draws, another
tells drawn from real, and each learns from the other; it draws by class where the pictures have labels.

Convolutional after DCGAN (Radford et al. 2015), or an MLP. Losses: relativistic with zero-centred penalties R1, R2
(R3GAN, Huang et al. 2024, arXiv:2501.05441), non-saturating with R1 (Mescheder et al. 2018, arXiv:1801.04406), WGAN-GP
(Gulrajani et al. 2017, arXiv:1704.00028). Classes enter the judge by projection (Miyato & Koyama 2018). Norms stay in
a picture, so that none depends on its batch. What is kept is a running mean of the generator's weights.

The losses say who is winning, not how good the pictures are: watch the distance. It is the energy distance of pixels at
several scales (worker/metrics/energy.py) between held-out pictures and draws, mean over the classes: 0 where it cannot
tell them apart. It sees layout, contrast and variety, little of fine texture. The model with the least is the result.

Use it for sharp small pictures, drawn at once. Raise r1_gamma where training swings or the draws grow alike.
"""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from shared.errors import BadData
from shared.params import Field, Params
from worker.family import Family
from worker.metrics.energy import held_distance
from worker.nn.adversarial import add_up, generator_loss, gradient_penalty, judge_loss, slopes
from worker.nn.augment import augmented
from worker.nn.draws import normals, uniforms
from worker.nn.fields import number, paces, patience, sheet
from worker.nn.great_circle import blend
from worker.nn.hub_folder import load_folder, save_folder
from worker.nn.levels import level_sizes, level_widths
from worker.nn.picture_sampler import PictureSampler
from worker.nn.picture_size import SIDES, SIZE_RULES, image_size, picture_shape
from worker.nn.schedule import warm_cosine


class TrainParams(Params):
    image_size: int = image_size()
    network: Literal["conv", "mlp"] = Field(
        "conv", title="Network", description="Convolutions; or an MLP, for tiny pictures only."
    )
    loss: Literal["relativistic", "non_saturating", "wasserstein"] = Field(
        "relativistic", title="Loss", description="What the two networks play for (see the help)."
    )
    latent_dim: int = number(32, 1, 512, "Latent size", "How many random numbers make a picture.")
    base_channels: int = number(
        32, 8, 256, "Base channels", "Width at full size; up to four times as wide further down."
    )
    r1_gamma: float = number(
        0.5, 0.0, 1000.0, "Gradient penalty", "Weight of R1 (and R2): higher is calmer, slower."
    )
    gp_weight: float = number(
        10.0, 0.0, 1000.0, "Slope penalty", "Its weight in the Wasserstein loss.", advanced=True
    )
    learning_rate: float = number(
        2e-3, 1e-6, 0.1, "Learning rate", "Greatest step size of Adam; a cosine ends it near 0."
    )
    judge_rate: float = number(
        1.0, 0.1, 10.0, "Judge's rate", "The judge's step size over the generator's.", advanced=True
    )
    batch_size: int = number(64, 1, 4096, "Batch size", "Pictures in one step.")
    steps: int = number(2000, 1, 1_000_000, "Steps", "How many steps of each network to make.")
    validation_fraction: float = number(
        0.1, 0.01, 0.5, "Held-out share", "Share of the pictures kept aside to measure on."
    )
    validate_every: int = number(
        250, 1, 1_000_000, "Validate every", "Steps between two measurements.", unit="steps"
    )
    patience: int = patience()
    ema_decay: float = number(
        0.995, 0.0, 0.9999, "Averaging", "Decay of the mean weights; 0: off.", advanced=True
    )
    augment: Literal["none", "flip", "shift"] = Field(
        "none", title="Augmentation", description="Mirror, or shift by an eighth, at random."
    )


class GenerateParams(Params):
    mode: Literal["sample", "interpolate"] = Field(
        "sample", title="Mode", description="Draw pictures, or go from one draw to another."
    )
    count: int = number(8, 1, 256, "Pictures", "How many pictures (or stages on the way) to make.")
    class_label: str = Field(
        "", max_length=300, title="Class", description="Label of the pictures; empty: any."
    )
    temperature: float = number(
        1.0, 0.0, 2.0, "Temperature", "Spread (truncation): 0 typical, above 1 strange."
    )
    seed_a: int = number(
        1, 0, 2**53, "From seed", "Seed of the picture to start from, as that picture says it."
    )
    seed_b: int = number(2, 0, 2**53, "To seed", "Seed of the picture to arrive at.")
    grid: bool = sheet()


# The networks


class Drawing(nn.Module):
    """A residual block of the generator; the code scales and shifts between its convolutions (FiLM)."""

    def __init__(self, channels: int, code_width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, channels), nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(code_width, 2 * channels)

    def forward(self, x, code):  # (B, C, H, W), (B, D) -> (B, C, H, W)
        scale, shift = self.film(code)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))


class ConvPainter(nn.Module):
    def __init__(self, channels, sizes, base, code_width) -> None:
        super().__init__()
        widths = level_widths(base, sizes)
        self.sizes = sizes
        self.start = nn.Linear(code_width, widths[-1] * math.prod(sizes[-1]))
        self.blocks = nn.ModuleList(Drawing(width, code_width) for width in widths)
        self.ups = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in pairwise(widths))
        self.norm = nn.GroupNorm(8, widths[0])
        self.head = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, code):  # (B, D) -> (B, C, H, W)
        h = self.start(code).unflatten(1, (-1, *self.sizes[-1]))
        h = self.blocks[-1](h, code)
        for level in reversed(range(len(self.ups))):
            # nearest to the exact size, so that 33 comes back from 17
            h = self.ups[level](F.interpolate(h, size=self.sizes[level]))
            h = self.blocks[level](h, code)
        return self.head(F.silu(self.norm(h)))


class Looking(nn.Module):
    """A residual block of the judge. No norm: its gradient penalty keeps it in bounds."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)  # each block begins as the identity

    def forward(self, x):  # (B, C, H, W) -> (B, C, H, W)
        return x + self.conv2(F.leaky_relu(self.conv1(F.leaky_relu(x, 0.2)), 0.2))


def conv_viewer(channels, sizes, base):  # (B, C, H, W) -> (B, features)
    widths = level_widths(base, sizes)
    layers = [nn.Conv2d(channels, widths[0], 3, padding=1), Looking(widths[0])]
    for a, b in pairwise(widths):
        layers += [nn.Conv2d(a, b, 3, 2, padding=1), Looking(b)]
    return nn.Sequential(*layers, nn.Flatten()), widths[-1] * math.prod(sizes[-1])


def mlp_painter(channels, sizes, base, code_width):
    """Ever wider layers from the code to all pixels at once: 256, 512, 1024 with a base of 32."""
    layers = []
    for a, b in pairwise((code_width, 8 * base, 16 * base, 32 * base)):
        layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.LeakyReLU(0.2)]
    shape = (channels, *sizes[0])
    return nn.Sequential(*layers, nn.Linear(32 * base, math.prod(shape)), nn.Unflatten(1, shape))


def mlp_viewer(channels, sizes, base):
    pixels = channels * math.prod(sizes[0])
    layers = [nn.Linear(pixels, 32 * base), nn.LeakyReLU(0.2), nn.Linear(32 * base, 16 * base)]
    return nn.Sequential(nn.Flatten(), *layers), 16 * base


class Generator(nn.Module):
    def __init__(self, channels, height, width, labels, latent_dim, base_channels, network):
        super().__init__()
        self.config = {"channels": channels, "height": height, "width": width, "labels": labels}
        self.config |= {
            "latent_dim": latent_dim,
            "base_channels": base_channels,
            "network": network,
        }
        # pictures without labels are all of one class
        self.classes = nn.Embedding(max(1, len(labels)), 2 * base_channels)
        painter = ConvPainter if network == "conv" else mlp_painter
        sizes, code_width = level_sizes(height, width), latent_dim + 2 * base_channels
        self.painter = painter(channels, sizes, base_channels, code_width)

    def forward(self, z, labels):  # (B, Z), (B,) -> (B, C, H, W) in -1..1
        return self.paint(z, self.classes(labels))

    def paint(self, z, condition):
        return self.painter(torch.cat([z, condition], dim=1)).tanh()

    def pictures(self, z, labels):  # in 0..1
        return self(z, labels) / 2 + 0.5


class Judge(nn.Module):
    """The discriminator: how real a picture looks, as one of its class."""

    def __init__(self, config) -> None:
        super().__init__()
        sizes, base = level_sizes(config["height"], config["width"]), config["base_channels"]
        viewer = conv_viewer if config["network"] == "conv" else mlp_viewer
        self.viewer, seen = viewer(config["channels"], sizes, base)
        self.features = nn.Linear(seen, 8 * base)
        self.score = nn.Linear(8 * base, 1)
        self.classes = nn.Embedding(max(1, len(config["labels"])), 8 * base)

    def forward(self, x, labels):  # x in -1..1, labels (B,) -> (B,)
        h = F.leaky_relu(self.features(F.leaky_relu(self.viewer(x), 0.2)), 0.2)
        return self.score(h)[:, 0] + (h * self.classes(labels)).sum(1) / h.shape[1] ** 0.5


# Training


def train(params: TrainParams, data, run):
    channels, height, width = picture_shape(params, data.facts)
    data.tensors((height, width), channels)
    split = data.split(params.validation_fraction, run.seed)
    if not len(split.train) or len(split.validation) < 2:
        raise BadData("There are too few pictures to hold some of them out.")
    size = params.latent_dim, params.base_channels
    model = Generator(channels, height, width, data.labels, *size, params.network)
    model = run.keep("model", model.to(run.device))
    average = run.keep("average", copy.deepcopy(model).requires_grad_(False))
    judge = run.keep("judge", Judge(model.config).to(run.device))
    painting = run.keep("painting", torch.optim.Adam(model.parameters(), betas=(0.0, 0.99)))
    judging = run.keep("judging", torch.optim.Adam(judge.parameters(), betas=(0.0, 0.99)))
    for batch in run.batches(split.train, params.batch_size, params.steps):
        factor = warm_cosine(run.step, run.total, min(100, params.steps // 10), 0.05)
        for optimizer, ratio in ((painting, 1.0), (judging, params.judge_rate)):
            for group in optimizer.param_groups:
                group["lr"] = params.learning_rate * ratio * factor
        metrics = judge_step(model, judge, judging, batch, params, run)
        metrics |= painter_step(model, judge, painting, batch, params, run)
        decay = min(params.ema_decay, (1 + run.step) / (10 + run.step))
        for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(weight.detach(), 1 - decay)
        if run.step % params.validate_every == 0 or run.step == run.total:
            metrics["distance"] = yield from held_distance(
                average.pictures, split.validation, params.latent_dim, run
            )
            run.offer(average, metrics["distance"])
        yield metrics


def judge_step(model, judge, optimizer, batch, params, run):
    """The judge learns to tell the batch from pictures drawn for it, class by class."""
    sums = {}
    for part, share in run.parts(batch):
        x, labels = real_pictures(part, params)
        with torch.no_grad():
            drawn = model(noise(x, params), labels)
        pictures = torch.cat([x, drawn]).requires_grad_()
        scores = judge(pictures, labels.repeat(2))
        real, fake = scores.chunk(2)
        loss = judge_loss(params.loss, real, fake)
        measured = {"loss_d": loss, "score_real": real.mean(), "score_fake": fake.mean()}
        if params.loss == "wasserstein":
            steepness = gradient_penalty(judge, x, drawn, labels)
            penalty = params.gp_weight * steepness
            measured["gradient_penalty"] = steepness
        else:
            r1, r2 = slopes(scores, pictures).view(2, -1).mean(1)
            penalty = params.r1_gamma / 2 * (r1 + r2 if params.loss == "relativistic" else r1)
            measured["r1"] = r1
        (share * (loss + penalty)).backward()
        add_up(sums, measured, share)
    optimizer.step()
    optimizer.zero_grad()
    return sums


def painter_step(model, judge, optimizer, batch, params, run):
    """The generator learns to look as real to the judge as the batch does."""
    sums = {}
    judge.requires_grad_(False)
    for part, share in run.parts(batch):
        x, labels = real_pictures(part, params)
        fake = judge(model(noise(x, params), labels), labels)
        loss = generator_loss(params.loss, judge(x, labels), fake)
        (share * loss).backward()
        add_up(sums, {"loss_g": loss}, share)
    judge.requires_grad_(True)
    optimizer.step()
    optimizer.zero_grad()
    return sums


def real_pictures(part, params):  # -> (B, C, H, W) in -1..1, labels (B,)
    pictures, labels = part
    x = 2 * augmented(pictures, params.augment) - 1
    if labels is None:
        labels = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return x, labels


def noise(x, params):
    return torch.randn(len(x), params.latent_dim, device=x.device)


# Generating


def Sampler(model: Generator, params: GenerateParams) -> PictureSampler:
    return PictureSampler(model, params, code, paint)


def code(model, item, _pictures):  # -> (1, Z), condition (1, D)
    params = item.params
    if params.mode == "interpolate":
        share = item.index / (item.count - 1) if item.count > 1 else 0.5
        (z_a, a), (z_b, b) = (code_of(model, s, params) for s in (params.seed_a, params.seed_b))
        return blend(z_a, z_b, share), torch.lerp(a, b, share)
    return code_of(model, item.seed, params)


def paint(model, z, condition):  # -> (B, C, H, W) in 0..1
    return model.paint(z, condition) / 2 + 0.5


def code_of(model, seed, params):
    """Code (1, Z) and class (1, D) of the picture that this seed draws; without a label it draws that, too."""
    labels, device = model.config["labels"], model.classes.weight.device
    if params.class_label:
        label = labels.index(params.class_label)
    else:
        label = int(uniforms([seed], [1])[0] * max(1, len(labels)))
    z = params.temperature * normals(seed, (1, model.config["latent_dim"]))
    return z.to(device), model.classes(torch.tensor([label], device=device))


# On disk: the layout of huggingface_hub's PyTorchModelHubMixin

USE = """\
label = torch.tensor([0])  # a place in "labels" of config.json; 0 where there are none
picture = model(torch.randn(1, {latent_dim}), label)  # (1, {channels}, {height}, {width}) in -1..1"""


def save(model: Generator, folder: Path) -> None:
    save_folder(model, folder, title="A GAN", use=USE)


def load(folder: Path, device) -> Generator:
    return load_folder(Generator, folder, device)


def describe(model: Generator) -> dict[str, Any]:
    facts = dict(model.config, classes=len(model.config["labels"]))
    facts["parameters"] = sum(weight.numel() for weight in model.parameters())
    label = {"enum": ["", *facts["labels"]]} if facts["labels"] else None
    return {"schema": {"class_label": label}, "facts": facts}


# Multiplications and additions of one forward pass of one network: levels cost about the same down to the third
CONV = "18 * {0} * {1} * base_channels ** 2 * (2 + 4 * min(2, log2(max({0}, {1}) / 4)))"
MLP = "(1300 * base_channels ** 2 + 64 * base_channels * {2} * {0} * {1})"
FORWARD = f"({CONV} if network == 'conv' else {MLP})"

FAMILY = Family(
    name="gan",
    version=2,
    title="Generative adversarial network",
    summary="Learns to draw sharp small pictures by class, in one pass; blends from one to another.",
    modality="image",
    dataset_kind="images",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"base_channels": 16, "steps": 800},
    generate_example={"mode": "sample", "count": 8},
    train_presets=(
        *paces({"base_channels": 16, "steps": 800}, {"steps": 8000}),
        ("mlp", "MLP", {"network": "mlp", "steps": 4000}),
    ),
    accepts=(("items >= 10", "At least 10 pictures are needed."),),
    train_rules=(
        *SIZE_RULES,
        ("base_channels % 8 == 0", "base_channels", "must be a multiple of 8"),
        ("items * validation_fraction >= 1.5", "validation_fraction", "must hold out two pictures"),
    ),
    train_cost={
        "flops": "17 * steps * batch_size * " + FORWARD.format(*SIDES, "channels"),
        "bytes": "2 ** 26 + 90000 * base_channels ** 2 + 600 * batch_size * base_channels"
        " * {} * {}".format(*SIDES),
    },
    generate_cost={
        "flops": "count * " + FORWARD.format("height", "width", "channels"),
        "bytes": "2 ** 26 + 4 * parameters + 200 * base_channels * height * width",
    },
    previews=({"mode": "sample", "count": 8},),
)
