"""BigGAN: SNGAN's networks made wider, with classes, a latent for each block and attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.generators.base import (
    Batch,
    Config,
    Figures,
    GenerativeModel,
    Generator,
    Moment,
    Player,
    to_signed,
)
from artfp.generators.models.layers import spectral_norm
from artfp.generators.models.sngan import widths
from artfp.nn.adversarial_losses import hinge_critic, hinge_generator
from artfp.nn.random_draws import Draws


@dataclass(frozen=True)
class BigGANConfig(Config):
    """`width` is the generator's channels, `critic` the discriminator's, at all sides up to 32.

    At 64 and 128 pixels they are those beside the image; each halving of the side doubles them, up
    to 16 times. `chunk` is the part of the latent vector that each block gets, `embedding` the
    numbers that stand for a class, `orthogonality` the weight of the penalty on the generator's
    filters, `turns` the discriminator's a step.
    """

    batch: int = 2048
    steps: int = 150_000
    average: float = 0.9999
    width: int = 256
    critic: int = 256
    chunk: int = 20
    embedding: int = 128
    turns: int = 2
    rate: float = 5e-5
    critic_rate: float = 2e-4
    betas: tuple[float, float] = (0.0, 0.999)
    orthogonality: float = 1e-4


def conv(inputs: int, outputs: int, side: int, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size, with orthogonal weights under spectral norm."""
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=bias)
    nn.init.orthogonal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return spectral_norm(layer)


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A linear layer of the same kind."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.orthogonal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return spectral_norm(layer)


def orthogonality(module: nn.Module) -> Tensor:
    """Squared inner products of different filters, summed over all layers under spectral norm.

    A filter is all weights of one output, before their division (equation 3 with beta 1).
    """
    total = torch.zeros((), device=next(module.parameters()).device)
    for name, weight in module.named_parameters():
        if name.endswith("weight.original"):
            filters = weight.flatten(1)
            products = filters @ filters.T
            total = total + products.square().sum() - products.diagonal().square().sum()
    return total


class ConditionalNorm(nn.Module):
    """Batch normalisation whose gain and bias are linear in each image's condition.

    (N, channels, H, W) with (N, condition) to the first shape; gains are around 1, biases around 0.
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=1e-4, affine=False)
        self.gain = linear(condition, channels, bias=False)
        self.bias = linear(condition, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalise, then scale and shift."""
        gain, bias = 1.0 + self.gain(condition), self.bias(condition)
        return torch.addcmul(bias[:, :, None, None], self.norm(x), gain[:, :, None, None])


