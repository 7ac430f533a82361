"""Adversarial losses and penalties that several models share. Critics return (N,), not (N, 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.nn.random_draws import Draws


def logistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Cross-entropy of telling real from fake by logits (Goodfellow et al. 2014, equation 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def logistic_generator(fake: Tensor) -> Tensor:
    """The non-saturating loss, -log D(G(z)) (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-fake).mean()


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """The hinge loss of a critic (Miyato et al. 2018, equation 16, negated)."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """The generator's part of the hinge loss (Miyato et al. 2018, equation 17)."""
    return -fake.mean()


def least_squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Half the squared misses of 1 for real and 0 for fake (Mao et al. 2017, equation 9)."""
    return 0.5 * ((real - 1.0).square().mean() + fake.square().mean())


def least_squares_generator(fake: Tensor) -> Tensor:
    """Squared miss of 1, not halved, as Zhu et al. 2017 have it (section 4)."""
    return (fake - 1.0).square().mean()


def between(real: Tensor, fake: Tensor, draws: Draws) -> Tensor:
    """A random point on the line between each two images (Gulrajani et al. 2017, algorithm 1)."""
    share = draws.uniform(*[1] * (real.ndim - 1)).to(real)
    return torch.lerp(real, fake.to(real), share)


def gradients(values: Tensor, at: Tensor) -> Tensor:
    """Gradient of each value (N,) by its own image in `at` (N, ...), as (N, numbers).

    It can be differentiated again. `at` must require a gradient, and value i must depend on image
    i alone: a critic under a gradient penalty has no batch normalisation.
    """
    (gradient,) = torch.autograd.grad(values.sum(), at, create_graph=True)
    return gradient.flatten(1)


def gradient_penalty(values: Tensor, at: Tensor, norm: float = 1.0) -> Tensor:
    """Mean squared miss of the gradients' L2 norms (Gulrajani et al. 2017, equation 3).

    Args: as of `gradients`; `norm`, what each is meant to have.
    """
    # The norm itself has no gradient at 0.
    norms = (gradients(values, at).square().sum(dim=1) + 1e-12).sqrt()
    return (norms - norm).square().mean()


def r1_penalty(values: Tensor, at: Tensor) -> Tensor:
    """Half of the mean squared gradient norm at real images (Mescheder et al. 2018, equation 9)."""
    return 0.5 * gradients(values, at).square().sum(dim=1).mean()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared L2 distance of each row of (N, D) to each of (M, D), as (N, M).

    From differences, not products: these lose the small ones.
    """
    return (a[:, None] - b[None]).square().sum(dim=2)
