"""CramerGAN: energy distance and critic against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.cramergan import CramerGAN, cramer_witness, energy_distance
from artfp.nn.random_inputs import RandomInputs

STEP = TrainingStep(0, 1)


def mean_distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([np.linalg.norm(x - y) for x in a for y in b]))


def critic(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.array([mean_distance(v[None], other) - np.linalg.norm(v) for v in x])


def test_energy_and_critic_of_vectors() -> None:
    rng = np.random.default_rng(0)
    real, fake, other = (rng.normal(m, 1.0, (n, 5)) for m, n in ((1.0, 7), (0.0, 4), (0.0, 6)))
    tensors = [torch.from_numpy(v) for v in (real, fake, other)]
    expected = mean_distance(real, fake) + mean_distance(real, other) - mean_distance(fake, other)
    assert float(energy_distance(*tensors)) == pytest.approx(expected, rel=1e-9)
    found = cramer_witness(tensors[0], tensors[2])
    assert found.shape == (7,)
    np.testing.assert_allclose(found.numpy(), critic(real, other), rtol=1e-9)


def test_the_energy_is_least_where_distributions_agree() -> None:
    """Of 1-d Gaussians, E|X - Y| is known; with E|X - X'| the distance is 0 at equality."""
    rng = torch.Generator().manual_seed(0)
    real, fake, other = torch.randn(3, 800, 1, generator=rng, dtype=torch.float64)
    within = 2.0 / np.pi**0.5
    assert float(energy_distance(real, fake, other)) - within == pytest.approx(0.0, abs=0.05)
    for shift, scale in ((1.0, 1.0), (0.0, 2.0), (0.0, 0.3)):
        assert (
            float(energy_distance(real, *(shift + scale * v for v in (fake, other)))) > within + 0.1
        )


def test_vectors_that_are_equal_have_finite_gradients() -> None:
    h = torch.zeros(3, 4, requires_grad=True)
    energy_distance(h, h, h).backward()
    assert h.grad is not None and h.grad.isfinite().all()
    cramer_witness(h, h).sum().backward()
    assert h.grad.isfinite().all()


def test_losses_of_a_linear_critic() -> None:
    """For h(x) = A x the gradient of the critic is known, and so are both losses."""
    model = build_model(
        "cramergan", 16, seed=1, changes={"width": 8, "discriminator_width": 8}
    ).double()
    assert isinstance(model, CramerGAN)
    torch.manual_seed(0)
    linear = nn.Linear(3 * 256, 6, bias=False).double()
    model.discriminator = nn.Sequential(nn.Flatten(), linear)
    a = linear.weight.detach().numpy() * 3.0
    linear.weight.data.mul_(3.0)
    x = torch.rand(5, 3, 16, 16, dtype=torch.float64)

    def rng() -> RandomInputs:
        return RandomInputs(torch.Generator().manual_seed(3), 5)

    again = rng()
    with torch.no_grad():
        z = torch.cat([model.generator.latents(again) for _ in range(2)]).double()
        generated = model.generator(z).flatten(1).numpy()
    fraction = again.uniform(1).double().numpy()
    real = x.flatten(1).numpy() * 2.0 - 1.0
    fake, other = generated[:5], generated[5:]
    assert abs(fake - other).max() > 0.01

    def f(v: np.ndarray) -> np.ndarray:
        return critic(v @ a.T, other @ a.T)

    squares = []
    for point in real + fraction * (fake - real):
        h = a @ point
        away = h - other @ a.T
        unit = (away / np.linalg.norm(away, axis=1)[:, None]).mean(axis=0)
        squares.append((np.linalg.norm((unit - h / np.linalg.norm(h)) @ a) - 1.0) ** 2)
    penalty = np.mean(squares)
    assert penalty > 0.01

    _as_doubles(model)
    first, second = model.trained_networks()
    loss, scalars = first.loss(DataBatch((x,)), rng(), STEP)
    surrogate = f(real).mean() - f(fake).mean()
    assert float(scalars["penalty"].detach()) == pytest.approx(penalty, rel=1e-5)
    assert float(loss.detach()) == pytest.approx(-surrogate + 10.0 * penalty, rel=1e-5)
    loss, _ = second.loss(DataBatch((x,)), rng(), STEP)
    p, q, r = (v @ a.T for v in (real, fake, other))
    expected = mean_distance(p, q) + mean_distance(p, r) - mean_distance(q, r)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def _as_doubles(model: CramerGAN) -> None:
    latents = model.generator.latents
    model.generator.latents = lambda rng: latents(rng).double()  # type: ignore[method-assign]


def test_updates_and_sizes() -> None:
    paper, small = build_model("cramergan", 32, "paper"), build_model("cramergan", 32)
    assert [p.updates_per_step for p in paper.trained_networks()] == [5, 1]
    assert [p.updates_per_step for p in small.trained_networks()] == [1, 1]
    assert all(p.betas == (0.5, 0.9) and p.lr == 1e-4 for p in paper.trained_networks())
    assert isinstance(paper, CramerGAN)
    for side in (16, 128):
        model = build_model("cramergan", side, changes={"width": 8, "discriminator_width": 8})
        assert isinstance(model, CramerGAN)
        assert model.discriminator(torch.rand(2, 3, side, side)).shape == (2, 256)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in paper.discriminator.modules())


def test_a_short_training_nears_the_data(distances: Callable[..., tuple[float, float]]) -> None:
    before, after = distances("cramergan", 100, width=8, discriminator_width=16, lr=2e-3)
    assert after < 0.5 * before
