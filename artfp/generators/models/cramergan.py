"""CramerGAN: the energy distance of real and generated images in a critic's feature space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from artfp.generators.base import AdversarialModel, to_signed
from artfp.generators.models.dcgan import DCGANConfig, DCGANGenerator
from artfp.generators.models.layers import strided_critic
from artfp.generators.trained_network import DataBatch, Loss, TrainingStep
from artfp.nn.adversarial_losses import gradient_penalty, interpolate_pairs, squared_distances
from artfp.nn.random_inputs import RandomInputs


@dataclass(frozen=True)
class CramerGANConfig(DCGANConfig):
    """Numbers of CramerGAN."""

    batch_size: int = 64
    steps: int = 100_000
    width: int = 64
    # Channels of the critic after its first halving; further ones double them.
    discriminator_width: int = 64
    latent_dim: int = 128
    lr: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.9)
    feature_dim: int = 256  # length of the critic's vectors
    penalty_weight: float = 10.0  # weight of the gradient penalty
    discriminator_steps: int = 5


def pairwise_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the L2 distance of each row of (N, D) to each of (M, D), as (N, M)."""
    # The square root has no gradient at 0.
    return (squared_distances(a, b) + 1e-12).sqrt()


def energy_distance(real: Tensor, fake: Tensor, other: Tensor) -> Tensor:
    """Return the energy distance of real to generated vectors, (N, D) each, up to a constant.

    E|X - Y| + E|X - Y'| - E|Y - Y'|, with `fake` for Y and `other` for Y', which must be
    independent of each other (Bellemare et al. 2017, algorithm 1). Each mean is over all pairs.
    E|X - X'|, which does not depend on the generator, is left out.
    """
    spread = pairwise_distances(fake, other).mean()
    return pairwise_distances(real, fake).mean() + pairwise_distances(real, other).mean() - spread


def cramer_witness(h: Tensor, other: Tensor) -> Tensor:
    """Return the critic E|h(x) - h(x'_g)| - |h(x)|, (N,) (Bellemare et al. 2017, algorithm 1).

    Args:
        h: Vectors (N, D) of images.
        other: Vectors (M, D) of generated images.
    """
    return pairwise_distances(h, other).mean(dim=1) - (h.square().sum(dim=1) + 1e-12).sqrt()


class CramerGAN(AdversarialModel):
    """CramerGAN, on the networks of DCGAN."""

    name = "cramergan"
    reference = "Bellemare et al., 2017, arXiv 1705.10743"
    departures = (
        "expectations are means over all pairs of a batch; the networks are DCGAN's, without "
        "normalisation in the critic; small is narrower, with one critic update a step, a "
        "higher learning rate and averaged weights"
    )
    resolutions = (16, 32, 64, 128)
    paper = CramerGANConfig()
    small = CramerGANConfig(
        steps=2000,
        ema_decay=0.995,
        width=48,
        discriminator_width=32,
        lr=2e-4,
        discriminator_steps=1,
    )
    generator_type = DCGANGenerator
    generator: DCGANGenerator

    def __init__(self, resolution: int, config: CramerGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = strided_critic(
            resolution, config.discriminator_width, config.feature_dim
        )

    def _two_batches(self, rng: RandomInputs) -> tuple[Tensor, Tensor]:
        """Generate two independent batches of images."""
        latents = [self.generator.latents(rng) for _ in range(2)]
        fake, other = self.generator(torch.cat(latents)).chunk(2)
        return fake, other

    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the negative difference of the critic's means, with the gradient penalty."""
        with torch.no_grad():
            fake, other = self._two_batches(rng)
        x = to_signed(batch.x)
        h_real, h_fake, h_other = self.discriminator(torch.cat([x, fake, other])).float().chunk(3)
        real_mean, fake_mean = (
            cramer_witness(h_real, h_other).mean(),
            cramer_witness(h_fake, h_other).mean(),
        )
        at = interpolate_pairs(x, fake, rng).requires_grad_()
        penalty = gradient_penalty(cramer_witness(self.discriminator(at).float(), h_other), at)
        scalars = {"real": real_mean, "fake": fake_mean, "penalty": penalty}
        return fake_mean - real_mean + self.config.penalty_weight * penalty, scalars

    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the energy distance of real and generated vectors."""
        h = self.discriminator(torch.cat([to_signed(batch.x), *self._two_batches(rng)]))
        return energy_distance(*h.float().chunk(3)), {}
