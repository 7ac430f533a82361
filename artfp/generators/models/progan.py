"""ProGAN: networks that grow from 4 x 4 pixels, each new stage faded in."""

from __future__ import annotations

import math
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
from artfp.generators.models.layers import minibatch_deviation, pixel_norm
from artfp.nn.adversarial_losses import between, gradient_penalty
from artfp.nn.equalised import EqualConv, EqualLinear
from artfp.nn.random_draws import Draws


@dataclass(frozen=True)
class ProGANConfig(Config):
    """At a side there are `volume` / side channels, at most `most`.

    `growing` is the share of the training after which the networks are whole, `penalty` the weight
    of the critic's gradients, `drift` that of its squared scores of real images.
    """

    batch: int = 16
    steps: int = 750_000
    average: float = 0.999
    volume: int = 16384
    most: int = 512
    latent: int = 512
    growing: float = 0.5
    penalty: float = 10.0
    drift: float = 1e-3
    rate: float = 1e-3
    betas: tuple[float, float] = (0.0, 0.99)


def widths(resolution: int, config: ProGANConfig) -> list[int]:
    """Channels at the sides 4, 8, ..., `resolution`: one for each stage."""
    sides = [4 * 2**stage for stage in range(resolution.bit_length() - 2)]
    return [min(config.most, config.volume // side) for side in sides]


def growth_at(progress: float, growing: float, last: int) -> float:
    """Stages that have grown at a share of the training: 1.3 is the second, faded in to .3.

    Up to the share `growing`, stages are trained alone and faded in by turns, each as long (Karras
    et al. 2018, appendix A.1). Stage 0 makes 4 x 4 pixels, stage `last` all.
    """
    if progress >= growing:
        return float(last)
    phase = 2 * last * progress / growing
    stage = int(phase // 2)
    return stage + max(0.0, phase - 2 * stage - 1.0)


def shares(growth: float) -> list[float]:
    """How much the stages 1, 2, ... that are in use have been faded in: 1 for all but the last."""
    return [min(1.0, growth - stage) for stage in range(math.ceil(growth))]


def enlarged(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C, 2H, 2W), by nearest neighbours."""
    return F.interpolate(x, scale_factor=2.0)


def shown(y: Tensor, growth: float) -> Tensor:
    """Images (N, 3, R, R) as the critic of a stage sees them: shrunk by averages.

    During a transition they too are a mixture of two resolutions (Karras et al. 2018, figure 2).
    """
    y = F.adaptive_avg_pool2d(y, 4 * 2 ** math.ceil(growth))
    for share in shares(growth)[-1:]:
        if share < 1.0:
            y = torch.lerp(enlarged(F.avg_pool2d(y, 2)), y, share)
    return y


class Normed(nn.Module):
    """A convolution, rectified, each pixel's vector then normalised."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = EqualConv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        return pixel_norm(F.leaky_relu(self.conv(x), 0.2))


class ProGANGenerator(Generator):
    """Latent vectors to 4 x 4 pixels, then doublings as far as it has grown.

    What it samples is enlarged to the resolution. Attributes: `growth`, see `growth_at`.
    """

    config: ProGANConfig
    growth: Tensor

    def __init__(self, resolution: int, config: ProGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        channels = widths(resolution, config)
        self.first = EqualLinear(config.latent, 16 * channels[0], gain=2.0**0.5)
        self.second = Normed(channels[0], channels[0])
        self.blocks = nn.ModuleList(
            nn.Sequential(Normed(a, b), Normed(b, b)) for a, b in pairwise(channels)
        )
        self.images = nn.ModuleList(EqualConv(c, 3, 1, gain=1.0) for c in channels)
        self.register_buffer("growth", torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        """Latents (N, latent) to images (N, 3, S, S) near [-1, 1], S the side of the stage."""
        h = F.leaky_relu(self.first(pixel_norm(z)), 0.2).unflatten(1, (-1, 4, 4))
        h = self.second(pixel_norm(h))
        y: Tensor = self.images[0](h)
        for stage, share in enumerate(shares(float(self.growth)), 1):
            h = self.blocks[stage - 1](enlarged(h))
            y = torch.lerp(enlarged(y), self.images[stage](h), share)
        return y

    def _sample(self, draws: Draws, labels: Tensor | None) -> Tensor:
        y = self(draws.normal(self.config.latent))
        return F.interpolate(y, size=(self.resolution, self.resolution))


class ProGANCritic(nn.Module):
    """The generator's mirror image: as large a picture as the stage's to a score (N,)."""

    def __init__(self, resolution: int, config: ProGANConfig) -> None:
        super().__init__()
        channels = widths(resolution, config)
        self.images = nn.ModuleList(EqualConv(3, c, 1) for c in channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                EqualConv(b, b),
                nn.LeakyReLU(0.2),
                EqualConv(b, a),
                nn.LeakyReLU(0.2),
                nn.AvgPool2d(2),
            )
            for a, b in pairwise(channels)
        )
        self.last = nn.Sequential(
            EqualConv(channels[0] + 1, channels[0]),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            EqualLinear(16 * channels[0], channels[0], gain=2.0**0.5),
            nn.LeakyReLU(0.2),
            EqualLinear(channels[0], 1),
        )

    def forward(self, y: Tensor, growth: float) -> Tensor:
        """Scores (N,) of images (N, 3, S, S), S the side of the stage that `growth` is in."""
        faded = shares(growth)
        h = self._read(y, len(faded))
        for stage in range(len(faded), 0, -1):
            h, y = self.blocks[stage - 1](h), F.avg_pool2d(y, 2)
            h = torch.lerp(self._read(y, stage - 1), h, faded[stage - 1])
        score: Tensor = self.last(minibatch_deviation(h))
        return score.flatten()

    def _read(self, y: Tensor, stage: int) -> Tensor:
        return F.leaky_relu(self.images[stage](y), 0.2)


class ProGAN(GenerativeModel):
    """Two players, whose networks grow together."""

    name = "progan"
    source = "Karras, Aila, Laine, Lehtinen, ICLR 2018, arXiv 1710.10196"
    departures = (
        "Adam goes on as it was when a stage is added; small grows within half of its training, "
        "is narrower and trains at twice the rate"
    )
    resolutions = (16, 32, 64, 128)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": ProGANConfig(),
        "small": ProGANConfig(
            steps=2000, average=0.995, volume=1536, most=64, latent=128, rate=2e-3
        ),
    }
    generator_type = ProGANGenerator
    generator: ProGANGenerator

    def __init__(self, resolution: int, config: ProGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.critic = ProGANCritic(resolution, config)

    @classmethod
    def configure(cls, size: str, resolution: int) -> Config:
        """At the paper's size each phase of growing takes 800,000 of the 12 million images."""
        config = cls.sizes[size]
        assert isinstance(config, ProGANConfig)
        phases = 2 * (resolution.bit_length() - 3)
        growing = phases * 800_000 / (config.batch * config.steps)
        return replace(config, growing=growing) if size == "paper" else config

    def begin_step(self, moment: Moment) -> None:
        """Grow."""
        last = len(self.generator.blocks)
        self.generator.growth.fill_(growth_at(moment.progress, self.config.growing, last))

    def players(self) -> list[Player]:
        """The critic, then the generator."""
        rate, betas = self.config.rate, self.config.betas
        return [
            Player("critic", (self.critic,), self._tell_apart, rate, betas),
            Player("generator", (self.generator,), self._deceive, rate, betas),
        ]

    def _tell_apart(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        growth = float(self.generator.growth)
        with torch.no_grad():
            made = self.generator(draws.normal(self.config.latent))
        x = shown(to_signed(batch.x), growth)
        # Not in one batch: the critic looks at how much the images of one differ.
        real, fake = self.critic(x, growth), self.critic(made, growth)
        # As published, with what each image adds to the others' scores by their deviation.
        at = between(x, made, draws).requires_grad_()
        penalty = gradient_penalty(self.critic(at, growth), at)
        loss = fake.mean() - real.mean() + self.config.penalty * penalty
        loss = loss + self.config.drift * real.square().mean()
        figures = {"real": real.mean(), "fake": fake.mean(), "penalty": penalty}
        return loss, {**figures, "growth": self.generator.growth}

    def _deceive(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        made = self.generator(draws.normal(self.config.latent))
        return -self.critic(made, float(self.generator.growth)).mean(), {}
