"""SNGAN: a discriminator under spectral norm, with the hinge loss; residual or plain networks."""

from __future__ import annotations

from collections.abc import Callable
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
from artfp.generators.trained_network import DataBatch, Loss, TrainingStep
from artfp.nn.adversarial_losses import hinge_discriminator_loss, hinge_generator_loss
from artfp.nn.random_inputs import RandomInputs

_GAIN = 2.0**0.5
"""Gain of the convolutions on a residual branch, for the ReLUs between them."""


@dataclass(frozen=True)
class SNGANConfig(AdversarialConfig):
    """Numbers of SNGAN."""

    steps: int = 100_000
    # Channels of the generator: at all sides up to 32 pixels; for 64 and 128 pixels at the full
    # resolution, and each halving of the side doubles them.
    width: int = 256
    discriminator_width: int = 128  # the same of the discriminator
    max_width: int = 1024  # most channels of either
    latent_dim: int = 128  # length of the latent vector
    discriminator_steps: int = 5
    # True for residual networks, False for the paper's plain ones (table 3), whose channels double
    # with each halving at all resolutions.
    residual: bool = True
    lr: float = 2e-4
    betas: tuple[float, float] = (0.0, 0.9)


def sngan_widths(resolution: int, width: int, most: int, residual: bool = True) -> list[int]:
    """Return the channels at the sides 4, 8, ..., `resolution`."""
    doublings = resolution.bit_length() - 3
    if residual and resolution <= 32:
        return [width] * (doublings + 1)
    return [min(most, width * 2**back) for back in range(doublings, -1, -1)]


def xavier_conv(inputs: int, outputs: int, side: int, gain: float = 1.0) -> nn.Conv2d:
    """Make a convolution that keeps the size, with Xavier's uniform weights."""
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class SNGANUpBlock(nn.Module):
    """Residual block that doubles the side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)])
        self.convs = nn.ModuleList(
            [xavier_conv(inputs, outputs, 3, _GAIN), xavier_conv(outputs, outputs, 3, _GAIN)]
        )
        self.shortcut = xavier_conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, 2H, 2W), enlarged by nearest neighbours."""
        h = self.convs[0](F.interpolate(F.relu(self.norms[0](x)), scale_factor=2.0))
        h = self.convs[1](F.relu(self.norms[1](h)))
        # A 1 x 1 convolution and the enlargement commute: this order is four times cheaper.
        wide: Tensor = h + F.interpolate(self.shortcut(x), scale_factor=2.0)
        return wide


