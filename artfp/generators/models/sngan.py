"""SNGAN: the discriminator's weights at spectral norm 1, hinge loss; residual networks or plain."""

from __future__ import annotations

from collections.abc import Callable
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
from artfp.nn.adversarial_losses import hinge_critic, hinge_generator
from artfp.nn.random_draws import Draws

_GAIN = 2.0**0.5
"""Of the convolutions on a residual branch, which are rectified."""


@dataclass(frozen=True)
class SNGANConfig(Config):
    """`width` is the generator's channels, `critic` the discriminator's, at all sides up to 32.

    At 64 and 128 pixels they are those beside the image; each halving of the side doubles them, up
    to `most`. `turns` is the discriminator's turns a step. Networks that are not `residual` are the
    paper's plain ones (table 3), whose channels double with each halving at all resolutions.
    """

    steps: int = 100_000
    width: int = 256
    critic: int = 128
    most: int = 1024
    latent: int = 128
    turns: int = 5
    residual: bool = True
    rate: float = 2e-4
    betas: tuple[float, float] = (0.0, 0.9)


def widths(resolution: int, width: int, most: int, residual: bool = True) -> list[int]:
    """Channels at the sides 4, 8, ..., `resolution`."""
    doublings = resolution.bit_length() - 3
    if residual and resolution <= 32:
        return [width] * (doublings + 1)
    return [min(most, width * 2**back) for back in range(doublings, -1, -1)]


