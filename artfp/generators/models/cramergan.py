"""CramerGAN: a critic of vectors, in whose space the energy distance is to be small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from artfp.generators.base import Batch, Config, Figures, GenerativeModel, Moment, Player, to_signed
from artfp.generators.models.dcgan import DCGANConfig, DCGANGenerator
from artfp.generators.models.layers import strided_critic
from artfp.nn.adversarial_losses import between, gradient_penalty, squared_distances
from artfp.nn.random_draws import Draws


@dataclass(frozen=True)
class CramerGANConfig(DCGANConfig):
    """`critic` is the critic's channels after its first halving; further ones double them.

    `features` is the length of its vectors, `penalty` the weight of its gradients', `turns` its
    turns a step.
    """

    batch: int = 64
    steps: int = 100_000
    width: int = 64
    critic: int = 64
    latent: int = 128
    rate: float = 1e-4
    features: int = 256
    penalty: float = 10.0
    turns: int = 5


def distances(a: Tensor, b: Tensor) -> Tensor:
    """L2 distance of each row of (N, D) to each of (M, D), as (N, M)."""
    # The root itself has no gradient at 0.
    return (squared_distances(a, b) + 1e-12).sqrt()


def energy(real: Tensor, fake: Tensor, other: Tensor) -> Tensor:
    """Energy distance of real vectors to generated ones, both (N, D), up to a constant.

    E|X - Y| + E|X - Y'| - E|Y - Y'|, with `fake` for Y and `other` for Y', which must be
    independent of each other (Bellemare et al. 2017, algorithm 1). Each mean is over all pairs.
    E|X - X'|, which does not depend on the generator, is left out.
    """
    spread = distances(fake, other).mean()
    return distances(real, fake).mean() + distances(real, other).mean() - spread


def witness(h: Tensor, other: Tensor) -> Tensor:
    """The critic f(x) = E|h(x) - h(x'_g)| - |h(x)| as (N,) (Bellemare et al. 2017, algorithm 1).

    Args: `h` (N, D) of images, `other` (M, D) of generated ones.
    """
    return distances(h, other).mean(dim=1) - (h.square().sum(dim=1) + 1e-12).sqrt()


class CramerGAN(GenerativeModel):
    """Two players; the critic has `turns` of them a step."""

    name = "cramergan"
    source = "Bellemare et al., 2017, arXiv 1705.10743"
    departures = (
        "expectations are means over all pairs of a batch; the networks are DCGAN's, without "
        "normalisation in the critic; small is narrower, with one turn of the critic a step, a "
        "higher rate and averaged weights"
    )
    resolutions = (16, 32, 64, 128)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": CramerGANConfig(),
        "small": CramerGANConfig(
            steps=2000, average=0.995, width=48, critic=32, rate=2e-4, turns=1
        ),
    }
    generator_type = DCGANGenerator
    generator: DCGANGenerator

    def __init__(self, resolution: int, config: CramerGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.critic = strided_critic(resolution, config.critic, config.features)

    def players(self) -> list[Player]:
        """The critic, then the generator."""
        rate, betas = self.config.rate, (self.config.momentum, 0.9)
        turns = self.config.turns
        return [
            Player("critic", (self.critic,), self._tell_apart, rate, betas, repeats=turns),
            Player("generator", (self.generator,), self._approach, rate, betas),
        ]

    def _two(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Two independent batches of generated images."""
        latents = [self.generator.latents(draws) for _ in range(2)]
        fake, other = self.generator(torch.cat(latents)).chunk(2)
        return fake, other

    def _tell_apart(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        with torch.no_grad():
            fake, other = self._two(draws)
        x = to_signed(batch.x)
        h_real, h_fake, h_other = self.critic(torch.cat([x, fake, other])).float().chunk(3)
        real, unreal = witness(h_real, h_other).mean(), witness(h_fake, h_other).mean()
        at = between(x, fake, draws).requires_grad_()
        penalty = gradient_penalty(witness(self.critic(at).float(), h_other), at)
        figures = {"real": real, "fake": unreal, "penalty": penalty}
        return unreal - real + self.config.penalty * penalty, figures

    def _approach(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        h = self.critic(torch.cat([to_signed(batch.x), *self._two(draws)]))
        return energy(*h.float().chunk(3)), {}
