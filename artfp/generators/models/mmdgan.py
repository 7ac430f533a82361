"""MMDGAN: a critic of vectors, in whose space a kernel's mean discrepancy is to be small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.generators.base import Batch, Config, Figures, GenerativeModel, Moment, Player, to_signed
from artfp.generators.models.dcgan import DCGANConfig, DCGANGenerator
from artfp.generators.models.layers import strided_critic
from artfp.nn.adversarial_losses import between, gradient_penalty, squared_distances
from artfp.nn.random_draws import Draws


@dataclass(frozen=True)
class MMDGANConfig(DCGANConfig):
    """`critic` is the critic's channels after its first halving; further ones double them.

    `features` is the length of its vectors, `alphas` the shapes of their kernels, `penalty` the
    weight of its gradients, `shrink` that of its vectors' mean squares, `turns` its turns a step.
    """

    batch: int = 64
    steps: int = 150_000
    width: int = 64
    critic: int = 64
    latent: int = 128
    rate: float = 1e-4
    features: int = 16
    alphas: tuple[float, ...] = (0.1, 1.0, 10.0)
    penalty: float = 1.0
    shrink: float = 1.0
    turns: int = 5


def kernel(a: Tensor, b: Tensor, alphas: tuple[float, ...]) -> Tensor:
    """The kernel of each row of (N, D) with each of (M, D), as (N, M).

    The dot product and a sum of rational quadratic kernels (k^rq* of Binkowski et al. 2018).
    """
    squares, products = squared_distances(a, b), (a[:, None] * b[None]).sum(dim=2)
    return products + sum((1.0 + squares / (2.0 * alpha)).pow(-alpha) for alpha in alphas)


def discrepancy(real: Tensor, fake: Tensor, alphas: tuple[float, ...]) -> Tensor:
    """Squared maximum mean discrepancy of vectors (N, D) and (M, D), without bias.

    No vector meets itself (Gretton et al. 2012, lemma 6), so it may be negative. Raises UserError:
    one vector alone.
    """
    if min(len(real), len(fake)) < 2:
        raise UserError("mmdgan compares the images of a batch with each other; take 2 or more")

    def within(a: Tensor) -> Tensor:
        whole = kernel(a, a, alphas)
        return (whole.sum() - whole.diagonal().sum()) / (len(a) * (len(a) - 1))

    return within(real) + within(fake) - 2.0 * kernel(real, fake, alphas).mean()


def witness(h: Tensor, real: Tensor, fake: Tensor, alphas: tuple[float, ...]) -> Tensor:
    """By how much vectors (N, D) are more like real than like generated ones (M, D), as (N,).

    The witness function, whose gradient at images is penalised (Binkowski et al. 2018).
    """
    return kernel(h, real, alphas).mean(dim=1) - kernel(h, fake, alphas).mean(dim=1)


class MMDGAN(GenerativeModel):
    """Two players; the critic has `turns` of them a step."""

    name = "mmdgan"
    source = "Binkowski et al., ICLR 2018, arXiv 1801.01401; Li et al., 2017, arXiv 1705.08584"
    departures = (
        "kernels of the shapes .1, 1 and 10; the critic's vectors are kept small, not its other "
        "layers; the networks are DCGAN's, without normalisation in the critic, at all "
        "resolutions; the rate does not adapt; small has a critic half as wide, with one turn a "
        "step, a higher rate and averaged weights"
    )
    resolutions = (16, 32, 64, 128)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": MMDGANConfig(),
        "small": MMDGANConfig(steps=2000, average=0.995, critic=32, rate=2e-4, turns=1),
    }
    generator_type = DCGANGenerator
    generator: DCGANGenerator

    def __init__(self, resolution: int, config: MMDGANConfig, classes: int = 0) -> None:
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

    def _tell_apart(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        alphas = self.config.alphas
        with torch.no_grad():
            made = self.generator(self.generator.latents(draws))
        x = to_signed(batch.x)
        real, fake = self.critic(torch.cat([x, made])).float().chunk(2)
        at = between(x, made, draws).requires_grad_()
        penalty = gradient_penalty(witness(self.critic(at).float(), real, fake, alphas), at)
        size = real.square().mean() + fake.square().mean()
        apart = discrepancy(real, fake, alphas)
        loss = -apart + self.config.penalty * penalty + self.config.shrink * size
        return loss, {"discrepancy": apart, "penalty": penalty, "size": size}

    def _approach(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        made = self.generator(self.generator.latents(draws))
        real, fake = self.critic(torch.cat([to_signed(batch.x), made])).float().chunk(2)
        return discrepancy(real, fake, self.config.alphas), {}
