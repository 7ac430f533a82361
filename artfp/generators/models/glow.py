"""Glow: a normalising flow between images and noise, trained by maximum likelihood.

Own code, as no library fits: the last releases of normflows, FrEIA and nflows are from 2023, 2022
and 2020, and none sets its scales by one given batch or learns its prior for each pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from artfp.generators.base import GenerativeModel, Generator, ModelConfig
from artfp.generators.models.glow_layers import ActNorm, Flow
from artfp.generators.trained_network import DataBatch, Loss, TrainedNetwork, TrainingStep
from artfp.nn.random_inputs import RandomInputs

LEVELS = 256
"""Values that a colour of a pixel can take."""


@dataclass(frozen=True)
class GlowConfig(ModelConfig):
    """Numbers of Glow."""

    batch_size: int = 512
    steps: int = 200_000
    depth: int = 32  # steps of the flow at each scale
    levels: int = 3  # number of scales
    width: int = 512  # channels within a coupling
    learned_prior: bool = True  # true if means and standard deviations of the latents are learned
    temperature: float = 0.7  # factor on the standard deviations in sampling
    lr: float = 1e-3
    warmup_steps: int = 1000  # first steps in which the learning rate rises linearly
    max_grad_norm: float = 100.0  # L2 norm that gradients are clipped to


class GlowGenerator(Generator):
    """Flow, whose inverse generates images."""

    config: GlowConfig

    def __init__(self, resolution: int, config: GlowConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.flow = Flow(
            3, resolution, config.levels, config.depth, config.width, config.learned_prior
        )

    def bits_per_dim(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the bits per dimension (N,) of images (N, 3, R, R) in [0, 1] of 256 levels.

        `noise`, of the same shape, in [0, 1), dequantises them (equation 2).
        """
        y = ((x * (LEVELS - 1)).round() + noise) * (2.0 / LEVELS) - 1.0
        # In half precision, rounding alone would cost bits that are counted here.
        with torch.autocast(y.device.type, enabled=False):
            parts, log_det = self.flow(y.float())
        nats = log_det
        for z in parts:
            nats = nats - 0.5 * (z.square() + math.log(2.0 * math.pi)).flatten(1).sum(dim=1)
        bits: Tensor = math.log2(LEVELS / 2) - nats / (math.log(2.0) * y[0].numel())
        return bits

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        temperature = self.config.temperature
        parts = [temperature * rng.normal(*shape) for shape in self.flow.shapes]
        # So that the middle of level k of 256 becomes k / 255.
        return self.flow.inverse(parts) * (LEVELS / (LEVELS - 1))


class Glow(GenerativeModel):
    """Glow, unconditional."""

    name = "glow"
    reference = "Kingma, Dhariwal, NeurIPS 2018, arXiv 1807.03039"
    departures = (
        "log scales of couplings within 2 by a hyperbolic tangent; the latents' means and "
        "deviations are learned for each pixel, given the rest of the image (in the published code "
        "for each channel, in the paper not at all); gradients clipped; small has fewer and "
        "narrower steps, averaged weights and batches of 32"
    )
    resolutions = (16, 32, 64, 128)
    paper = GlowConfig()
    small = GlowConfig(
        batch_size=32, steps=2000, ema_decay=0.995, depth=8, width=64, warmup_steps=100
    )
    generator_type = GlowGenerator
    generator: GlowGenerator

    @classmethod
    def configure(cls, size: str, resolution: int) -> ModelConfig:
        """Return the configuration of a size; above 32 px there are more and deeper scales."""
        config = super().configure(size, resolution)
        assert isinstance(config, GlowConfig)
        if resolution <= 32 or size != "paper":
            return config
        if resolution == 64:
            return replace(config, batch_size=128, levels=4, depth=48)
        return replace(config, batch_size=160, levels=5, depth=64)

    def trained_networks(self) -> list[TrainedNetwork]:
        """Return the flow."""
        config = self.config
        return [
            TrainedNetwork(
                "flow",
                (self.generator,),
                self._likelihood_loss,
                config.lr,
                warmup_steps=config.warmup_steps,
                max_grad_norm=config.max_grad_norm,
            )
        ]

    def prepare(self, batch: DataBatch, rng: RandomInputs) -> None:
        """Initialise each activation normalisation on the first batch, from first to last."""
        hooks = [
            layer.register_forward_pre_hook(lambda layer, inputs: layer.initialise(*inputs))
            for layer in self.generator.modules()
            if isinstance(layer, ActNorm)
        ]
        with torch.no_grad():
            self.generator.bits_per_dim(batch.x, rng.uniform(*batch.x.shape[1:]))
        for hook in hooks:
            hook.remove()

    def _likelihood_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the mean bits per dimension."""
        return self.generator.bits_per_dim(batch.x, rng.uniform(*batch.x.shape[1:])).mean(), {}
