"""Glow: a flow, which maps images to noise and back without loss, trained by their likelihood.

Own code, as no library fits: the last releases of normflows, FrEIA and nflows are from 2023, 2022
and 2020, and none sets its scales by one given batch or learns its prior for each pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from artfp.generators.base import Batch, Config, Figures, GenerativeModel, Generator, Moment, Player
from artfp.generators.models.glow_layers import ActNorm, Flow
from artfp.nn.random_draws import Draws

LEVELS = 256
"""Values of a pixel."""


@dataclass(frozen=True)
class GlowConfig(Config):
    """`depth` is the steps of the flow at each of `levels` scales, `width` a coupling's channels.

    `learned`: the means and deviations of the latents are learned. `temperature` is the factor on
    the deviations in sampling. `rate` rises over the first `warm_up` steps.
    """

    batch: int = 512
    steps: int = 200_000
    depth: int = 32
    levels: int = 3
    width: int = 512
    learned: bool = True
    temperature: float = 0.7
    rate: float = 1e-3
    warm_up: int = 1000
    clip: float = 100.0


class GlowGenerator(Generator):
    """The flow; sampling is its inverse."""

    config: GlowConfig

    def __init__(self, resolution: int, config: GlowConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.flow = Flow(3, resolution, config.levels, config.depth, config.width, config.learned)

    def bits(self, x: Tensor, noise: Tensor) -> Tensor:
        """Bits per dimension (N,) of images (N, 3, R, R) in [0, 1] of 256 levels.

        `noise`, of the same shape, in [0, 1): where in its level each value is taken to lie
        (equation 2).
        """
        y = ((x * (LEVELS - 1)).round() + noise) * (2.0 / LEVELS) - 1.0
        # A short number of bits would itself cost some of those that are counted here.
        with torch.autocast(y.device.type, enabled=False):
            parts, log_det = self.flow(y.float())
        nats = log_det
        for z in parts:
            nats = nats - 0.5 * (z.square() + math.log(2.0 * math.pi)).flatten(1).sum(dim=1)
        return math.log2(LEVELS / 2) - nats / (math.log(2.0) * y[0].numel())

    def _sample(self, draws: Draws, labels: Tensor | None) -> Tensor:
        heat = self.config.temperature
        parts = [heat * draws.normal(*shape) for shape in self.flow.shapes]
        # The middle of level k of 256 is to become k / 255.
        return self.flow.inverse(parts) * (LEVELS / (LEVELS - 1))


class Glow(GenerativeModel):
    """One player."""

    name = "glow"
    source = "Kingma, Dhariwal, NeurIPS 2018, arXiv 1807.03039"
    departures = (
        "log scales of couplings within 2 by a hyperbolic tangent; the latents' means and "
        "deviations are learned for each pixel, given the rest of the image (in the published code "
        "for each channel, in the paper not at all); gradients clipped; small has fewer and "
        "narrower steps, averaged weights and batches of 32"
    )
    resolutions = (16, 32, 64, 128)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": GlowConfig(),
        "small": GlowConfig(batch=32, steps=2000, average=0.995, depth=8, width=64, warm_up=100),
    }
    generator_type = GlowGenerator
    generator: GlowGenerator

    @classmethod
    def configure(cls, size: str, resolution: int) -> Config:
        """Above 32 px there are more scales, and deeper ones."""
        config = cls.sizes[size]
        assert isinstance(config, GlowConfig)
        if resolution <= 32 or size != "paper":
            return config
        if resolution == 64:
            return replace(config, batch=128, levels=4, depth=48)
        return replace(config, batch=160, levels=5, depth=64)

    def players(self) -> list[Player]:
        """The flow."""
        config = self.config
        return [
            Player(
                "flow",
                (self.generator,),
                self._unlikelihood,
                config.rate,
                warm_up=config.warm_up,
                clip=config.clip,
            )
        ]

    def prepare(self, batch: Batch, draws: Draws) -> None:
        """Let the first batch set each scale and bias, from the first to the last."""
        hooks = [
            layer.register_forward_pre_hook(lambda layer, inputs: layer.initialise(*inputs))
            for layer in self.generator.modules()
            if isinstance(layer, ActNorm)
        ]
        with torch.no_grad():
            self.generator.bits(batch.x, draws.uniform(*batch.x.shape[1:]))
        for hook in hooks:
            hook.remove()

    def _unlikelihood(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        return self.generator.bits(batch.x, draws.uniform(*batch.x.shape[1:])).mean(), {}
