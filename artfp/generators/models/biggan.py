"""BigGAN: SNGAN's networks made wider, with classes, a latent for each block and attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.generators.base import (
    AdversarialConfig,
    AdversarialModel,
    Generator,
    ModelConfig,
    to_signed,
)
from artfp.generators.models.layers import spectral_norm
from artfp.generators.models.sngan import sngan_widths
from artfp.generators.trained_network import DataBatch, Loss, TrainedNetwork, TrainingStep
from artfp.nn.adversarial_losses import hinge_discriminator_loss, hinge_generator_loss
from artfp.nn.random_inputs import RandomInputs


@dataclass(frozen=True)
class BigGANConfig(AdversarialConfig):
    """Numbers of BigGAN."""

    batch_size: int = 2048
    steps: int = 150_000
    ema_decay: float = 0.9999
    # Channels of the generator: at all sides up to 32 pixels; for 64 and 128 pixels at the full
    # resolution, and each halving of the side doubles them, up to 16 times.
    width: int = 256
    discriminator_width: int = 256  # the same of the discriminator
    chunk_dim: int = 20  # length of the part of the latent vector that each block gets
    embedding_dim: int = 128  # length of the vector that stands for a class
    discriminator_steps: int = 2
    lr: float = 5e-5
    discriminator_lr: float = 2e-4  # learning rate of the discriminator
    betas: tuple[float, float] = (0.0, 0.999)
    # Weight of the orthogonal regularisation of the generator's filters.
    orthogonal_weight: float = 1e-4


def orthogonal_conv(inputs: int, outputs: int, side: int, bias: bool = True) -> nn.Conv2d:
    """Make a convolution that keeps the size, with orthogonal weights under spectral norm."""
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=bias)
    nn.init.orthogonal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return spectral_norm(layer)


def orthogonal_linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Make a linear layer with orthogonal weights under spectral norm."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.orthogonal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return spectral_norm(layer)


def orthogonal_penalty(module: nn.Module) -> Tensor:
    """Sum the squared inner products of different filters over all layers under spectral norm.

    A filter is all weights of one output, before spectral norm (equation 3 with beta 1).
    """
    total = torch.zeros((), device=next(module.parameters()).device)
    for name, weight in module.named_parameters():
        if name.endswith("weight.original"):
            filters = weight.flatten(1)
            products = filters @ filters.T
            total = total + products.square().sum() - products.diagonal().square().sum()
    return total


class ConditionalNorm(nn.Module):
    """Batch normalisation whose gain and bias are linear in each image's condition."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=1e-4, affine=False)
        self.gain = orthogonal_linear(condition, channels, bias=False)
        self.bias = orthogonal_linear(condition, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalise (N, channels, H, W) under conditions (N, condition); the shape stays."""
        gain, bias = 1.0 + self.gain(condition), self.bias(condition)
        return torch.addcmul(bias[:, :, None, None], self.norm(x), gain[:, :, None, None])


class Attention(nn.Module):
    """Self-attention between pixels (SAGAN, section 3).

    Keys and values are max-pooled to half the side. `gamma`, the factor on the result, begins at 0.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        key_dim, value_dim = max(1, channels // 8), max(1, channels // 2)
        self.query = orthogonal_conv(channels, key_dim, 1, bias=False)
        self.key = orthogonal_conv(channels, key_dim, 1, bias=False)
        self.value = orthogonal_conv(channels, value_dim, 1, bias=False)
        self.last = orthogonal_conv(value_dim, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Add to each pixel of (N, channels, H, W) what it attends to."""
        query = self.query(x).flatten(2).mT
        key = F.max_pool2d(self.key(x), 2).flatten(2).mT
        value = F.max_pool2d(self.value(x), 2).flatten(2).mT
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)  # (N, H * W, dim)
        y: Tensor = x + self.gamma * self.last(attended.mT.unflatten(2, x.shape[2:]))
        return y


class ConditionalUpBlock(nn.Module):
    """Residual block that doubles the side, under a condition (figure 15b)."""

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            [ConditionalNorm(inputs, condition), ConditionalNorm(outputs, condition)]
        )
        self.convs = nn.ModuleList(
            [orthogonal_conv(inputs, outputs, 3), orthogonal_conv(outputs, outputs, 3)]
        )
        self.shortcut = orthogonal_conv(inputs, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, 2H, 2W), enlarged by nearest neighbours."""
        h = F.interpolate(F.relu(self.norms[0](x, condition)), scale_factor=2.0)
        h = F.relu(self.norms[1](self.convs[0](h), condition))
        # A 1 x 1 convolution and the enlargement commute: this order is four times cheaper.
        wide: Tensor = self.convs[1](h) + F.interpolate(self.shortcut(x), scale_factor=2.0)
        return wide


class BigGANDownBlock(nn.Module):
    """Residual block that may halve the side (figure 15c); `first`: the input is an image."""

    def __init__(self, inputs: int, outputs: int, halve: bool = True, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.convs = nn.ModuleList(
            [orthogonal_conv(inputs, outputs, 3), orthogonal_conv(outputs, outputs, 3)]
        )
        self.shortcut = orthogonal_conv(inputs, outputs, 1) if halve or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W) or half the side, by average pooling."""
        h = self.convs[1](F.relu(self.convs[0](x if self.first else F.relu(x))))
        if self.halve:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        narrow: Tensor = h + (x if self.shortcut is None else self.shortcut(x))
        return narrow


class BigGANGenerator(Generator):
    """Residual blocks from latent vectors and classes up to the resolution.

    The latent vector is split into chunks: the first makes the 4 x 4 pixels, each other one goes
    with the class into the normalisations of a block.
    """

    config: BigGANConfig

    def __init__(self, resolution: int, config: BigGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        channels = sngan_widths(resolution, config.width, 16 * config.width)
        self.latent_dim = config.chunk_dim * len(channels)
        self.embedding = nn.Embedding(classes, config.embedding_dim)
        nn.init.orthogonal_(self.embedding.weight)
        self.first = orthogonal_linear(config.chunk_dim, 16 * channels[0])
        condition = config.embedding_dim + config.chunk_dim
        self.blocks = nn.ModuleList(
            [ConditionalUpBlock(*pair, condition) for pair in pairwise(channels)]
        )
        self.attention = Attention(channels[-2])
        self.norm = nn.BatchNorm2d(channels[-1], eps=1e-4)
        self.last = orthogonal_conv(channels[-1], 3, 3)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Map latents (N, latent) and classes (N,) int64 to images (N, 3, R, R) in [-1, 1]."""
        first, *rest = z.split(self.config.chunk_dim, dim=1)
        embedded = self.embedding(labels)
        h = self.first(first).unflatten(1, (-1, 4, 4))
        for number, (block, chunk) in enumerate(zip(self.blocks, rest, strict=True)):
            if number == len(rest) - 1:
                h = self.attention(h)
            h = block(h, torch.cat([embedded, chunk], dim=1))
        return torch.tanh(self.last(F.relu(self.norm(h))))

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return self.forward(rng.normal(self.latent_dim), labels)


class BigGANDiscriminator(nn.Module):
    """Projection discriminator of images and their classes."""

    def __init__(self, resolution: int, config: BigGANConfig, classes: int) -> None:
        super().__init__()
        if resolution <= 32:  # two halvings, then two blocks that keep the size
            channels = config.discriminator_width
            halving, keeping = [3, channels, channels], [channels, channels]
        else:  # halvings down to 4 x 4, then one block that keeps the size
            width = config.discriminator_width
            *rest, channels = reversed(sngan_widths(resolution, width, 16 * width))
            halving, keeping = [3, *rest], [channels]
        blocks: list[nn.Module] = []
        for inputs, outputs in pairwise(halving):
            blocks.append(BigGANDownBlock(inputs, outputs, first=not blocks))
            if len(blocks) == 1:
                blocks.append(Attention(outputs))
        for outputs in keeping:
            blocks.append(BigGANDownBlock(halving[-1], outputs, halve=False))
        self.blocks = nn.Sequential(*blocks)
        self.last = orthogonal_linear(channels, 1)
        embedding = nn.Embedding(classes, channels)
        nn.init.orthogonal_(embedding.weight)
        self.embedding = spectral_norm(embedding)

    def forward(self, y: Tensor, labels: Tensor) -> Tensor:
        """Map images (N, 3, R, R) in [-1, 1] and classes (N,) to scores (N,), high for real."""
        features = F.relu(self.blocks(y)).sum(dim=(2, 3))
        projection = (self.embedding(labels) * features).sum(dim=1)
        score: Tensor = self.last(features).flatten() + projection
        return score


class BigGAN(AdversarialModel):
    """BigGAN, class-conditional."""

    name = "biggan"
    reference = "Brock, Donahue, Simonyan, ICLR 2019, arXiv 1809.11096"
    departures = (
        "attention at half the resolution (the paper's 64 for 128 pixels); other resolutions than "
        "128 by fewer blocks, up to 32 pixels as wide as SNGAN; the penalty as in equation 3, on "
        "the weights before spectral norm; moving averages instead of standing statistics, no "
        "truncation; small is narrower, with batches of 64, one discriminator update a step "
        "and one learning rate"
    )
    resolutions = (16, 32, 64, 128)
    paper = BigGANConfig()
    small = BigGANConfig(
        batch_size=64,
        steps=1600,
        ema_decay=0.995,
        width=32,
        discriminator_width=24,
        embedding_dim=32,
        discriminator_steps=1,
        lr=2e-4,
    )
    generator_type = BigGANGenerator
    labelled = True
    generator: BigGANGenerator
    discriminator: BigGANDiscriminator

    def __init__(self, resolution: int, config: BigGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = BigGANDiscriminator(resolution, config, classes)

    @classmethod
    def configure(cls, size: str, resolution: int) -> ModelConfig:
        """Return the configuration of a size, narrower at the full resolution above 32 px."""
        config = super().configure(size, resolution)
        assert isinstance(config, BigGANConfig)
        if resolution <= 32:
            return config
        width = 96 if size == "paper" else 16
        return replace(config, width=width, discriminator_width=width)

    def trained_networks(self) -> list[TrainedNetwork]:
        """Return the discriminator, with a learning rate of its own, then the generator."""
        discriminator, generator = super().trained_networks()
        return [replace(discriminator, lr=self.config.discriminator_lr), generator]

    def _generate(self, rng: RandomInputs) -> tuple[Tensor, Tensor]:
        """Generate images of random classes; return them and the classes."""
        labels = rng.integers(self.classes)
        return self.generator(rng.normal(self.generator.latent_dim), labels), labels

    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the hinge loss."""
        assert batch.labels is not None
        with torch.no_grad():
            generated, labels = self._generate(rng)
        # In one pass, so that one power iteration of the spectral norm serves both.
        scores = self.discriminator(
            torch.cat([to_signed(batch.x), generated]), torch.cat([batch.labels, labels])
        )
        real, fake = scores.chunk(2)
        return hinge_discriminator_loss(real, fake), {"real": real.mean(), "fake": fake.mean()}

    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the hinge loss, with the orthogonal regularisation."""
        generated, labels = self._generate(rng)
        adversarial = hinge_generator_loss(self.discriminator(generated, labels))
        if not self.config.orthogonal_weight:
            return adversarial, {}
        penalty = orthogonal_penalty(self.generator)
        return adversarial + self.config.orthogonal_weight * penalty, {
            "orthogonal_penalty": penalty
        }