class Attention(nn.Module):
    """Each pixel adds a mean of all others' values, weighted by likeness (SAGAN, section 3).

    Keys and values are halved in both sides by their maximum. `gamma`, the share of what is added,
    begins at 0. Keeps the shape (N, channels, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        short, middle = max(1, channels // 8), max(1, channels // 2)
        self.query = conv(channels, short, 1, bias=False)
        self.key = conv(channels, short, 1, bias=False)
        self.value = conv(channels, middle, 1, bias=False)
        self.last = conv(middle, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        query = self.query(x).flatten(2).mT
        key = F.max_pool2d(self.key(x), 2).flatten(2).mT
        value = F.max_pool2d(self.value(x), 2).flatten(2).mT
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)  # (N, H * W, middle)
        y: Tensor = x + self.gamma * self.last(mixed.mT.unflatten(2, x.shape[2:]))
        return y


class UpBlock(nn.Module):
    """A residual block that doubles the side, under a condition (figure 15b)."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            [ConditionalNorm(inputs, condition), ConditionalNorm(outputs, condition)]
        )
        self.convs = nn.ModuleList([conv(inputs, outputs, 3), conv(outputs, outputs, 3)])
        self.shortcut = conv(inputs, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Enlarge by nearest neighbours."""
        h = F.interpolate(F.relu(self.norms[0](x, condition)), scale_factor=2.0)
        h = F.relu(self.norms[1](self.convs[0](h), condition))
        # A convolution of one pixel and the enlargement commute: this order is four times cheaper.
        wide: Tensor = self.convs[1](h) + F.interpolate(self.shortcut(x), scale_factor=2.0)
        return wide


class DownBlock(nn.Module):
    """A residual block that may halve the side (figure 15c); `first`: the input is an image."""

    def __init__(self, inputs: int, outputs: int, halve: bool = True, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.convs = nn.ModuleList([conv(inputs, outputs, 3), conv(outputs, outputs, 3)])
        self.shortcut = conv(inputs, outputs, 1) if halve or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Halve by averages."""
        h = self.convs[1](F.relu(self.convs[0](x if self.first else F.relu(x))))
        if self.halve:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        narrow: Tensor = h + (x if self.shortcut is None else self.shortcut(x))
        return narrow


class BigGANGenerator(Generator):
    """Latent vectors and classes to 4 x 4 pixels, then residual blocks up to the resolution.

    The latent vector comes in chunks: the first makes the 4 x 4 pixels, each other one goes with
    the class into the normalisations of a block.
    """

    config: BigGANConfig

    def __init__(self, resolution: int, config: BigGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        channels = widths(resolution, config.width, 16 * config.width)
        self.latent = config.chunk * len(channels)
        self.embedding = nn.Embedding(classes, config.embedding)
        nn.init.orthogonal_(self.embedding.weight)
        self.first = linear(config.chunk, 16 * channels[0])
        condition = config.embedding + config.chunk
        self.blocks = nn.ModuleList([UpBlock(*pair, condition) for pair in pairwise(channels)])
        self.attention = Attention(channels[-2])
        self.norm = nn.BatchNorm2d(channels[-1], eps=1e-4)
        self.last = conv(channels[-1], 3, 3)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Latents (N, latent) and classes (N,) int64 to images (N, 3, R, R) in [-1, 1]."""
        first, *rest = z.split(self.config.chunk, dim=1)
        which = self.embedding(labels)
        h = self.first(first).unflatten(1, (-1, 4, 4))
        for number, (block, chunk) in enumerate(zip(self.blocks, rest, strict=True)):
            if number == len(rest) - 1:
                h = self.attention(h)
            h = block(h, torch.cat([which, chunk], dim=1))
        return torch.tanh(self.last(F.relu(self.norm(h))))

    def _sample(self, draws: Draws, labels: Tensor | None) -> Tensor:
        return self(draws.normal(self.latent), labels)


class BigGANDiscriminator(nn.Module):
    """Images (N, 3, R, R) in [-1, 1] and classes (N,) to a score (N,), higher for real ones."""

    def __init__(self, resolution: int, config: BigGANConfig, classes: int) -> None:
        super().__init__()
        if resolution <= 32:  # two halvings, then two blocks that keep the size
            channels = config.critic
            steps, keeping = [3, channels, channels], [channels, channels]
        else:  # halvings down to 4 x 4, then one block that keeps the size
            *rest, channels = reversed(widths(resolution, config.critic, 16 * config.critic))
            steps, keeping = [3, *rest], [channels]
        blocks: list[nn.Module] = []
        for inputs, outputs in pairwise(steps):
            blocks.append(DownBlock(inputs, outputs, first=not blocks))
            if len(blocks) == 1:
                blocks.append(Attention(outputs))
        for outputs in keeping:
            blocks.append(DownBlock(steps[-1], outputs, halve=False))
        self.blocks = nn.Sequential(*blocks)
        self.last = linear(channels, 1)
        embedding = nn.Embedding(classes, channels)
        nn.init.orthogonal_(embedding.weight)
        self.embedding = spectral_norm(embedding)

    def forward(self, y: Tensor, labels: Tensor) -> Tensor:
        """Scores (N,) by projection: whether it is an image, plus whether it is of its class."""
        features = F.relu(self.blocks(y)).sum(dim=(2, 3))
        score: Tensor = self.last(features).flatten()
        return score + (self.embedding(labels) * features).sum(dim=1)


class BigGAN(GenerativeModel):
    """Two players; the discriminator has `turns` of them a step."""

    name = "biggan"
    source = "Brock, Donahue, Simonyan, ICLR 2019, arXiv 1809.11096"
    departures = (
        "attention at half the resolution (the paper's 64 for 128 pixels); other resolutions than "
        "128 by fewer blocks, up to 32 pixels as wide as SNGAN; the penalty as in equation 3, on "
        "the weights before spectral norm; moving averages instead of standing statistics, no "
        "truncation; small is narrower, with batches of 64, one turn of the discriminator a step "
        "and one learning rate"
    )
    resolutions = (16, 32, 64, 128)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": BigGANConfig(),
        "small": BigGANConfig(
            batch=64,
            steps=1600,
            average=0.995,
            width=32,
            critic=24,
            embedding=32,
            turns=1,
            rate=2e-4,
        ),
    }
    generator_type = BigGANGenerator
    labelled = True
    generator: BigGANGenerator

    def __init__(self, resolution: int, config: BigGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = BigGANDiscriminator(resolution, config, classes)

    @classmethod
    def configure(cls, size: str, resolution: int) -> Config:
        """Above 32 px the networks are fewer channels wide beside the image."""
        config = cls.sizes[size]
        assert isinstance(config, BigGANConfig)
        beside = 96 if size == "paper" else 16
        return config if resolution <= 32 else replace(config, width=beside, critic=beside)

    def players(self) -> list[Player]:
        """The discriminator, then the generator."""
        config = self.config
        return [
            Player(
                "discriminator",
                (self.discriminator,),
                self._tell_apart,
                config.critic_rate,
                config.betas,
                repeats=config.turns,
            ),
            Player("generator", (self.generator,), self._deceive, config.rate, config.betas),
        ]

    def _made(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Images of random classes, and the classes."""
        labels = draws.integers(self.classes)
        return self.generator(draws.normal(self.generator.latent), labels), labels

    def _tell_apart(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        assert batch.labels is not None
        with torch.no_grad():
            made, labels = self._made(draws)
        # In one pass: the power iteration is for both.
        scores = self.discriminator(
            torch.cat([to_signed(batch.x), made]), torch.cat([batch.labels, labels])
        )
        real, fake = scores.chunk(2)
        return hinge_critic(real, fake), {"real": real.mean(), "fake": fake.mean()}

    def _deceive(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        made, labels = self._made(draws)
        deceit = hinge_generator(self.discriminator(made, labels))
        if not self.config.orthogonality:
            return deceit, {}
        alike = orthogonality(self.generator)
        return deceit + self.config.orthogonality * alike, {"alike": alike}
