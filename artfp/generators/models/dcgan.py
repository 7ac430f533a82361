"""DCGAN: transposed convolutions against strided ones, with batch normalisation in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
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
from artfp.nn.adversarial_losses import logistic_critic, logistic_generator
from artfp.nn.random_draws import Draws


@dataclass(frozen=True)
class DCGANConfig(Config):
    """`width` is the channels beside the image; each halving of the side doubles them."""

    batch: int = 128
    width: int = 128
    latent: int = 100
    rate: float = 2e-4
    momentum: float = 0.5


def initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02), scales of batch normalisation from N(1, 0.02), biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


class DCGANGenerator(Generator):
    """Latent vectors to 4 x 4 pixels, then doublings up to the resolution."""

    config: DCGANConfig

    def __init__(self, resolution: int, config: DCGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        channels = config.width * resolution // 8
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(config.latent, channels, 4, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
        while channels > config.width:
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels // 2),
                nn.ReLU(inplace=True),
            ]
            channels //= 2
        layers += [nn.ConvTranspose2d(channels, 3, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        """Latents (N, latent, 1, 1) to images (N, 3, R, R) in [-1, 1]."""
        y: Tensor = self.layers(z)
        return y

    def latents(self, draws: Draws) -> Tensor:
        """Latents (N, latent, 1, 1), uniform in [-1, 1)."""
        return draws.uniform(self.config.latent, 1, 1) * 2.0 - 1.0

    def _sample(self, draws: Draws, labels: Tensor | None) -> Tensor:
        return self(self.latents(draws))


class DCGANDiscriminator(nn.Module):
    """Images (N, 3, R, R) in [-1, 1] to logits (N,) of being real."""

    def __init__(self, resolution: int, config: DCGANConfig) -> None:
        super().__init__()
        channels = config.width
        layers: list[nn.Module] = [
            nn.Conv2d(3, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        while channels < config.width * resolution // 8:
            layers += [
                nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(2 * channels),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            channels *= 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4))
        initialise(self)

    def forward(self, y: Tensor) -> Tensor:
        """Logits (N,)."""
        logits: Tensor = self.layers(y)
        return logits.flatten()


class DCGAN(GenerativeModel):
    """Two players; the losses are those of the first GAN, the generator's not saturating."""

    name = "dcgan"
    source = "Radford, Metz, Chintala, ICLR 2016, arXiv 1511.06434"
    departures = (
        "kernels of 4 pixels; other resolutions than 64 by fewer or more doublings; small is half "
        "as wide, trains on batches of 64 and averages the generator's weights"
    )
    resolutions = (16, 32, 64, 128)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": DCGANConfig(steps=100_000),
        "small": DCGANConfig(batch=64, steps=2000, average=0.995, width=64),
    }
    generator_type = DCGANGenerator
    generator: DCGANGenerator

    def __init__(self, resolution: int, config: DCGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = DCGANDiscriminator(resolution, config)

    def players(self) -> list[Player]:
        """The discriminator, then the generator."""
        rate, betas = self.config.rate, (self.config.momentum, 0.999)
        return [
            Player("discriminator", (self.discriminator,), self._tell_apart, rate, betas),
            Player("generator", (self.generator,), self._deceive, rate, betas),
        ]

    def _tell_apart(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        with torch.no_grad():
            made = self.generator(self.generator.latents(draws))
        # Not in one batch: the statistics of either are to be its own.
        real, fake = self.discriminator(to_signed(batch.x)), self.discriminator(made)
        return logistic_critic(real, fake), {"real": real.mean(), "fake": fake.mean()}

    def _deceive(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        made = self.generator(self.generator.latents(draws))
        return logistic_generator(self.discriminator(made)), {}
