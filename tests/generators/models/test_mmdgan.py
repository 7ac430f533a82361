"""MMDGAN: kernel, estimator and critic against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from artfp.core.errors import UserError
from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.mmdgan import (
    MMDGAN,
    mmd_witness,
    rational_quadratic_kernel,
    squared_mmd,
)
from artfp.nn.random_inputs import RandomInputs

STEP = TrainingStep(0, 1)
ALPHAS = (0.1, 1.0, 10.0)


def k(x: np.ndarray, y: np.ndarray) -> float:
    """The kernel of two vectors."""
    square = float(((x - y) ** 2).sum())
    return float(x @ y) + float(sum((1.0 + square / (2.0 * a)) ** -a for a in ALPHAS))


def mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate, term by term."""
    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2.0 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_kernel_and_discrepancy_of_vectors() -> None:
    rng = np.random.default_rng(0)
    x, y, z = rng.normal(0.5, 1.0, (5, 3)), rng.normal(0.0, 2.0, (7, 3)), rng.normal(size=(4, 3))
    a, b, c = (torch.from_numpy(v) for v in (x, y, z))
    found = rational_quadratic_kernel(a, b, ALPHAS).numpy()
    np.testing.assert_allclose(found, [[k(u, v) for v in y] for u in x], rtol=1e-12)
    assert float(squared_mmd(a, b, ALPHAS)) == pytest.approx(mmd(x, y), rel=1e-12)
    expected = [np.mean([k(u, v) for v in x]) - np.mean([k(u, v) for v in y]) for u in z]
    np.testing.assert_allclose(mmd_witness(c, a, b, ALPHAS).numpy(), expected, rtol=1e-12)


def test_the_estimate_has_no_bias() -> None:
    """Of equal distributions its mean is 0; with the diagonals it would be about 1."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(500, 2, 6, 3, generator=rng, dtype=torch.float64)
    values = torch.stack([squared_mmd(a, b, ALPHAS) for a, b in x])
    assert values.min() < 0.0
    assert abs(float(values.mean())) < 4.0 * float(values.std()) / 500**0.5
    assert float(values.std()) / 500**0.5 < 0.05


def test_one_image_has_no_discrepancy() -> None:
    one, two = torch.rand(1, 4), torch.rand(2, 4)
    for pair in ((one, two), (two, one)):
        with pytest.raises(UserError, match="take 2 or more"):
            squared_mmd(*pair, ALPHAS)


def test_losses_of_a_linear_critic() -> None:
    """For h(x) = A x the gradient of the witness is known, and so are both losses."""
    model = build_model(
        "mmdgan", 16, seed=1, changes={"width": 8, "discriminator_width": 8}
    ).double()
    assert isinstance(model, MMDGAN)
    torch.manual_seed(0)
    linear = nn.Linear(3 * 256, 4, bias=False).double()
    model.discriminator = nn.Sequential(nn.Flatten(), linear)
    a = linear.weight.detach().numpy()
    latents = model.generator.latents
    model.generator.latents = lambda rng: latents(rng).double()  # type: ignore[method-assign]
    x = torch.rand(5, 3, 16, 16, dtype=torch.float64)

    def rng() -> RandomInputs:
        return RandomInputs(torch.Generator().manual_seed(3), 5)

    again = rng()
    with torch.no_grad():
        generated = model.generator(model.generator.latents(again)).flatten(1).numpy()
    fraction = again.uniform(1).double().numpy()
    pixels = x.flatten(1).numpy() * 2.0 - 1.0
    real, fake = pixels @ a.T, generated @ a.T

    def slope(h: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Gradient of the kernel by its first vector."""
        square = ((h - v) ** 2).sum()
        return np.asarray(
            v - (h - v) * sum((1.0 + square / (2.0 * al)) ** (-al - 1.0) for al in ALPHAS)
        )

    norms = []
    for h in (pixels + fraction * (generated - pixels)) @ a.T:
        slopes = np.mean([slope(h, v) for v in real], axis=0)
        slopes -= np.mean([slope(h, v) for v in fake], axis=0)
        norms.append(np.linalg.norm(slopes @ a))
    penalty = np.mean((np.array(norms) - 1.0) ** 2)
    assert penalty > 0.01

    first, second = model.trained_networks()
    loss, scalars = first.loss(DataBatch((x,)), rng(), STEP)
    assert float(scalars["penalty"].detach()) == pytest.approx(penalty, rel=1e-5)
    size = (real**2).mean() + (fake**2).mean()
    assert float(loss.detach()) == pytest.approx(-mmd(real, fake) + penalty + size, rel=1e-5)
    loss, _ = second.loss(DataBatch((x,)), rng(), STEP)
    assert float(loss.detach()) == pytest.approx(mmd(real, fake), rel=1e-5)


def test_updates_and_sizes() -> None:
    paper, small = build_model("mmdgan", 32, "paper"), build_model("mmdgan", 32)
    assert [p.updates_per_step for p in paper.trained_networks()] == [5, 1]
    assert [p.updates_per_step for p in small.trained_networks()] == [1, 1]
    assert all(p.betas == (0.5, 0.9) and p.lr == 1e-4 for p in paper.trained_networks())
    for side in (16, 128):
        model = build_model("mmdgan", side, changes={"width": 8, "discriminator_width": 8})
        assert isinstance(model, MMDGAN)
        assert model.discriminator(torch.rand(2, 3, side, side)).shape == (2, 16)
    model = build_model("mmdgan", 32, changes={"alphas": ["0.5", 2]})
    assert isinstance(model, MMDGAN) and model.config.alphas == (0.5, 2.0)


def test_a_short_training_nears_the_data(distances: Callable[..., tuple[float, float]]) -> None:
    before, after = distances("mmdgan", 40, width=16, discriminator_width=16, lr=2e-3)
    assert after < 0.4 * before