def plain(inputs: int, outputs: int, side: int, gain: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps the size, with Xavier's uniform weights."""
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class UpBlock(nn.Module):
    """A residual block that doubles the side: (N, inputs, H, W) to (N, outputs, 2H, 2W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)])
        self.convs = nn.ModuleList(
            [plain(inputs, outputs, 3, _GAIN), plain(outputs, outputs, 3, _GAIN)]
        )
        self.shortcut = plain(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge by nearest neighbours."""
        h = self.convs[0](F.interpolate(F.relu(self.norms[0](x)), scale_factor=2.0))
        h = self.convs[1](F.relu(self.norms[1](h)))
        # A convolution of one pixel and the enlargement commute: this order is four times cheaper.
        wide: Tensor = h + F.interpolate(self.shortcut(x), scale_factor=2.0)
        return wide


class DownBlock(nn.Module):
    """A residual block under spectral norm: (N, inputs, H, W) to (N, outputs, H, W).

    Args: `halve`, whether the sides are halved; `first`, whether the input is an image, which is
    not rectified.
    """

    def __init__(self, inputs: int, outputs: int, halve: bool = True, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        between = outputs if first or halve else inputs
        self.convs = nn.ModuleList(
            [
                spectral_norm(plain(inputs, between, 3, _GAIN)),
                spectral_norm(plain(between, outputs, 3, _GAIN)),
            ]
        )
        direct = inputs == outputs and not halve
        self.shortcut = None if direct else spectral_norm(plain(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Halve by averages."""
        h = x if self.first else F.relu(x)
        h = self.convs[1](F.relu(self.convs[0](h)))
        if self.halve:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        narrow: Tensor = h + (x if self.shortcut is None else self.shortcut(x))
        return narrow


def plain_up(inputs: int, outputs: int) -> nn.Sequential:
    """Double the side: (N, inputs, H, W) to (N, outputs, 2H, 2W)."""
    enlarge = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    nn.init.xavier_uniform_(enlarge.weight, _GAIN)
    nn.init.zeros_(enlarge.bias)  # type: ignore[arg-type]
    return nn.Sequential(enlarge, nn.BatchNorm2d(outputs), nn.ReLU())


def plain_down(channels: list[int]) -> nn.Sequential:
    """The plain discriminator before its last layer, for the channels at each side, falling.

    Images (N, 3, R, R) to (N, channels[-1] * 16): a convolution at each side, then one that halves
    it, all under spectral norm.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([3, *channels]):
        if inputs != 3:
            halve = nn.Conv2d(inputs, inputs, 4, stride=2, padding=1)
            nn.init.xavier_uniform_(halve.weight, _GAIN)
            nn.init.zeros_(halve.bias)  # type: ignore[arg-type]
            layers += [spectral_norm(halve), nn.LeakyReLU(0.1)]
        layers += [spectral_norm(plain(inputs, outputs, 3, _GAIN)), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.Flatten())


class SNGANGenerator(Generator):
    """Latent vectors to 4 x 4 pixels, then blocks up to the resolution."""

    config: SNGANConfig

    def __init__(self, resolution: int, config: SNGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        channels = widths(resolution, config.width, config.most, config.residual)
        self.first = nn.Linear(config.latent, 16 * channels[0])
        nn.init.xavier_uniform_(self.first.weight)
        nn.init.zeros_(self.first.bias)
        block: Callable[[int, int], nn.Module] = UpBlock if config.residual else plain_up
        self.blocks = nn.Sequential(*(block(*pair) for pair in pairwise(channels)))
        self.norm = nn.BatchNorm2d(channels[-1]) if config.residual else nn.Identity()
        self.last = plain(channels[-1], 3, 3)

    def forward(self, z: Tensor) -> Tensor:
        """Latents (N, latent) to images (N, 3, R, R) in [-1, 1]."""
        h = self.blocks(self.first(z).unflatten(1, (-1, 4, 4)))
        return torch.tanh(self.last(F.relu(self.norm(h))))

    def _sample(self, draws: Draws, labels: Tensor | None) -> Tensor:
        return self(draws.normal(self.config.latent))


class SNGANDiscriminator(nn.Module):
    """Images (N, 3, R, R) in [-1, 1] to a score (N,), higher for real ones."""

    def __init__(self, resolution: int, config: SNGANConfig) -> None:
        super().__init__()
        self.residual = config.residual
        blocks: list[nn.Module]
        if not config.residual:
            at = widths(resolution, config.critic, config.most, residual=False)[::-1]
            channels, blocks = 16 * at[-1], [plain_down(at)]
        elif resolution <= 32:  # two halvings, then two blocks that keep the size
            channels = config.critic
            blocks = [DownBlock(3, channels, first=True), DownBlock(channels, channels)]
            blocks += [DownBlock(channels, channels, halve=False) for _ in range(2)]
        else:  # halvings down to 4 x 4, then one block that keeps the size
            *steps, channels = reversed(widths(resolution, config.critic, config.most))
            blocks = [DownBlock(3, steps[0], first=True)]
            blocks += [DownBlock(*pair) for pair in pairwise(steps)]
            blocks += [DownBlock(steps[-1], channels, halve=False)]
        self.blocks = nn.Sequential(*blocks)
        last = nn.Linear(channels, 1)
        nn.init.xavier_uniform_(last.weight)
        self.last = spectral_norm(last)

    def forward(self, y: Tensor) -> Tensor:
        """Scores (N,): residual networks sum over all pixels before the last layer."""
        h = self.blocks(y)
        score: Tensor = self.last(F.relu(h).sum(dim=(2, 3)) if self.residual else h)
        return score.flatten()


class SNGAN(GenerativeModel):
    """Two players; the discriminator has `turns` of them a step."""

    name = "sngan"
    source = "Miyato, Kataoka, Koyama, Yoshida, ICLR 2018, arXiv 1802.05957"
    departures = (
        "nearest neighbours where the residual generator enlarges; no labels; small has the plain "
        "networks of the paper's table 3 and its optimiser C, is narrower, with one turn of the "
        "discriminator a step and averaged weights"
    )
    resolutions = (16, 32, 64, 128)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": SNGANConfig(),
        "small": SNGANConfig(
            steps=2000,
            average=0.995,
            width=32,
            critic=32,
            most=512,
            turns=1,
            residual=False,
            betas=(0.5, 0.999),
        ),
    }
    generator_type = SNGANGenerator
    generator: SNGANGenerator

    def __init__(self, resolution: int, config: SNGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = SNGANDiscriminator(resolution, config)

    @classmethod
    def configure(cls, size: str, resolution: int) -> Config:
        """Above 32 px residual networks are fewer channels wide beside the image."""
        config = cls.sizes[size]
        assert isinstance(config, SNGANConfig)
        if resolution <= 32 or not config.residual:
            return config
        return replace(config, width=64, critic=64)

    def players(self) -> list[Player]:
        """The discriminator, then the generator."""
        rate, betas, turns = self.config.rate, self.config.betas, self.config.turns
        return [
            Player(
                "discriminator", (self.discriminator,), self._tell_apart, rate, betas, repeats=turns
            ),
            Player("generator", (self.generator,), self._deceive, rate, betas),
        ]

    def _tell_apart(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        with torch.no_grad():
            made = self.generator(draws.normal(self.config.latent))
        # In one pass: the power iteration is for both.
        scores = self.discriminator(torch.cat([to_signed(batch.x), made]))
        real, fake = scores.chunk(2)
        return hinge_critic(real, fake), {"real": real.mean(), "fake": fake.mean()}

    def _deceive(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        made = self.generator(draws.normal(self.config.latent))
        return hinge_generator(self.discriminator(made)), {}
