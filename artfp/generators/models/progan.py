"""ProGAN: networks that grow from 4 x 4 pixels, each new stage faded in."""

from __future__ import annotations

import math
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
from artfp.generators.models.layers import minibatch_deviation, pixel_norm
from artfp.generators.trained_network import DataBatch, Loss, TrainingStep
from artfp.nn.adversarial_losses import gradient_penalty, interpolate_pairs
from artfp.nn.equalised import EqualisedConv2d, EqualisedLinear
from artfp.nn.random_inputs import RandomInputs


@dataclass(frozen=True)
class ProGANConfig(AdversarialConfig):
    """Numbers of ProGAN."""

    batch_size: int = 16
    steps: int = 750_000
    ema_decay: float = 0.999
    channel_base: int = 16384  # channels times the side in pixels, the same at all sides
    channel_max: int = 512  # most channels
    latent_dim: int = 512  # length of the latent vector
    growth_fraction: float = 0.5  # fraction of the training after which the networks are whole
    penalty_weight: float = 10.0  # weight of the critic's gradient penalty
    drift_weight: float = 1e-3  # weight of the critic's squared scores of real images
    lr: float = 1e-3
    betas: tuple[float, float] = (0.0, 0.99)


def progan_widths(resolution: int, config: ProGANConfig) -> list[int]:
    """Return the channels at the sides 4, 8, ..., `resolution`: one for each stage."""
    sides = [4 * 2**stage for stage in range(resolution.bit_length() - 2)]
    return [min(config.channel_max, config.channel_base // side) for side in sides]


def growth_at(fraction: float, growth_fraction: float, last: int) -> float:
    """Return the stages that have grown at a fraction of the training: 1.3 is the second, at 30%.

    Up to `growth_fraction`, stages are trained alone and faded in by turns, each as long (Karras et
    al. 2018, appendix A.1). Stage 0 makes 4 x 4 pixels, stage `last` all.
    """
    if fraction >= growth_fraction:
        return float(last)
    phase = 2 * last * fraction / growth_fraction
    stage = int(phase // 2)
    return stage + max(0.0, phase - 2 * stage - 1.0)


def fade_in_weights(growth: float) -> list[float]:
    """Return how far the stages 1, 2, ... in use are faded in: 1 for all but the last."""
    return [min(1.0, growth - stage) for stage in range(math.ceil(growth))]


def enlarge_nearest(x: Tensor) -> Tensor:
    """Enlarge (N, C, H, W) to (N, C, 2H, 2W), by nearest neighbours."""
    return F.interpolate(x, scale_factor=2.0)


def at_growth(y: Tensor, growth: float) -> Tensor:
    """Shrink images (N, 3, R, R), by average pooling, to what the critic of a stage sees.

    During a transition they too are a mixture of two resolutions (Karras et al. 2018, figure 2).
    """
    y = F.adaptive_avg_pool2d(y, 4 * 2 ** math.ceil(growth))
    for weight in fade_in_weights(growth)[-1:]:
        if weight < 1.0:
            y = torch.lerp(enlarge_nearest(F.avg_pool2d(y, 2)), y, weight)
    return y


class PixelNormConv(nn.Module):
    """Convolution, leaky ReLU and pixel norm."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = EqualisedConv2d(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return pixel_norm(F.leaky_relu(self.conv(x), 0.2))


class ProGANGenerator(Generator):
    """Blocks from latent vectors, by way of 4 x 4 pixels, as far as the network has grown.

    Samples are enlarged to the resolution.

    Attributes:
        growth: Stages that have grown, see `growth_at`.
    """

    config: ProGANConfig
    growth: Tensor

    def __init__(self, resolution: int, config: ProGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        channels = progan_widths(resolution, config)
        self.first = EqualisedLinear(config.latent_dim, 16 * channels[0], gain=2.0**0.5)
        self.second = PixelNormConv(channels[0], channels[0])
        self.blocks = nn.ModuleList(
            nn.Sequential(PixelNormConv(a, b), PixelNormConv(b, b)) for a, b in pairwise(channels)
        )
        self.images = nn.ModuleList(EqualisedConv2d(c, 3, 1, gain=1.0) for c in channels)
        self.register_buffer("growth", torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent) to images (N, 3, S, S) near [-1, 1], S the side of the stage."""
        h = F.leaky_relu(self.first(pixel_norm(z)), 0.2).unflatten(1, (-1, 4, 4))
        h = self.second(pixel_norm(h))
        y: Tensor = self.images[0](h)
        for stage, weight in enumerate(fade_in_weights(float(self.growth)), 1):
            h = self.blocks[stage - 1](enlarge_nearest(h))
            y = torch.lerp(enlarge_nearest(y), self.images[stage](h), weight)
        return y

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        y = self(rng.normal(self.config.latent_dim))
        return F.interpolate(y, size=(self.resolution, self.resolution))


class ProGANCritic(nn.Module):
    """Critic that mirrors the generator."""

    def __init__(self, resolution: int, config: ProGANConfig) -> None:
        super().__init__()
        channels = progan_widths(resolution, config)
        self.images = nn.ModuleList(EqualisedConv2d(3, c, 1) for c in channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                EqualisedConv2d(b, b),
                nn.LeakyReLU(0.2),
                EqualisedConv2d(b, a),
                nn.LeakyReLU(0.2),
                nn.AvgPool2d(2),
            )
            for a, b in pairwise(channels)
        )
        self.last = nn.Sequential(
            EqualisedConv2d(channels[0] + 1, channels[0]),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            EqualisedLinear(16 * channels[0], channels[0], gain=2.0**0.5),
            nn.LeakyReLU(0.2),
            EqualisedLinear(channels[0], 1),
        )

    def forward(self, y: Tensor, growth: float) -> Tensor:
        """Map images (N, 3, S, S), S the side of the stage that `growth` is in, to scores (N,)."""
        weights = fade_in_weights(growth)
        h = self._from_image(y, len(weights))
        for stage in range(len(weights), 0, -1):
            h, y = self.blocks[stage - 1](h), F.avg_pool2d(y, 2)
            h = torch.lerp(self._from_image(y, stage - 1), h, weights[stage - 1])
        score: Tensor = self.last(minibatch_deviation(h))
        return score.flatten()

    def _from_image(self, y: Tensor, stage: int) -> Tensor:
        return F.leaky_relu(self.images[stage](y), 0.2)


class ProGAN(AdversarialModel):
    """ProGAN, whose networks grow together."""

    name = "progan"
    reference = "Karras, Aila, Laine, Lehtinen, ICLR 2018, arXiv 1710.10196"
    departures = (
        "Adam goes on as it was when a stage is added; small grows within half of its training, "
        "is narrower and trains at twice the learning rate"
    )
    resolutions = (16, 32, 64, 128)
    paper = ProGANConfig()
    small = ProGANConfig(
        steps=2000, ema_decay=0.995, channel_base=1536, channel_max=64, latent_dim=128, lr=2e-3
    )
    generator_type = ProGANGenerator
    generator: ProGANGenerator
    discriminator: ProGANCritic

    def __init__(self, resolution: int, config: ProGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = ProGANCritic(resolution, config)

    @classmethod
    def configure(cls, size: str, resolution: int) -> ModelConfig:
        """Return the configuration of a size; the paper's phases take 800,000 images each."""
        config = super().configure(size, resolution)
        assert isinstance(config, ProGANConfig)
        phases = 2 * (resolution.bit_length() - 3)
        fraction = phases * 800_000 / (config.batch_size * config.steps)
        return replace(config, growth_fraction=fraction) if size == "paper" else config

    def begin_step(self, step: TrainingStep) -> None:
        """Set the stages that have grown."""
        last = len(self.generator.blocks)
        self.generator.growth.fill_(growth_at(step.fraction, self.config.growth_fraction, last))

    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the Wasserstein loss, with gradient penalty and drift penalty."""
        growth = float(self.generator.growth)
        with torch.no_grad():
            generated = self.generator(rng.normal(self.config.latent_dim))
        x = at_growth(to_signed(batch.x), growth)
        # Not in one batch: the critic measures how much the images of a batch differ.
        real, fake = self.discriminator(x, growth), self.discriminator(generated, growth)
        # As published: by the minibatch deviation each image has a part in the others' scores.
        at = interpolate_pairs(x, generated, rng).requires_grad_()
        penalty = gradient_penalty(self.discriminator(at, growth), at)
        loss = fake.mean() - real.mean() + self.config.penalty_weight * penalty
        loss = loss + self.config.drift_weight * real.square().mean()
        scalars = {"real": real.mean(), "fake": fake.mean(), "penalty": penalty}
        return loss, {**scalars, "growth": self.generator.growth}

    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the negative mean score of generated images."""
        generated = self.generator(rng.normal(self.config.latent_dim))
        return -self.discriminator(generated, float(self.generator.growth)).mean(), {}
