"""DCGAN: transposed against strided convolutions, with batch normalisation in both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from artfp.generators.base import AdversarialConfig, AdversarialModel, Generator, to_signed
from artfp.generators.trained_network import DataBatch, Loss, TrainingStep
from artfp.nn.adversarial_losses import logistic_discriminator_loss, logistic_generator_loss
from artfp.nn.random_inputs import RandomInputs


@dataclass(frozen=True)
class DCGANConfig(AdversarialConfig):
    """Numbers of DCGAN."""

    batch_size: int = 128
    width: int = 128  # channels at the full resolution; each halving of the side doubles them
    latent_dim: int = 100  # length of the latent vector


def initialise_dcgan(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), scales of batch normalisation from N(1, 0.02), biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


class DCGANGenerator(Generator):
    """Transposed convolutions from a latent vector to 4 x 4 pixels and up to the resolution."""

    config: DCGANConfig

    def __init__(self, resolution: int, config: DCGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        channels = config.width * resolution // 8
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(config.latent_dim, channels, 4, bias=False),
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
        initialise_dcgan(self)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent, 1, 1) to images (N, 3, R, R) in [-1, 1]."""
        y: Tensor = self.layers(z)
        return y

    def latents(self, rng: RandomInputs) -> Tensor:
        """Draw latents (N, latent, 1, 1), uniform in [-1, 1)."""
        return rng.uniform(self.config.latent_dim, 1, 1) * 2.0 - 1.0

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        return self.forward(self.latents(rng))


class DCGANDiscriminator(nn.Module):
    """Strided convolutions from images to the logit of being real."""

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
        initialise_dcgan(self)

    def forward(self, y: Tensor) -> Tensor:
        """Map images (N, 3, R, R) in [-1, 1] to logits (N,)."""
        logits: Tensor = self.layers(y)
        return logits.flatten()


class DCGAN(AdversarialModel):
    """DCGAN, with the losses of the first GAN, the generator's non-saturating."""

    name = "dcgan"
    reference = "Radford, Metz, Chintala, ICLR 2016, arXiv 1511.06434"
    departures = (
        "kernels of 4 pixels; other resolutions than 64 by fewer or more doublings; small is half "
        "as wide, trains on batches of 64 and averages the generator's weights"
    )
    resolutions = (16, 32, 64, 128)
    paper = DCGANConfig(steps=100_000)
    small = DCGANConfig(batch_size=64, steps=2000, ema_decay=0.995, width=64)
    generator_type = DCGANGenerator
    generator: DCGANGenerator
    discriminator: DCGANDiscriminator

    def __init__(self, resolution: int, config: DCGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = DCGANDiscriminator(resolution, config)

    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the cross-entropy of real and generated images."""
        with torch.no_grad():
            generated = self.generator(self.generator.latents(rng))
        # Not in one batch: batch statistics of real and generated images must not mix.
        real, fake = self.discriminator(to_signed(batch.x)), self.discriminator(generated)
        return logistic_discriminator_loss(real, fake), {"real": real.mean(), "fake": fake.mean()}

    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the non-saturating loss."""
        generated = self.generator(self.generator.latents(rng))
        return logistic_generator_loss(self.discriminator(generated)), {}
