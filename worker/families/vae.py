"""A variational autoencoder for pictures (Kingma & Welling 2014, arXiv:1312.6114): it learns a code of a few numbers
from which each can be rebuilt, then draws new codes, by class where the pictures have labels.

Convolutional; β of Higgins et al. 2017 (β-VAE), free bits of Kingma et al. 2016 (arXiv:1606.04934), the learned
pixel scale of Rybkin et al. 2021 (σ-VAE, arXiv:2006.13202). Group norm, so that no picture depends on its batch.

Use it for small pictures and few of them: a minute teaches it the digits. Losses are in nats a picture. Raise beta
where samples look torn, lower it where reconstructions look blurred; watch how many latent numbers stay active.
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
from worker.nn.augment import augmented
from worker.nn.draws import normals
from worker.nn.fields import number, paces, patience, picture, sheet
from worker.nn.great_circle import blend
from worker.nn.hub_folder import load_folder, save_folder
from worker.nn.levels import level_sizes, level_widths
from worker.nn.picture_sampler import PictureSampler, chosen_label
from worker.nn.picture_size import SIDES, SIZE_RULES, image_size, picture_shape
from worker.nn.schedule import warm_cosine


class TrainParams(Params):
    image_size: int = image_size()
    latent_dim: int = number(16, 1, 512, "Latent size", "How many numbers describe a picture.")
    base_channels: int = number(
        32, 8, 256, "Base channels", "Width at full size; up to four times as wide further down."
    )
    beta: float = number(
        2.0, 0.0, 100.0, "Beta", "Weight of the KL: high for clean samples, low for sharp copies."
    )
    kl_warmup_steps: int = number(
        500, 0, 1_000_000, "KL warm-up", "Steps in which that weight rises from 0.", advanced=True
    )
    free_bits: float = number(
        0.0, 0.0, 10.0, "Free bits", "KL that each latent number has for free.", unit="nats"
    )
    likelihood: Literal["gaussian", "bernoulli"] = Field(
        "gaussian", title="Pixels", description="Gaussian for greys, colours; Bernoulli for ink."
    )
    learning_rate: float = number(
        2e-3, 1e-6, 0.1, "Learning rate", "Greatest step size of AdamW; a cosine ends it near 0."
    )
    weight_decay: float = number(
        1e-4, 0.0, 1.0, "Weight decay", "Pull of the weights towards zero.", advanced=True
    )
    batch_size: int = number(64, 1, 4096, "Batch size", "Pictures in one step.")
    steps: int = number(1500, 1, 1_000_000, "Steps", "How many optimizer steps to make.")
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
    mode: Literal["sample", "reconstruct", "interpolate"] = Field(
        "sample", title="Mode", description="Draw, rebuild and vary one, or go from one to another."
    )
    count: int = number(8, 1, 256, "Pictures", "How many pictures to make.")
    class_label: str = Field(
        "", max_length=300, title="Class", description="Label of the pictures; empty: any, unknown."
    )
    temperature: float = number(
        1.0, 0.0, 3.0, "Temperature", "Spread of the draws: 0 typical, above 1 strange."
    )
    image_a: str = picture("Picture", "Picture to rebuild, or to start from.")
    image_b: str = picture("Second picture", "Picture to arrive at.")
    grid: bool = sheet()


# The network


class Block(nn.Module):
    """Two convolutions around a residual; the condition scales and shifts in between (FiLM)."""

    def __init__(self, channels: int, condition_width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, channels), nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(condition_width, 2 * channels)
        nn.init.zeros_(self.conv2.weight)  # each block begins as the identity

    def forward(self, x, condition):  # (B, C, H, W), (B, D) -> (B, C, H, W)
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return x + self.conv2(F.silu(h))


class Encoder(nn.Module):
    def __init__(self, channels, sizes, widths, latent_dim, condition_width) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(width, condition_width) for width in widths)
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 3, 2, padding=1) for a, b in pairwise(widths))
        self.norm = nn.GroupNorm(8, widths[-1])
        self.head = nn.Linear(widths[-1] * math.prod(sizes[-1]), 2 * latent_dim)

    def forward(self, x, condition):  # (B, C, H, W) -> (B, Z), (B, Z)
        h = self.blocks[0](self.stem(x), condition)
        for down, block in zip(self.downs, self.blocks[1:], strict=True):
            h = block(down(h), condition)
        mean, logvar = self.head(F.silu(self.norm(h)).flatten(1)).chunk(2, dim=1)
        return mean, logvar.clamp(-12, 6)


class Decoder(nn.Module):
    def __init__(self, channels, sizes, widths, latent_dim, condition_width) -> None:
        super().__init__()
        self.sizes = sizes
        inner = condition_width + latent_dim
        self.start = nn.Linear(inner, widths[-1] * math.prod(sizes[-1]))
        self.blocks = nn.ModuleList(Block(width, inner) for width in widths)
        self.ups = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in pairwise(widths))
        self.norm = nn.GroupNorm(8, widths[0])
        self.head = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, z, condition):  # (B, Z) -> (B, C, H, W), logits of the pixels' means
        condition = torch.cat([z, condition], dim=1)
        h = self.start(condition).unflatten(1, (-1, *self.sizes[-1]))
        h = self.blocks[-1](h, condition)
        for level in reversed(range(len(self.ups))):
            # nearest to the exact size, so that 33 comes back from 17
            h = self.ups[level](F.interpolate(h, size=self.sizes[level]))
            h = self.blocks[level](h, condition)
        return self.head(F.silu(self.norm(h)))


class VAE(nn.Module):
    def __init__(self, channels, height, width, labels, latent_dim, base_channels, likelihood):
        super().__init__()
        self.config = {"channels": channels, "height": height, "width": width, "labels": labels}
        self.config |= {"latent_dim": latent_dim, "base_channels": base_channels}
        self.config["likelihood"] = likelihood
        sizes = level_sizes(height, width)
        widths = level_widths(base_channels, sizes)
        # the last row stands for "no label": unlabelled data, and pictures whose class is not known
        self.classes = nn.Embedding(len(labels) + 1, 2 * base_channels)
        self.encoder = Encoder(channels, sizes, widths, latent_dim, 2 * base_channels)
        self.decoder = Decoder(channels, sizes, widths, latent_dim, 2 * base_channels)
        self.log_scale = nn.Parameter(torch.tensor(-2.3))  # begins at a tenth of the grey scale

    def encode(self, x, labels):  # x in 0..1, labels (B,) -> mean, log variance
        return self.encoder(2 * x - 1, self.classes(labels))

    def decode(self, z, labels):  # -> logits; their sigmoid is the pixels' mean
        return self.decoder(z, self.classes(labels))

    def loss_parts(self, x, labels, noise):
        """Nats a picture: negative log likelihood (B,) and KL of each latent number (B, Z)."""
        mean, logvar = self.encode(x, labels)
        logits = self.decode(mean + noise * (logvar / 2).exp(), labels)
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar)
        return self._pixel_loss(logits, x).flatten(1).sum(1), kl

    def _pixel_loss(self, logits, x):
        if self.config["likelihood"] == "bernoulli":
            return F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        # below one grey level a smaller scale says nothing more about the picture
        log_scale = self.log_scale.clamp(min=math.log(1 / 255))
        error = (x - logits.sigmoid()) / log_scale.exp()
        return 0.5 * (error**2 + math.log(2 * math.pi)) + log_scale


# Training


def train(params: TrainParams, data, run):
    channels, height, width = picture_shape(params, data.facts)
    data.tensors((height, width), channels)
    split = data.split(params.validation_fraction, run.seed)
    if not len(split.train) or not len(split.validation):
        raise BadData("There are too few pictures to hold some of them out.")
    size = {name: getattr(params, name) for name in ("latent_dim", "base_channels", "likelihood")}
    model = run.keep("model", VAE(channels, height, width, data.labels, **size).to(run.device))
    average = run.keep("average", copy.deepcopy(model).requires_grad_(False))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=params.weight_decay)
    run.keep("optimizer", optimizer)
    for batch in run.batches(split.train, params.batch_size, params.steps):
        warmup = min(100, params.steps // 10)
        for group in optimizer.param_groups:
            group["lr"] = params.learning_rate * warm_cosine(run.step, run.total, warmup, 0.01)
        beta = params.beta * min(1.0, run.step / max(1, params.kl_warmup_steps))
        reconstruction = kl = 0.0
        for (pictures, labels), share in run.parts(batch):
            x = augmented(pictures, params.augment)
            noise = torch.randn(len(x), params.latent_dim, device=x.device)
            pixel_loss, kls = model.loss_parts(x, some_hidden(labels, model, x), noise)
            kls = kls.mean(0)  # (Z,)
            loss = pixel_loss.mean() + beta * kls.clamp(min=params.free_bits).sum()
            # nats a pixel: gradients of one size, whatever the size of the pictures
            (share * loss / x[0].numel()).backward()
            reconstruction += share * pixel_loss.detach().mean()
            kl += share * kls.detach().sum()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        decay = min(params.ema_decay, (1 + run.step) / (10 + run.step))
        for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(weight.detach(), 1 - decay)
        metrics = {"loss": reconstruction + beta * kl, "reconstruction": reconstruction, "kl": kl}
        if run.step % params.validate_every == 0 or run.step == run.total:
            measured = yield from validate(average, split.validation, params, run)
            run.offer(average, measured["validation_loss"])
            metrics |= measured
        yield metrics


def no_label(model, x):
    return torch.full((len(x),), len(model.config["labels"]), device=x.device)


def some_hidden(labels, model, x):
    """One label in ten is hidden, so that the model also knows pictures whose class nobody tells it."""
    if labels is None:
        return no_label(model, x)
    return torch.where(torch.rand(len(x), device=x.device) < 0.1, no_label(model, x), labels)


@torch.no_grad()
def validate(model, part, params, run):
    """The held-out loss with the full beta; a generator of its own draws the same noise each time."""
    generator = torch.Generator().manual_seed(run.seed)
    pixel_sum, kl_sum = 0.0, torch.zeros(params.latent_dim, device=run.device)
    for pictures, labels in part.in_order(256):
        noise = torch.randn(len(pictures), params.latent_dim, generator=generator)
        x = pictures.to(run.device)
        known = no_label(model, x) if labels is None else labels.to(run.device)
        pixel_loss, kls = model.loss_parts(x, known, noise.to(run.device))
        pixel_sum, kl_sum = pixel_sum + pixel_loss.sum(), kl_sum + kls.sum(0)
        yield None
    pixel_loss, kls = pixel_sum / len(part), kl_sum / len(part)
    return {
        "validation_loss": pixel_loss + params.beta * kls.sum(),
        "validation_elbo": -pixel_loss - kls.sum(),
        "active_units": (kls > 0.01).sum(),
    }


# Generating


INPUTS = {"sample": (), "reconstruct": ("image_a",), "interpolate": ("image_a", "image_b")}


def Sampler(model: VAE, params: GenerateParams) -> PictureSampler:
    return PictureSampler(model, params, code, paint, lambda params: INPUTS[params.mode])


def code(model, item, pictures):  # -> (1, Z), label (1,)
    device = model.log_scale.device
    label = chosen_label(item, model.config["labels"]).to(device)
    codes = [model.encode(x.to(device), label) for x in pictures.values()]
    noise = item.params.temperature * normals(item.seed, (1, model.config["latent_dim"]))
    return code_of(item, codes, noise.to(device)), label


def paint(model, z, labels):  # -> (B, C, H, W) in 0..1
    return model.decode(z, labels).sigmoid()


def code_of(item, codes, noise):  # -> (1, Z)
    if not codes:
        return noise
    mean, logvar = codes[0]
    if item.params.mode == "interpolate":
        share = item.index / (item.count - 1) if item.count > 1 else 0.5
        return blend(mean, codes[1][0], share)
    # the first output is the reconstruction itself, the others are its neighbours
    return mean + (logvar / 2).exp() * noise if item.index else mean


# On disk: the layout of huggingface_hub's PyTorchModelHubMixin

USE = """\
label = torch.tensor([0])  # a place in "labels" of config.json; one past the last means unknown
picture = model.decode(torch.randn(1, {latent_dim}), label).sigmoid()  # (1, {channels}, {height}, {width})"""