class SNGANDownBlock(nn.Module):
    """Residual block under spectral norm.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        halve: True to halve the sides.
        first: True if the input is an image, which no ReLU precedes.
    """

    def __init__(self, inputs: int, outputs: int, halve: bool = True, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        between = outputs if first or halve else inputs
        self.convs = nn.ModuleList(
            [
                spectral_norm(xavier_conv(inputs, between, 3, _GAIN)),
                spectral_norm(xavier_conv(between, outputs, 3, _GAIN)),
            ]
        )
        direct = inputs == outputs and not halve
        self.shortcut = None if direct else spectral_norm(xavier_conv(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W) or half the side, by average pooling."""
        h = x if self.first else F.relu(x)
        h = self.convs[1](F.relu(self.convs[0](h)))
        if self.halve:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        narrow: Tensor = h + (x if self.shortcut is None else self.shortcut(x))
        return narrow


def plain_up(inputs: int, outputs: int) -> nn.Sequential:
    """Make a plain block that doubles the side: (N, inputs, H, W) to (N, outputs, 2H, 2W)."""
    enlarge = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    nn.init.xavier_uniform_(enlarge.weight, _GAIN)
    nn.init.zeros_(enlarge.bias)  # type: ignore[arg-type]
    return nn.Sequential(enlarge, nn.BatchNorm2d(outputs), nn.ReLU())


def plain_down(channels: list[int]) -> nn.Sequential:
    """Make the plain discriminator but for its last layer, for the channels at each side, falling.

    It maps images (N, 3, R, R) to (N, channels[-1] * 16): a convolution at each side, then one that
    halves it, all under spectral norm.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([3, *channels]):
        if inputs != 3:
            halve = nn.Conv2d(inputs, inputs, 4, stride=2, padding=1)
            nn.init.xavier_uniform_(halve.weight, _GAIN)
            nn.init.zeros_(halve.bias)  # type: ignore[arg-type]
            layers += [spectral_norm(halve), nn.LeakyReLU(0.1)]
        layers += [spectral_norm(xavier_conv(inputs, outputs, 3, _GAIN)), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.Flatten())


class SNGANGenerator(Generator):
    """Blocks from latent vectors, by way of 4 x 4 pixels, up to the resolution."""

    config: SNGANConfig

    def __init__(self, resolution: int, config: SNGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        channels = sngan_widths(resolution, config.width, config.max_width, config.residual)
        self.first = nn.Linear(config.latent_dim, 16 * channels[0])
        nn.init.xavier_uniform_(self.first.weight)
        nn.init.zeros_(self.first.bias)
        block: Callable[[int, int], nn.Module] = SNGANUpBlock if config.residual else plain_up
        self.blocks = nn.Sequential(*(block(*pair) for pair in pairwise(channels)))
        self.norm = nn.BatchNorm2d(channels[-1]) if config.residual else nn.Identity()
        self.last = xavier_conv(channels[-1], 3, 3)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent) to images (N, 3, R, R) in [-1, 1]."""
        h = self.blocks(self.first(z).unflatten(1, (-1, 4, 4)))
        return torch.tanh(self.last(F.relu(self.norm(h))))

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        return self.forward(rng.normal(self.config.latent_dim))


class SNGANDiscriminator(nn.Module):
    """Discriminator under spectral norm; if residual, it sums over pixels before the last layer."""

    def __init__(self, resolution: int, config: SNGANConfig) -> None:
        super().__init__()
        self.residual = config.residual
        blocks: list[nn.Module]
        if not config.residual:
            width, most = config.discriminator_width, config.max_width
            falling = sngan_widths(resolution, width, most, residual=False)[::-1]
            channels, blocks = 16 * falling[-1], [plain_down(falling)]
        elif resolution <= 32:  # two halvings, then two blocks that keep the size
            channels = config.discriminator_width
            blocks = [SNGANDownBlock(3, channels, first=True), SNGANDownBlock(channels, channels)]
            blocks += [SNGANDownBlock(channels, channels, halve=False) for _ in range(2)]
        else:  # halvings down to 4 x 4, then one block that keeps the size
            *steps, channels = reversed(
                sngan_widths(resolution, config.discriminator_width, config.max_width)
            )
            blocks = [SNGANDownBlock(3, steps[0], first=True)]
            blocks += [SNGANDownBlock(*pair) for pair in pairwise(steps)]
            blocks += [SNGANDownBlock(steps[-1], channels, halve=False)]
        self.blocks = nn.Sequential(*blocks)
        last = nn.Linear(channels, 1)
        nn.init.xavier_uniform_(last.weight)
        self.last = spectral_norm(last)

    def forward(self, y: Tensor) -> Tensor:
        """Map images (N, 3, R, R) in [-1, 1] to scores (N,), higher for real ones."""
        h = self.blocks(y)
        score: Tensor = self.last(F.relu(h).sum(dim=(2, 3)) if self.residual else h)
        return score.flatten()


class SNGAN(AdversarialModel):
    """SNGAN, unconditional."""

    name = "sngan"
    reference = "Miyato, Kataoka, Koyama, Yoshida, ICLR 2018, arXiv 1802.05957"
    departures = (
        "nearest neighbours where the residual generator enlarges; no labels; small has the plain "
        "networks of the paper's table 3 and its optimiser C, is narrower, with one "
        "discriminator update a step and averaged weights"
    )
    resolutions = (16, 32, 64, 128)
    paper = SNGANConfig()
    small = SNGANConfig(
        steps=2000,
        ema_decay=0.995,
        width=32,
        discriminator_width=32,
        max_width=512,
        discriminator_steps=1,
        residual=False,
        betas=(0.5, 0.999),
    )
    generator_type = SNGANGenerator
    generator: SNGANGenerator
    discriminator: SNGANDiscriminator

    def __init__(self, resolution: int, config: SNGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = SNGANDiscriminator(resolution, config)

    @classmethod
    def configure(cls, size: str, resolution: int) -> ModelConfig:
        """Return the configuration of a size; residual networks are narrower above 32 px."""
        config = super().configure(size, resolution)
        assert isinstance(config, SNGANConfig)
        if resolution <= 32 or not config.residual:
            return config
        return replace(config, width=64, discriminator_width=64)

    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the hinge loss."""
        with torch.no_grad():
            generated = self.generator(rng.normal(self.config.latent_dim))
        # In one pass, so that one power iteration of the spectral norm serves both.
        scores = self.discriminator(torch.cat([to_signed(batch.x), generated]))
        real, fake = scores.chunk(2)
        return hinge_discriminator_loss(real, fake), {"real": real.mean(), "fake": fake.mean()}

    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the hinge loss."""
        generated = self.generator(rng.normal(self.config.latent_dim))
        return hinge_generator_loss(self.discriminator(generated)), {}
