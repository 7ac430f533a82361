"""Adversarial losses and penalties shared by models. Scores and logits are (N,), not (N, 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.nn.random_inputs import RandomInputs


def logistic_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the cross-entropy of real and fake logits (Goodfellow et al. 2014, equation 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def logistic_generator_loss(fake: Tensor) -> Tensor:
    """Return the non-saturating loss, -log D(G(z)) (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake).mean()


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the hinge loss of a discriminator (Miyato et al. 2018, equation 16, negated)."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """Return the generator's hinge loss (Miyato et al. 2018, equation 17)."""
    return -fake.mean()


def least_squares_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return half the mean squared errors from 1 for real, 0 for fake (Mao 2017, equation 9)."""
    return 0.5 * ((real - 1.0).square().mean() + fake.square().mean())


def least_squares_generator_loss(fake: Tensor) -> Tensor:
    """Return the mean squared error from 1, not halved, as in Zhu et al. 2017 (section 4)."""
    return (fake - 1.0).square().mean()


def interpolate_pairs(real: Tensor, fake: Tensor, rng: RandomInputs) -> Tensor:
    """Return a random point between each two images (Gulrajani et al. 2017, algorithm 1)."""
    fraction = rng.uniform(*[1] * (real.ndim - 1)).to(real)
    return torch.lerp(real, fake.to(real), fraction)


def input_gradients(values: Tensor, at: Tensor) -> Tensor:
    """Return the gradient of each value (N,) by its own image in `at` (N, ...), as (N, numbers).

    It can be differentiated again. `at` must require a gradient, and value i must depend on image
    i alone: a critic under a gradient penalty has no batch normalisation.
    """
    (gradient,) = torch.autograd.grad(values.sum(), at, create_graph=True)
    return gradient.flatten(1)


def gradient_penalty(values: Tensor, at: Tensor, norm: float = 1.0) -> Tensor:
    """Return the mean squared error of gradients' L2 norms (Gulrajani et al. 2017, equation 3).

    Args:
        values: Scores (N,) of the images.
        at: Images (N, ...), which require a gradient.
        norm: Norm that each gradient is to have.
    """
    # The square root has no gradient at 0.
    norms = (input_gradients(values, at).square().sum(dim=1) + 1e-12).sqrt()
    return (norms - norm).square().mean()


def r1_penalty(values: Tensor, at: Tensor) -> Tensor:
    """Return half the mean squared gradient norm, R1 (Mescheder et al. 2018, equation 9)."""
    return 0.5 * input_gradients(values, at).square().sum(dim=1).mean()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared L2 distance of each row of (N, D) to each of (M, D), as (N, M).

    From differences, not products: these lose the small ones.
    """
    return (a[:, None] - b[None]).square().sum(dim=2)
