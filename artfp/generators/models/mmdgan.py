"""MMDGAN: the maximum mean discrepancy (MMD) of real and generated images in a feature space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.generators.base import AdversarialModel, to_signed
from artfp.generators.models.dcgan import DCGANConfig, DCGANGenerator
from artfp.generators.models.layers import strided_critic
from artfp.generators.trained_network import DataBatch, Loss, TrainingStep
from artfp.nn.adversarial_losses import gradient_penalty, interpolate_pairs, squared_distances
from artfp.nn.random_inputs import RandomInputs


@dataclass(frozen=True)
class MMDGANConfig(DCGANConfig):
    """Numbers of MMDGAN."""

    batch_size: int = 64
    steps: int = 150_000
    width: int = 64
    # Channels of the critic after its first halving; further ones double them.
    discriminator_width: int = 64
    latent_dim: int = 128
    lr: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.9)
    feature_dim: int = 16  # length of the critic's vectors
    alphas: tuple[float, ...] = (0.1, 1.0, 10.0)  # shapes of the rational quadratic kernels
    penalty_weight: float = 1.0  # weight of the gradient penalty
    feature_l2_weight: float = 1.0  # weight of the mean square of the critic's vectors
    discriminator_steps: int = 5


def rational_quadratic_kernel(a: Tensor, b: Tensor, alphas: tuple[float, ...]) -> Tensor:
    """Return the kernel of each row of (N, D) with each of (M, D), as (N, M).

    It is the dot product and a sum of rational quadratic kernels (k^rq* of Binkowski et al. 2018).
    """
    squares, products = squared_distances(a, b), (a[:, None] * b[None]).sum(dim=2)
    return products + sum((1.0 + squares / (2.0 * alpha)).pow(-alpha) for alpha in alphas)


def squared_mmd(real: Tensor, fake: Tensor, alphas: tuple[float, ...]) -> Tensor:
    """Return the squared maximum mean discrepancy of vectors (N, D) and (M, D), without bias.

    Pairs of a vector with itself are left out (Gretton et al. 2012, lemma 6), so it may be
    negative.

    Raises:
        UserError: one vector alone.
    """
    if min(len(real), len(fake)) < 2:
        raise UserError("mmdgan compares the images of a batch with each other; take 2 or more")

    def within(a: Tensor) -> Tensor:
        whole = rational_quadratic_kernel(a, a, alphas)
        return (whole.sum() - whole.diagonal().sum()) / (len(a) * (len(a) - 1))

    return within(real) + within(fake) - 2.0 * rational_quadratic_kernel(real, fake, alphas).mean()


def mmd_witness(h: Tensor, real: Tensor, fake: Tensor, alphas: tuple[float, ...]) -> Tensor:
    """Return the witness function (N,) at vectors (N, D): how much more they are like real ones.

    The critic's penalty is on its gradient at images (Binkowski et al. 2018).
    """
    return rational_quadratic_kernel(h, real, alphas).mean(dim=1) - rational_quadratic_kernel(
        h, fake, alphas
    ).mean(dim=1)


class MMDGAN(AdversarialModel):
    """MMDGAN, on the networks of DCGAN."""

    name = "mmdgan"
    reference = "Binkowski et al., ICLR 2018, arXiv 1801.01401; Li et al., 2017, arXiv 1705.08584"
    departures = (
        "kernels of the shapes .1, 1 and 10; the critic's vectors are kept small, not its other "
        "layers; the networks are DCGAN's, without normalisation in the critic, at all "
        "resolutions; the learning rate does not adapt; small has a critic half as wide, one "
        "critic update a step, a higher learning rate and averaged weights"
    )
    resolutions = (16, 32, 64, 128)
    paper = MMDGANConfig()
    small = MMDGANConfig(
        steps=2000, ema_decay=0.995, discriminator_width=32, lr=2e-4, discriminator_steps=1
    )
    generator_type = DCGANGenerator
    generator: DCGANGenerator

    def __init__(self, resolution: int, config: MMDGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = strided_critic(
            resolution, config.discriminator_width, config.feature_dim
        )

    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the negative squared MMD, with the gradient penalty and that on the vectors."""
        alphas = self.config.alphas
        with torch.no_grad():
            generated = self.generator(self.generator.latents(rng))
        x = to_signed(batch.x)
        real, fake = self.discriminator(torch.cat([x, generated])).float().chunk(2)
        at = interpolate_pairs(x, generated, rng).requires_grad_()
        penalty = gradient_penalty(
            mmd_witness(self.discriminator(at).float(), real, fake, alphas), at
        )
        size = real.square().mean() + fake.square().mean()
        mmd = squared_mmd(real, fake, alphas)
        loss = -mmd + self.config.penalty_weight * penalty + self.config.feature_l2_weight * size
        return loss, {"squared_mmd": mmd, "penalty": penalty, "size": size}

    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the squared MMD of real and generated vectors."""
        generated = self.generator(self.generator.latents(rng))
        real, fake = self.discriminator(torch.cat([to_signed(batch.x), generated])).float().chunk(2)
        return squared_mmd(real, fake, self.config.alphas), {}
