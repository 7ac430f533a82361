"""Losses against formulas written by hand in float64, penalties against known gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from artfp.nn.adversarial_losses import (
    gradient_penalty,
    hinge_discriminator_loss,
    hinge_generator_loss,
    input_gradients,
    interpolate_pairs,
    logistic_discriminator_loss,
    logistic_generator_loss,
    r1_penalty,
    squared_distances,
)
from artfp.nn.random_inputs import RandomInputs


@pytest.fixture
def scores() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(2)
    real, fake = rng.normal(0.5, 2.0, 200), rng.normal(-0.5, 2.0, 200)
    return torch.from_numpy(real), torch.from_numpy(fake)


def test_logistic(scores: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, fake = (s.numpy() for s in scores)
    p_real, p_fake = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    expected = -np.log(p_real).mean() - np.log(1 - p_fake).mean()
    assert float(logistic_discriminator_loss(*scores)) == pytest.approx(expected, rel=1e-12)
    assert float(logistic_generator_loss(scores[1])) == pytest.approx(
        -np.log(p_fake).mean(), rel=1e-12
    )
    far = torch.tensor([-1000.0, 1000.0])
    assert float(logistic_generator_loss(far)) == 500.0  # no overflow
    # Not saturating: where the discriminator is sure, the generator still learns.
    sure = torch.tensor([-30.0], requires_grad=True)
    logistic_generator_loss(sure).backward()
    assert sure.grad is not None and float(sure.grad) == pytest.approx(-1.0)


def test_hinge(scores: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, fake = (s.numpy() for s in scores)
    expected = sum(max(0.0, 1 - r) for r in real) / 200 + sum(max(0.0, 1 + f) for f in fake) / 200
    assert float(hinge_discriminator_loss(*scores)) == pytest.approx(expected, rel=1e-12)
    assert float(hinge_generator_loss(scores[1])) == pytest.approx(-fake.mean(), rel=1e-12)


def test_between_lies_on_each_line() -> None:
    a, b = torch.rand(50, 3, 4, 4), torch.rand(50, 3, 4, 4)
    x = interpolate_pairs(a, b, RandomInputs(torch.Generator().manual_seed(0), 50))
    fractions = (x - a) / (b - a)
    one = fractions.flatten(1).median(dim=1).values
    assert (fractions.flatten(1) - one[:, None]).abs().median() < 1e-4
    assert one.min() > 0 and one.max() < 1 and one.std() > 0.2


def test_between_takes_images_of_half_precision() -> None:
    a, b = torch.rand(3, 3, 4, 4), torch.rand(3, 3, 4, 4).bfloat16()
    x = interpolate_pairs(a, b, RandomInputs(torch.Generator().manual_seed(0), 3))
    assert x.dtype == torch.float32


def test_squared_distances() -> None:
    a, b = torch.randn(4, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    expected = [[((x - y) ** 2).sum() for y in b.numpy()] for x in a.numpy()]
    np.testing.assert_allclose(squared_distances(a, b).numpy(), expected, rtol=1e-12)
    near = torch.tensor([[1000.0]]), torch.tensor([[1000.001]])
    assert float(squared_distances(*near)) == pytest.approx(float(near[0] - near[1]) ** 2)


def test_gradients_of_a_known_function() -> None:
    """f(x) = a.x + |x|^2 / 2 has the gradient a + x."""
    a = torch.randn(1, 12, dtype=torch.float64)
    x = torch.randn(7, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    values = (a * x.flatten(1)).sum(dim=1) + 0.5 * x.square().flatten(1).sum(dim=1)
    true = (a + x.flatten(1)).detach()
    torch.testing.assert_close(input_gradients(values, x), true)
    norms = true.norm(dim=1)
    for norm in (0.0, 1.0, 2.5):
        expected = ((norms - norm) ** 2).mean()
        torch.testing.assert_close(gradient_penalty(values, x, norm), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(r1_penalty(values, x), 0.5 * (norms**2).mean())


def test_a_penalty_trains_the_critic() -> None:
    """For f(x) = a.x the penalty is (|a| - 1)^2, with gradient 2 (|a| - 1) a / |a|."""
    a = torch.randn(12, dtype=torch.float64, requires_grad=True)
    x = torch.randn(5, 12, dtype=torch.float64, requires_grad=True)
    gradient_penalty(x @ a, x).backward()
    norm = a.detach().norm()
    torch.testing.assert_close(a.grad, 2 * (norm - 1) * a.detach() / norm)


def test_a_flat_critic_has_a_finite_gradient() -> None:
    a = torch.zeros(4, requires_grad=True)
    x = torch.randn(3, 4, requires_grad=True)
    gradient_penalty(x @ a, x).backward()
    assert a.grad is not None and a.grad.isfinite().all()