def save(model: VAE, folder: Path) -> None:
    save_folder(model, folder, title="A variational autoencoder", use=USE)


def load(folder: Path, device) -> VAE:
    return load_folder(VAE, folder, device)


def describe(model: VAE) -> dict[str, Any]:
    facts = {name: value for name, value in model.config.items() if name != "likelihood"}
    facts["classes"] = len(facts["labels"])
    facts["parameters"] = sum(weight.numel() for weight in model.parameters())
    label = {"enum": ["", *facts["labels"]]} if facts["labels"] else None
    return {"schema": {"class_label": label}, "facts": facts}


# Multiplications and additions of one forward pass: levels cost about the same down to the third
FORWARD = "18 * {0} * {1} * base_channels ** 2 * (4 + 8 * min(2, log2(max({0}, {1}) / 4)))"

FAMILY = Family(
    name="vae",
    version=2,
    title="Variational autoencoder",
    summary="Learns a compact code for small pictures: draws new ones by class, rebuilds and blends.",
    modality="image",
    dataset_kind="images",
    train=TrainParams,
    generate=GenerateParams,
    train_example={"latent_dim": 10, "steps": 1200},
    generate_example={"mode": "sample", "count": 8},
    train_presets=paces({"latent_dim": 10, "steps": 1200}, {"steps": 6000}),
    accepts=(("items >= 10", "At least 10 pictures are needed."),),
    train_rules=(
        *SIZE_RULES,
        ("base_channels % 8 == 0", "base_channels", "must be a multiple of 8"),
    ),
    generate_rules=(
        ("mode == 'sample' or len(image_a) > 0", "image_a", "is needed for this mode"),
        ("mode != 'interpolate' or len(image_b) > 0", "image_b", "is needed for this mode"),
    ),
    train_cost={
        "flops": "3 * steps * batch_size * " + FORWARD.format(*SIDES),
        "bytes": "2 ** 26 + 30000 * base_channels ** 2"
        " + 240 * batch_size * base_channels * {} * {}".format(*SIDES),
    },
    generate_cost={
        "flops": "count * (0.5 if mode == 'sample' else 1.5) * "
        + FORWARD.format("height", "width"),
        "bytes": "2 ** 26 + 4 * parameters + 200 * base_channels * height * width",
    },
    previews=({"mode": "sample", "count": 8},),
)
