"""Planted fingerprints in white noise: what the mean of N residuals recovers, against theory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint, correlation
from artfp.stats.intervals import auc

SHAPE = (3, 24, 24)
VALUES = 3 * 24 * 24
NOISE = 0.02


def _residuals(count: int, pattern: torch.Tensor, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return pattern + NOISE * torch.randn(count, *SHAPE, generator=draw)


@pytest.mark.parametrize("count", [4, 64, 400])
def test_energy_and_correlation_follow_theory(count: int) -> None:
    strength = 0.003
    pattern = strength * torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
    found = ResidualFingerprint.empty(SHAPE, "none", "planted")
    for part in _residuals(count, pattern, count).split(50):
        found.add(part)
    planted = float(pattern.double().square().mean())
    energy = float(found.mean.double().square().mean())
    # The energy's own deviation is about sqrt(2 / VALUES) of it.
    assert energy == pytest.approx(planted + NOISE**2 / count, rel=5 * (2 / VALUES) ** 0.5)
    theory = (1.0 + NOISE**2 / (count * planted)) ** -0.5
    own = float(correlation(found.mean[None], pattern[None]))
    assert own == pytest.approx(theory, abs=4 * VALUES**-0.5)
    # A residual's mean power spectrum is that of pattern and noise together.
    assert float(found.spectrum.mean()) == pytest.approx(planted + NOISE**2, rel=0.1)


@pytest.mark.parametrize(("count", "strength"), [(8, 0.0015), (64, 0.001)])
def test_areas_under_the_curve_follow_theory(count: int, strength: float) -> None:
    tests, patterns = 200, 12
    areas, theory = [], []
    for seed in range(patterns):
        draw = torch.Generator().manual_seed(seed)
        pattern = strength * torch.randn(SHAPE, generator=draw)
        found = ResidualFingerprint.empty(SHAPE, "none", "planted")
        found.add(_residuals(count, pattern, 100 + seed))
        marked = correlation(_residuals(tests, pattern, 200 + seed), found.mean[None])[:, 0]
        clean = correlation(_residuals(tests, 0 * pattern, 300 + seed), found.mean[None])[:, 0]
        areas.append(auc(clean.numpy(), marked.numpy()))
        planted = float(pattern.square().mean())
        rho = (1.0 + NOISE**2 / (count * planted)) ** -0.5
        apart = VALUES**0.5 * rho * (planted / (planted + NOISE**2)) ** 0.5
        theory.append(norm.cdf(apart / 2**0.5))
    assert 0.6 < np.mean(theory) < 0.95  # a range in which theory can fail
    # Each area deviates by about .03 for its images and by chance correlations of its patterns.
    assert float(np.mean(areas)) == pytest.approx(float(np.mean(theory)), abs=0.03)
